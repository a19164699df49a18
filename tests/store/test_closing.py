"""The one file holds everything, whoever closes last and however the others went."""

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from store_samples import make_cell, make_outcome, prepared

from bnnbench.cli import main
from bnnbench.errors import UserError
from bnnbench.store import sqlite
from bnnbench.store.store import ResultStore

KILLED = """
import os, sys; sys.path.insert(0, sys.argv[2])
from store_samples import make_cell, make_outcome, prepared
store, session = prepared(sys.argv[1])
store.record(session, [make_outcome(make_cell(i)) for i in range(5)])
os._exit(0)
"""


def alone(path: Path, folder: Path) -> ResultStore:
    """A copy of the one file."""
    folder.mkdir()
    return ResultStore(shutil.copy(path, folder / path.name), read_only=True)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """What a process left that stored five cells and ended without closing: the file, and its log with all of it."""
    path = tmp_path_factory.mktemp("killed") / "results.db"
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)], check=True)
    assert Path(f"{path}-wal").stat().st_size > 8 * path.stat().st_size
    return path


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.is_file()}


def test_a_reader_at_work_does_not_keep_anything_in_the_log(path, tmp_path):
    """Another process is connected, so this is not the last one to close, and yet its work is in the file."""
    store, session = prepared(path)
    other = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    other.execute("SELECT count(*) FROM cell").fetchall()
    store.record(session, [make_outcome(make_cell())])
    store.close()
    assert Path(f"{path}-wal").exists()
    with alone(path, tmp_path / "copy") as copy:
        assert len(copy.scores()) == 2
    other.close()


def test_a_reader_of_an_older_state_is_waited_for_and_named(path, caplog):
    store, session = prepared(path, timeout=0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM cell").fetchall()
    store.record(session, [make_outcome(make_cell())])
    store.close()
    assert "Another program reads" in caplog.text
    other.close()
    ResultStore(path, read_only=True).close()
    assert names(path.parent) == {path.name}


def close_at_once(path: str, barrier, number: int) -> None:
    store, session = prepared(path)
    store.record(session, [make_outcome(make_cell(number))])
    barrier.wait(60)
    store.close()


@pytest.mark.parametrize(
    ("writers", "rounds"), [(3, 1), pytest.param(8, 10, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_writers_that_close_at_the_same_moment_leave_one_file(tmp_path, writers, rounds):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["store_samples"])
    for number in range(rounds):
        path = tmp_path / str(number) / "results.db"
        path.parent.mkdir()
        barrier = context.Barrier(writers)
        processes = [context.Process(target=close_at_once, args=(str(path), barrier, i)) for i in range(writers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
        assert names(path.parent) == {path.name}
        assert path.read_bytes()[18:20] == b"\x01\x01"  # rollback mode
        with alone(path, tmp_path / f"{number}-copy") as copy:
            assert len(copy.attempts()) == writers


COMMANDS = ["status", "export --out {tmp}/out/scores.csv", "show {cell}", "report --out {tmp}/out --format csv"]


@pytest.mark.parametrize("command", COMMANDS)
def test_any_command_mends_what_a_killed_writer_left(killed, path, tmp_path, command):
    for end in ("", "-wal"):
        shutil.copy(f"{killed}{end}", f"{path}{end}")
    line = command.format(tmp=tmp_path, cell=make_cell().fingerprint[:9])
    result = CliRunner().invoke(main, [*line.split(), "--db", str(path)])
    assert result.exit_code == 0, (result.output, result.exception)
    assert names(tmp_path) == {path.name}
    assert path.read_bytes()[18:20] == b"\x01\x01"
    with alone(path, tmp_path / "copy") as copy:
        assert len(copy.attempts()) == 5


def test_a_reader_leaves_a_writer_alone(path):
    store, session = prepared(path)
    with store:
        with ResultStore(path, read_only=True) as reader:
            assert reader.scores().empty
        assert store.record(session, [make_outcome(make_cell())]) == 1
    assert names(path.parent) == {path.name}


def test_an_interrupted_connection_is_closed_too(path):
    """One that an exception in the wrong place kept from going back to its pool."""
    store, session = prepared(path)
    kept = store._engine.raw_connection()
    kept.cursor().execute("SELECT * FROM method")  # not read to its end
    store.record(session, [make_outcome(make_cell())])
    store.close()
    assert names(path.parent) == {path.name}
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        kept.cursor()
    kept.detach()


def test_what_cannot_be_merged_is_said(path, monkeypatch):
    """On the way out of a failure, that failure is what counts."""

    def full(*_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise error

    store, _ = prepared(path)
    monkeypatch.setattr(sqlite, "leave_single_file", full)
    with pytest.raises(UserError, match="There is no space left for the database"):
        store.close()
    with pytest.raises(KeyboardInterrupt), prepared(path)[0]:
        raise KeyboardInterrupt
    ResultStore(path, read_only=True).close()


FOREIGN = {
    "rollback": ["CREATE TABLE photos (id INTEGER)"],
    "wal": ["PRAGMA journal_mode = WAL", "CREATE TABLE photos (id INTEGER)"],
    "alembic": ["CREATE TABLE alembic_version (version_num TEXT)", "INSERT INTO alembic_version VALUES ('0001')",
                "CREATE TABLE photos (id INTEGER)"],
}  # fmt: skip


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("kind", FOREIGN)
def test_another_programs_database_stays_as_it_was(path, kind, read_only):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in FOREIGN[kind]:
        connection.execute(statement)
    connection.close()
    content = path.read_bytes()
    with pytest.raises(UserError, match=r"belongs to another program \(photos ...\); use another --db"):
        ResultStore(path, read_only=read_only)
    assert path.read_bytes() == content
    assert names(path.parent) == {path.name}
