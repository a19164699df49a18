"""One bad part does not end the rest: what cannot be trained is a failed cell, and the screen says why."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import bnnbench
from bnnbench.cli import main
from bnnbench.data.arrays import Data
from bnnbench.engine import packing
from bnnbench.engine.cell import Cell
from bnnbench.engine.size import device_memory
from bnnbench.errors import UserError
from bnnbench.methods import METHODS
from bnnbench.methods.map import MAP
from bnnbench.tasks import TASKS, Task
from bnnbench.tasks.budget import BUDGETS

CPU = torch.device("cpu")


def table(classes: int = 0) -> Data:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = np.arange(60) % classes if classes else x[:, 0]
    return Data.of(x, y, fixed=(np.arange(50), np.arange(50, 60)), target="y")


class Normed(Task):
    """A task whose network has a layer that has no Bayesian version."""

    def network(self, rule, shape, outputs):
        return nn.Sequential(nn.Linear(shape[0], 8), nn.LayerNorm(8), nn.Linear(8, outputs))


def add(monkeypatch, *entries) -> None:
    for entry in entries:
        registry = TASKS if isinstance(entry, Task) else METHODS
        monkeypatch.setitem(registry._entries, entry.name, entry)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


TASK = Task("mine", "regression", ("own",), ("fixed",), hidden=(8,), loader=table)


def run(line: str):
    return CliRunner().invoke(main, ["run", *shlex.split(line), "--budget", "smoke", "--threads", "1"])


def statuses() -> dict[str, str]:
    from bnnbench.store.store import ResultStore

    with ResultStore("results.db", read_only=True) as store:
        return dict(store.attempts()[["method", "status"]].itertuples(index=False))


def test_a_method_that_refuses_the_network_takes_no_other_with_it(monkeypatch):
    add(monkeypatch, Normed("mine", "regression", ("own",), ("fixed",), loader=table))
    result = run("--methods map,bbp-local,constant --task mine")
    assert result.exit_code == 0, result.output
    assert statuses() == {"constant": "ok", "map": "ok", "bbp-local": "failed"}
    (said,) = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert said.startswith("Warning: mine bbp-local: 1 cell failed: ")
    assert "LayerNorm" in said
    assert CliRunner().invoke(main, ["report"]).exit_code == 0
    assert any("LayerNorm" in page.read_text() for page in Path("reports").rglob("*.md"))


def test_a_method_that_refuses_the_classes_takes_no_other_with_it(monkeypatch):
    task = Task("mine", "classification", ("own",), ("fixed",), hidden=(2000,), loader=lambda: table(classes=10))
    add(monkeypatch, task)
    result = run("--methods map,laplace-last --task mine")
    assert result.exit_code == 0, result.output
    assert statuses() == {"map": "ok", "laplace-last": "failed"}
    assert "Warning: mine laplace-last: 1 cell failed: A dense curvature holds at most" in result.stderr


class Quits(MAP):
    name, tags = "quits", ("odd",)

    def update(self, key, state, problem):
        raise RuntimeError(5)


@pytest.mark.parametrize("part", ["prepare", "init", "finish", "posterior", "diagnose"])
@pytest.mark.parametrize("error", [UserError("No."), RuntimeError("no")], ids=["user", "run"])
def test_whatever_a_method_raises_stays_with_its_cell(part, error, monkeypatch):
    def fails(*arguments):
        raise error

    add(monkeypatch, type("Fails", (MAP,), {"name": "fails", "tags": (), part: fails}), TASK)
    result = run("--methods fails,constant --task mine")
    assert result.exit_code == 0, result.output
    assert statuses() == {"constant": "ok", "fails": "failed"}
    assert "Warning: mine fails: 1 cell failed: " in result.stderr


def test_if_all_failed_the_status_is_1_and_the_reasons_are_shown(monkeypatch):
    add(monkeypatch, Quits, TASK)
    result = run("--methods quits --task mine,toy-antoran")
    assert result.exit_code == 1
    assert "2 cells: 0 finished before, 2 failed now." in result.stdout
    for task in ("mine", "toy-antoran"):
        assert f"Warning: {task} quits: 1 cell failed: RuntimeError: 5" in result.stderr
    assert run("--methods quits,constant --task mine").exit_code == 0
    assert run("--methods quits,constant --task mine").exit_code == 1  # the constant is finished
    summary = bnnbench.run("quits", "mine", budget="smoke", threads=1)
    assert summary.all_failed
    line = Quits.update.__code__.co_firstlineno + 1
    place = f"(line {line} of test_refusals.py, in update)"
    assert summary.warnings == (f"mine quits: 1 cell failed: RuntimeError: 5 {place}",)


@pytest.mark.parametrize("part", ["schedule", "check", "num_networks", "most_rows"])
def test_a_method_that_cannot_be_planned(part, monkeypatch, here):
    """An error where it was named, before anything runs; left out where it came by a group."""

    def fails(*arguments):
        raise ArithmeticError("no luck")

    own = fails if callable(getattr(MAP, part)) else property(fails)
    add(monkeypatch, type("Fails", (MAP,), {"name": "fails", "tags": ("odd",), part: own}), TASK)
    result = run("--methods fails,constant --task mine")
    assert result.exit_code == 2
    sentence = "The method 'fails' cannot be planned on 'mine' (ArithmeticError: no luck "
    sentence += f"(line {fails.__code__.co_firstlineno + 1} of test_refusals.py, in fails))."
    assert result.stderr == f"Error: {sentence}\n"
    assert list(here.iterdir()) == []
    result = run("--methods odd,constant --task mine")
    assert result.exit_code == 0, result.output
    assert f"Warning: fails on mine: skipped. {sentence}" in result.stderr
    assert statuses() == {"constant": "ok"}


def test_a_task_that_cannot_be_loaded(monkeypatch, here):
    def loader():
        raise FileNotFoundError(2, "No such file or directory", "houses.csv")

    add(monkeypatch, Task("lost", "regression", ("own",), ("fixed",), loader=loader), TASK)
    result = run("--methods map,constant --task lost,mine")
    assert result.exit_code == 2
    sentence = "The data of the task 'lost' cannot be loaded (FileNotFoundError: [Errno 2] No such file or directory: "
    place = f"(line {loader.__code__.co_firstlineno + 1} of test_refusals.py, in loader)"
    assert result.stderr == f"Error: {sentence}'houses.csv' {place}).\n"
    assert list(here.iterdir()) == []
    result = run("--methods map,constant --task own")
    assert result.exit_code == 0, result.output
    assert result.stderr.count(f"Warning: lost: skipped. {sentence}") == 1
    assert statuses() == {"constant": "ok", "map": "ok"}


def test_what_needs_more_memory_than_there_is_is_never_tried(monkeypatch):
    huge = Task("huge", "regression", ("own",), ("fixed",), hidden=(10**6, 10**6), loader=table)
    add(monkeypatch, huge, TASK)
    result = run("--methods map --task huge,mine")
    assert result.exit_code == 0, result.output
    gigabytes = device_memory(CPU) / 1e9
    words = f"map on huge would need about 64,005 GB of memory, and this machine has {gigabytes:,.0f}; take fewer"
    assert f"Warning: huge map: 1 cell failed: {words}" in result.stderr


def test_the_limit_is_the_devices_memory(monkeypatch):
    cell = Cell(TASK, METHODS.get("map")(), "fixed", 0, 0, BUDGETS["smoke"])
    needed = packing.replica_bytes(cell)
    monkeypatch.setattr(packing, "device_memory", lambda device: needed)
    packing.refuse_too_large(cell, CPU)
    monkeypatch.setattr(packing, "device_memory", lambda device: needed - 1)
    with pytest.raises(UserError, match="map on mine would need about 0 GB of memory"):
        packing.refuse_too_large(cell, CPU)
    many = replace(cell, method=METHODS.get("ensemble-deep")(members=1000))
    assert packing.replica_bytes(many) == 1000 * needed


@dataclass(frozen=True)
class Numbered(MAP):
    name, tags = "numbered", ()
    count: int = 1


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("numbered.count=100001", "numbered.count must be at most 100,000, not 100001."),
        ("ensemble-deep.members=1000000000", "ensemble-deep.members must be at most 100,000, not 1e+09."),
        ("mnf.layers=1001", "mnf.layers must be at most 1,000, not 1001."),
    ],
)
def test_limits_of_hyperparameters(setting, sentence, monkeypatch, here):
    add(monkeypatch, Numbered)
    result = run(f"--methods {setting.split('.')[0]} --task toy-antoran --set {setting}")
    assert (result.exit_code, result.stderr) == (2, f"Error: {sentence}\n")
    assert list(here.iterdir()) == []


def test_limits_of_a_run(monkeypatch, here):
    for options, sentence in [
        ("--seeds 1000001", "--seeds must lie between 1 and 1,000,000, not 1,000,001."),
        (
            "--seeds 600000 --methods map,constant",
            "A run holds 1,000,000 cells at most, and this one 1,200,000 or more; split it.",
        ),
    ]:
        result = run(f"--methods constant --task toy-antoran {options}")
        assert (result.exit_code, result.stderr) == (2, f"Error: {sentence}\n")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    result = CliRunner().invoke(main, ["run", "--methods", "constant", "--task", "toy-antoran", "--threads", "4"])
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: --threads must lie between 1 and 3, the cores that this process may use, not 4.\n",
    )
    assert list(here.iterdir()) == []


def test_what_is_named_twice_runs_once():
    assert "2 cells: 0 finished before, 2 ok now" in run("--methods 'map, constant,map' --task toy-antoran").stdout
    one = "--methods map --task 'toy-antoran, toy-antoran' --splits 0,0 --set 'map.lr=0.01, 0.010,1e-2'"
    assert "1 cells: 1 finished before, none now" in run(one).stdout
    assert "3 cells: 1 finished before, 2 ok now" in run("--methods map,optimisation --task toy,toy-antoran").stdout
