"""Signs of life that nothing ends, and who is waited for."""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from store_samples import make_cell, prepared

import bnnbench
from bnnbench.errors import UserError
from bnnbench.experiment import waiting
from bnnbench.records import CellRecord, Status
from bnnbench.store.claims import owner_id
from bnnbench.store.store import ResultStore


class Stubborn:
    """A store that fails in several ways before it takes a sign of life."""

    def __init__(self, *faults: Exception) -> None:
        self.faults, self.beats, self.released = list(faults), threading.Event(), False

    def heartbeat(self, owner: str) -> None:
        if self.faults:
            raise self.faults.pop()
        self.beats.set()

    def release(self, owner: str) -> None:
        self.released = True
        raise UserError("locked")


def test_nothing_ends_the_signs_of_life(monkeypatch, caplog):
    monkeypatch.setattr(waiting, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(waiting, "AGAIN_S", 0.01)
    store = Stubborn(UserError("the database is locked"), RuntimeError("odd"), OSError("no file descriptors"))
    with waiting.heartbeat(store, "me"):
        assert store.beats.wait(20)
    assert store.released
    assert [word in caplog.text for word in ("is locked", "odd", "descriptors")] == [True] * 3
    with pytest.raises(KeyboardInterrupt), waiting.heartbeat(Stubborn(), "me"):  # not hidden by a lock at the end
        raise KeyboardInterrupt


def test_who_is_waited_for(tmp_path):
    store, _ = prepared(tmp_path / "results.db")
    with store:
        cells = [make_cell(i) for i in range(3)]
        wanted = {cell.fingerprint for cell in cells}
        assert waiting.awaited(store, wanted) == "waiting for another process"
        store.claim([*cells, make_cell(9)], owner_id())
        since = time.strftime("%Y-%m-%d %H:%M")
        line = waiting.awaited(store, wanted)
    place = f"process {os.getpid()} on {socket.gethostname()}"
    assert line.startswith(f"waiting for {place}, which holds wine 10fold-0 bbp and 2 more cells since {since[:10]}")


OTHER = "from bnnbench.store.claims import owner_id; print(owner_id(), flush=True); input()"


def test_a_run_says_for_whom_it_waits_and_goes_on_when_the_other_dies(tmp_path, capfd):
    like = {"budget": "smoke", "db": tmp_path / "results.db", "threads": 1, "device": "cpu"}
    bnnbench.run("constant", "toy-homoscedastic", artifacts=tmp_path / "arrays", **like)
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        with ResultStore(like["db"]) as store:
            row = store.attempts().iloc[0]
            rule, _, index = row["split"].rpartition("-")
            cell = CellRecord(
                row["task"], row["task_version"], row["method"], int(row["method_version"]), row["configuration"],
                row["config"], rule, int(index), int(row["seed"]), row["budget"],
            )  # fmt: skip
            assert cell.fingerprint == row["fingerprint"]
            assert store.claim([cell], other.stdout.readline().strip(), force=True)
        killer = threading.Timer(3.0, other.kill)
        killer.start()
        summary = bnnbench.run("constant", "toy-homoscedastic", force=True, quiet=False, **like)
        killer.join()
    assert summary.statuses == {Status.OK: 1}
    assert {file.name for file in tmp_path.iterdir()} == {"results.db", "arrays"}  # the second run was not told again
    with pytest.raises(UserError, match="leave --artifacts out"):
        bnnbench.run("constant", "toy-homoscedastic", artifacts=tmp_path / "other", dry_run=True, **like)
    lines = [line for line in capfd.readouterr().err.splitlines() if "waiting for" in line]
    assert len(lines) == 1
    assert f"waiting for process {other.pid} on {socket.gethostname()}, which holds" in lines[0]
    assert f"{cell.task} {cell.split} {cell.method} since" in lines[0]
