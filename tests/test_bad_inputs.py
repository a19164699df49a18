"""Bad inputs: each is refused by one sentence with status 2, freezes nothing, and leaves every byte as it was."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import bad_inputs
import pytest
import torch
from click.testing import CliRunner

import bnnbench
from bnnbench.cli import main
from bnnbench.errors import UserError

LONGEST_S = 60  # whatever else a machine does


class Frozen(BaseException):
    """What no `except Exception` takes for an answer."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    line = f"run --methods constant,map --task toy-homoscedastic --budget smoke --threads 1 --db {folder}/results.db"
    assert CliRunner().invoke(main, line.split()).exit_code == 0
    (folder / "notes.txt").write_text("no database at all\n" * 100)
    (folder / "folder").mkdir()
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch) -> Iterator[Path]:
    """The working directory: a database, a text, an empty folder, a pipe, and no connection to anywhere."""
    folder = shutil.copytree(made, tmp_path / "here")
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    def freeze(*_: object) -> None:
        raise Frozen

    previous = signal.signal(signal.SIGALRM, freeze)
    yield folder
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
    torch.set_num_threads(1)


def content(folder: Path) -> dict[str, bytes]:
    """All folders and files; of a database without its header, where SQLite counts who opened it."""
    found = {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}
    return {name: data[100:] if data.startswith(b"SQLite") else data for name, data in found.items()}


def faults(inputs: list, refusal: Callable[..., str], folder: Path) -> list[str]:
    """What is wrong with the answers to these inputs; the working directory stays as it was."""
    before, wrong = content(folder), []
    for bad in inputs:
        signal.alarm(LONGEST_S)
        try:
            fault = refusal(bad)
        except Frozen:
            fault = "does not end"
        signal.alarm(0)
        after = content(folder)
        if changed := sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
            fault, before = f"{fault} changes {changed}", after
        if fault:
            wrong.append(f"{bad!r:.300}: {fault}")
    return wrong


def of_line(line: list[str]) -> str:
    """What is wrong with a command's answer, nothing if it is refused as it should be."""
    result = CliRunner().invoke(main, line)
    if not isinstance(result.exception, SystemExit):
        return f"raises {result.exception!r}"
    usage, error, sentence = result.stderr.rpartition("Error: ")
    if result.exit_code != 2 or result.stdout or "Traceback" in result.output or not error:
        return f"status {result.exit_code}, {result.output[-200:]!r}"
    right = sentence.count("\n") == 1 and (usage.startswith("Usage:") or sentence.endswith((".\n", "?\n")))
    return "" if right else f"says {sentence!r}"


def of_call(call: tuple[str, tuple, dict]) -> str:
    """The same of a call of the Python API."""
    name, arguments, options = call
    if name == "run":
        arguments = arguments or ("constant", "toy-homoscedastic")
        options = {"budget": "smoke", "threads": 1, "device": "cpu"} | options
    try:
        result = getattr(bnnbench, name)(*arguments, **options)
    except UserError as error:
        return "" if str(error).endswith((".", "?")) else f"says {str(error)!r}"
    except Exception as error:
        return f"raises {error!r}"
    return f"returns {result!r:.100}"


def test_command_lines(here):
    lines = list(bad_inputs.lines())
    assert len(lines) > 450
    assert faults(lines, of_line, here) == []


def test_calls(here):
    assert len(bad_inputs.CALLS) > 100
    assert faults(bad_inputs.CALLS, of_call, here) == []


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
def test_hyperparameters(here, every):
    lines = list(bad_inputs.hyperparameters())[::every]
    assert len(lines) * every > 1000
    assert faults(lines, of_line, here) == []
