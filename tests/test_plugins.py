"""The templates of docs/extending.md work as they stand, in a package of the user's own, found by entry points."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from test_docs import EXTENDING, blocks

import bnnbench
from bnnbench.data.cards import Card


def template(name: str, language: str = "python") -> str:
    """The code block whose first line is the comment `# name`."""
    found = [block for block in blocks(EXTENDING, language) if block.startswith(f"# {name}\n")]
    assert len(found) == 1, f"extending.md has {len(found)} blocks `# {name}`"
    return found[0].partition("\n")[2].lstrip("\n")


class Plugin:
    """A folder with the user's modules as pip would install them, and the program with that folder on its path."""

    def __init__(self, folder: Path, modules: list[str]) -> None:
        self.folder = folder
        groups = tomllib.loads(template("pyproject.toml", "toml"))["project"]["entry-points"]
        info = folder / "my_methods-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-methods\nVersion: 0.1.0\n")
        lines = []
        for group, points in groups.items():
            own = [f"{name} = {value}" for name, value in points.items() if value.split(":")[0] in modules]
            lines += [f"[{group}]", *own] if own else []
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for module in modules:
            (folder / f"{module}.py").write_text(template(f"{module}.py"))

    def bnnbench(self, *arguments: str) -> str:
        path = os.pathsep.join([str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        command = [sys.executable, "-c", "from bnnbench.cli import main; main()", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=500
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_method_template_is_short() -> None:
    assert len(template("my_methods.py").splitlines()) <= 30


def test_own_method_metric_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Plugin(tmp_path, ["my_methods", "my_metrics"])
    assert "my-sgd" in plugin.bnnbench("list", "methods")
    run = ("run", "--methods", "my-sgd,constant", "--task", "diabetes", "--budget", "smoke", "--db", "mine.db")
    first = plugin.bnnbench(*run)
    assert "20 ok now" in first
    assert "my-sgd" in first
    assert "20 finished before, none now" in plugin.bnnbench(*run)
    plugin.bnnbench("report", "--db", "mine.db", "--out", "reports")
    page = (tmp_path / "reports" / "starter-10fold.md").read_text()
    assert re.search(r"^\| my-sgd +\|.*\d", page, re.MULTILINE)
    assert len(bnnbench.scores(tmp_path / "mine.db", method="my-sgd", evaluation="test", metric="my-mae")) == 10
    monkeypatch.chdir(tmp_path)
    exec(compile(template("my_figure.py"), "my_figure.py", "exec"), {})
    assert (tmp_path / "my_figure.png").stat().st_size > 1000


def test_own_estimator(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path, ["my_estimators"])
    assert len(template("my_estimators.py").splitlines()) <= 30
    assert "my-forest" in plugin.bnnbench("list", "methods")
    run = (
        "run",
        "--methods",
        "my-forest",
        "--task",
        "diabetes",
        "--splits",
        "0,1",
        "--budget",
        "smoke",
        "--db",
        "m.db",
    )
    assert "2 ok now" in plugin.bnnbench(*run, "--set", "my-forest.trees=5")
    assert "2 finished before, none now" in plugin.bnnbench(*run, "--set", "my-forest.trees=5")
    errors = bnnbench.scores(tmp_path / "m.db", method="my-forest", evaluation="test", metric="rmse")["value"]
    assert len(errors) == 2
    assert (errors < 75).all()  # the target's standard deviation is 77


def test_own_task(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path, ["my_tasks"])
    assert "my-task" in plugin.bnnbench("list", "tasks")
    run = ("run", "--methods", "constant", "--task", "my-task", "--budget", "smoke", "--db", "mine.db")
    assert "10 ok now" in plugin.bnnbench(*run)
    plugin.bnnbench("report", "--db", "mine.db", "--out", "reports")
    assert "my-task" in (tmp_path / "reports" / "index.md").read_text()


def test_own_family_of_test_sets(tmp_path: Path) -> None:
    """The class of the template on a small task; its task on MNIST needs the data and is only made."""
    from image_samples import PLAIN

    names: dict = {}
    exec(compile(template("my_test_sets.py"), "my_test_sets.py", "exec"), names)
    assert [family.name for family in names["MY_MNIST"].test_set_families] == ["noise"]
    task = dataclasses.replace(PLAIN, test_set_families=(names["Noise"]("noise"),))
    bnnbench.run("constant,map", task, test_sets="noise", budget="smoke", db=tmp_path / "mine.db")
    scores = bnnbench.scores(tmp_path / "mine.db", metric="error", method="map")
    assert {"noise-0.10", "noise-0.20", "noise-0.40"} <= set(scores["evaluation"])


def test_data_card_template() -> None:
    """Its keys are those of a card, and it lacks none."""
    entry = Card(name="new", **tomllib.loads(template("datasets/cards/new.toml", "toml")))
    assert len(entry.columns) > 0
    assert entry.url.endswith("/")
