"""Sudden death, Ctrl-C and company: a database ends as if nothing had happened."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from forked import Forks

import bnnbench
from bnnbench.store.store import ResultStore

PLAN = "--methods constant,map,sgld --task toy,diabetes --budget smoke --threads 1 --device cpu"
CELLS = 39


def start(db: Path | str) -> subprocess.Popen:
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


def check_whole(db: Path, folder: Path | None = None) -> None:
    """The one file holds everything: it has no log beside it, and a copy of it is complete."""
    assert [path.name for path in db.parent.iterdir() if path.is_file()] == [db.name]
    if folder is not None:
        folder.mkdir()
        db = Path(shutil.copy(db, folder))
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


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 10])
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


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=[pytest.mark.timeout(3600)])])
def test_kills_inside_transactions(tmp_path, uninterrupted, kills):
    """Each life of a run ends inside one of its writing transactions, at a statement, at the commit, or some
    milliseconds after the beginning; one and the same database goes on until it is complete, then comes the next."""
    draw, killed, inside, databases = random.Random(kills), 0, 0, 0
    with Forks() as forks:
        while killed < kills:
            databases += 1
            db = tmp_path / str(databases) / "results.db"
            db.parent.mkdir()
            log, marks = tmp_path / f"{databases}.log", tmp_path / f"{databases}.marks"
            command = ["run", *PLAN.split(), "--db", str(db)]
            status = -signal.SIGKILL
            while status == -signal.SIGKILL and killed < kills:
                moment = {"statement": draw.randrange(12)} if draw.random() < 0.6 else {"delay": draw.uniform(0, 0.02)}
                death = {"transaction": draw.randrange(1, 9), "marks": str(marks), **moment}
                [status] = forks.run(command, log, **death)
                killed += status == -signal.SIGKILL
                inside += status == -signal.SIGKILL and marks.read_bytes().endswith(b"B")
            if status == -signal.SIGKILL:
                [status] = forks.run(command, log)
            assert status == 0, log.read_text()
            check_whole(db, tmp_path / f"{databases}-copy")
            pd.testing.assert_frame_equal(bnnbench.scores(db), uninterrupted, check_exact=True)
    print(f"{killed} kills, {inside} of them inside a transaction, {databases} databases: tables equal, files complete")
    assert inside > kills / 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_eight_writers_ten_times(tmp_path, uninterrupted):
    with Forks() as forks:
        for number in range(10):
            db, log = tmp_path / str(number) / "results.db", tmp_path / f"{number}.log"
            db.parent.mkdir()
            assert forks.run(["run", *PLAN.split(), "--db", str(db)], log, copies=8) == [0] * 8, log.read_text()
            check_whole(db, tmp_path / f"{number}-copy")
            pd.testing.assert_frame_equal(bnnbench.scores(db), uninterrupted, check_exact=True)
            print(f"round {number}: 8 writers left {db.stat().st_size} bytes in one file")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("modes", [("fast", "immediate")])
def test_restarts_of_the_server(postgres, tmp_path, uninterrupted, modes, monkeypatch):
    """It goes away twice for a second, once without a word to its clients, while a run goes on."""
    monkeypatch.chdir(tmp_path)
    url = postgres.new()
    run = start(url)
    for mode in modes:
        wait_for_packs(run, 2, tmp_path)
        postgres.stop(mode)
        time.sleep(1.0)
        postgres.start()
    out, err = run.communicate(timeout=500)
    assert run.returncode == 0, err
    assert f"{CELLS} cells: 0 finished before, {CELLS} ok now." in out
    assert "Trying again" in err
    assert "s3cr3t" not in out + err
    pd.testing.assert_frame_equal(bnnbench.scores(url), uninterrupted, check_exact=True)
    with ResultStore(url, read_only=True) as store, store.reading() as connection:
        counts = connection.exec_driver_sql("SELECT count(*), count(DISTINCT cell_id) FROM attempt").one()
    assert tuple(counts) == (CELLS, CELLS)
    print(f"2 restarts of the server during one run: {CELLS} cells, each stored once, tables equal")


@pytest.mark.slow
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
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"results.db"}
