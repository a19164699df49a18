"""Sudden death, Ctrl-C and company: a database ends as if nothing had happened."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import bnnbench
from bnnbench.store.store import ResultStore

PLAN = "--methods constant,map,sgld --task toy,diabetes --budget smoke --threads 1 --device cpu"
CELLS = 39


def start(db: Path) -> subprocess.Popen:
    code = "from bnnbench.cli import main; main()"
    command = [sys.executable, "-c", code, "run", *PLAN.split(), "--db", str(db)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in children of a shell's `&`
    )  # fmt: skip


def finish(run: subprocess.Popen) -> str:
    out, err = run.communicate(timeout=500)
    assert run.returncode == 0, err
    return out


def wait_for_packs(run: subprocess.Popen, packs: int, db: Path) -> None:
    """Until the run has reported so many packs; for 0, until its database stands."""
    while not packs and not db.exists() and run.poll() is None:
        time.sleep(0.005)
    while packs and (line := run.stderr.readline()):
        packs -= line.startswith("[")


def check_whole(db: Path) -> None:
    connection = sqlite3.connect(db)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("SELECT count(*), count(DISTINCT cell_id) FROM attempt").fetchone() == (CELLS, CELLS)
    assert connection.execute("SELECT count(*) FROM cell WHERE owner IS NOT NULL").fetchone() == (0,)
    connection.close()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> pd.DataFrame:
    db = tmp_path_factory.mktemp("whole") / "results.db"
    assert f"{CELLS} cells: 0 finished before, {CELLS} ok now." in finish(start(db))
    check_whole(db)
    return bnnbench.scores(db)


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_kills(tmp_path, uninterrupted, kills):
    """Killed in the middle again and again, one and the same database, then left to finish: the same table, row for
    row and bit for bit. Moments are drawn from a seed: during the first packs, and a random while after."""
    db, draw, killed = tmp_path / "results.db", random.Random(kills), 0
    for _ in range(kills):
        run = start(db)
        wait_for_packs(run, draw.randrange(0, max(2, 10 // kills)), db)
        time.sleep(draw.uniform(0, 0.3))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        killed += run.returncode == -signal.SIGKILL
        if db.exists() and db.stat().st_size:
            assert db.read_bytes()[:15] == b"SQLite format 3"
    assert killed == kills
    finish(start(db))
    check_whole(db)
    pd.testing.assert_frame_equal(bnnbench.scores(db), uninterrupted, check_exact=True)
    with ResultStore(db, read_only=True) as store:
        for fingerprint in store.attempts().fingerprint:
            assert store.artifact(fingerprint, "posterior")


def test_two_at_once_lose_and_double_nothing(tmp_path, uninterrupted):
    db = tmp_path / "results.db"
    runs = [start(db), start(db)]
    said = [finish(run) for run in runs]
    check_whole(db)
    pd.testing.assert_frame_equal(bnnbench.scores(db), uninterrupted, check_exact=True)
    assert all(f"{CELLS} cells: " in text for text in said)
    with ResultStore(db, read_only=True) as store:
        assert set(store.attempts()["session"]) <= set(store.sessions()["id"])


def test_interrupt_leaves_what_is_finished(tmp_path, uninterrupted):
    db = tmp_path / "results.db"
    run = start(db)
    wait_for_packs(run, 2, db)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Interrupted; what is finished is in the database" in err
    assert "Traceback" not in err
    with ResultStore(db, read_only=True) as store:
        assert 0 < len(store.attempts()) < CELLS
        assert set(store.attempts().status) == {"ok"}
        assert store.running().empty
    # A signal in the middle of a transaction may leave SQLite's log, which the next program to open it takes up.
    left = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert left - {"results.db-wal", "results.db-shm"} == {"results.db"}
