"""How a database stands, and its display: against numbers worked out by hand, on a terminal and without one."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from report_data import cell, fill, lost, outcome
from sqlalchemy import update

import bnnbench
from bnnbench.cli import main, watching
from bnnbench.records import Status
from bnnbench.reporting.standing import standing
from bnnbench.store.claims import owner_id
from bnnbench.store.tables import Attempt, Cell, Session

PROGRAM = [sys.executable, "-c", "from bnnbench.cli import main; main()"]
LONG = 120.0


def ago(seconds):
    return datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=seconds)


def set_dates(store, finished, started):
    with store.writing() as session:
        session.execute(update(Attempt).values(finished=ago(finished)))
        session.execute(update(Session).values(started=ago(started)))


@pytest.fixture
def store(tmp_path):
    """Eight cells of map, of 2 s each, stored a minute ago by a run of two minutes; two of sgld without scores."""
    found = [outcome(cell("housing", "map", index=i), -1.0) for i in range(8)]
    found += [lost(cell("housing", "sgld", index=i), Status.FAILED, "out of\nmemory") for i in range(2)]
    with fill(tmp_path / "results.db", found) as store:
        set_dates(store, finished=60, started=120)
        yield store


def test_counts_failures_and_speed(store):
    found = standing(store)
    assert found.counts == {"ok": 8, "failed": 2}
    assert found.tasks == {"housing": {"ok": 8, "failed": 2}}
    assert found.cells == 10
    (failure,) = found.failures
    assert (failure.status, failure.method, failure.cells, failure.message) == ("failed", "sgld", 2, "out of memory")
    assert found.recent == 10
    assert found.per_minute == pytest.approx(5, rel=0.05)
    assert found.running == ()
    assert found.ends is None


def test_of_a_long_run_the_last_ten_minutes_count(store):
    set_dates(store, finished=60, started=86400)
    assert standing(store).per_minute == pytest.approx(1)
    set_dates(store, finished=601, started=86400)
    assert (standing(store).recent, standing(store).per_minute) == (0, None)


def test_what_is_being_trained_by_whom_since_when_until_when(store):
    """A cell of map took 20 s in a pack of ten, 2 s: two cells since a minute should have been done after 4 s; on yacht
    the same, for none of map was trained there; of mc-dropout nothing is known."""
    for method, task in (("map", "housing"), ("map", "yacht"), ("mc-dropout", "housing")):
        assert store.claim([cell(task, method, index=i) for i in (8, 9)], owner_id())
    began = datetime.now(UTC)
    with store.writing() as session:
        session.execute(update(Cell).where(Cell.owner.is_not(None)).values(claimed=time.time() - 30))
    found = {(r.method, r.task): r for r in standing(store).running}
    assert set(found) == {("map", "housing"), ("map", "yacht"), ("mc-dropout", "housing")}
    own = found["map", "housing"]
    assert own.splits == ("10fold-8", "10fold-9")
    assert own.owner == f"process {os.getpid()} on {socket.gethostname()}"
    assert abs((began - own.since).total_seconds() - 30) < 5
    assert (own.ends - own.since).total_seconds() == pytest.approx(4)
    assert (found["map", "yacht"].ends - own.since).total_seconds() == pytest.approx(4)
    assert found["mc-dropout", "housing"].ends is None
    assert standing(store).ends is None
    store.record(1, [outcome(cell("housing", "map", index=8), -1.0)], owner_id())
    (own,) = [r for r in standing(store).running if (r.method, r.task) == ("map", "housing")]
    assert own.splits == ("10fold-9",)
    assert (own.ends - own.since).total_seconds() == pytest.approx(4)  # one done, one to do


def test_from_python(store):
    assert bnnbench.status(store.address.path).counts == {"ok": 8, "failed": 2}


def test_plain_lines_tell_changes_alone(store, tmp_path):
    line = [*PROGRAM, "status", "--watch", "0.2", "--db", str(tmp_path / "results.db")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert re.fullmatch(r"\d\d:\d\d:\d\d  10 cells stored \(8 ok, 2 failed\), 0 being trained\n", first)
        time.sleep(1)
        assert store.claim([cell("yacht", "map", index=i) for i in (0, 3)], owner_id())
        second = process.stdout.readline()
        assert second[10:].startswith(
            "10 cells stored (8 ok, 2 failed), 2 being trained; map on yacht (10fold-0 … 10fold-3"
        )
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=LONG)
    assert process.returncode == 0
    assert rest == ""
    assert errors.strip() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_is_redrawn(store, tmp_path):
    import pty

    assert store.claim([cell("yacht", "map", index=i) for i in (0, 3)], owner_id())
    control, terminal = pty.openpty()
    line = [*PROGRAM, "status", "--watch", "0.2", "--db", str(tmp_path / "results.db")]
    size = {"COLUMNS": "140", "LINES": "40", "TERM": "xterm"}
    with subprocess.Popen(line, stdout=terminal, stderr=terminal, env={**os.environ, **size}) as process:
        os.close(terminal)
        said = b""

        def read():
            nonlocal said
            try:
                while part := os.read(control, 65536):
                    said += part
            except OSError:  # the other end is closed
                pass

        reader = threading.Thread(target=read)
        reader.start()
        end = time.monotonic() + LONG
        while said.count(b"Ctrl-C ends this display") < 3:
            assert time.monotonic() < end, said
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(LONG)
        reader.join(LONG)
    os.close(control)
    text = said.decode()
    assert process.returncode == 0
    assert "\x1b[1A" in text  # the cursor goes up, to draw over it
    assert "\x1b[?25h" in text[-200:]  # and is shown again in the end
    for words in ("10 cells stored (8 ok, 2 failed), 2 being trained", "10 stored in the last ten minutes (",
                  "10fold-0 … 10fold-3", f"process {os.getpid()}", "out of memory"):  # fmt: skip
        assert words in text
    assert "Traceback" not in text


def test_names_are_text_on_the_terminal():
    table = watching._table(("a",), [("[red]x[/red]\x1b[2J",)])
    console = watching.Console(width=80, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(table)
    assert "[red]x[/red]\\x1b[2J" in captured.get()
    assert "\x1b[2J" not in captured.get()


@pytest.mark.parametrize(("seconds", "sentence"), [
    ("0", "--watch must be a positive number of seconds, not 0."),
    ("nan", "--watch must be a positive number of seconds, not nan."),
    ("0.01", "--watch must lie between 0.2 and 3,600 seconds, not 0.01."),
    ("inf", "--watch must lie between 0.2 and 3,600 seconds, not inf."),
    ("soon", "Invalid value for '--watch'"),
])  # fmt: skip
def test_odd_intervals_are_refused(store, seconds, sentence):
    done = CliRunner().invoke(main, ["status", "--db", str(store.address), "--watch", seconds])
    assert done.exit_code == 2
    assert sentence in done.output


def test_a_database_that_is_not_there_ends_it(tmp_path):
    done = CliRunner().invoke(main, ["status", "--db", str(tmp_path / "x.db"), "--watch"])
    assert done.exit_code == 2
    assert f"There is no database at {tmp_path / 'x.db'}" in done.output


def test_without_results_it_waits(tmp_path, monkeypatch):
    with fill(tmp_path / "e.db", []):
        pass
    asked = []

    def interrupt(seconds):
        asked.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", interrupt)
    done = CliRunner().invoke(main, ["status", "--watch", "--db", str(tmp_path / "e.db")])
    assert done.exit_code == 0
    assert len(asked) == 1
    assert asked[0] >= 2.0
    assert "0 cells stored (none), 0 being trained" in done.output


def test_a_lock_is_said_and_waited_out(store, monkeypatch, tmp_path):
    from bnnbench.store.faults import TransientError

    real, faults = watching.standing, iter([TransientError("The database is locked."), None])
    rounds = []

    def shaky(given):
        if fault := next(faults, None):
            raise fault
        return real(given)

    def pause(seconds):
        rounds.append(seconds)
        if len(rounds) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching, "standing", shaky)
    monkeypatch.setattr(watching.time, "sleep", pause)
    done = CliRunner().invoke(main, ["status", "--watch", "--db", str(tmp_path / "results.db")])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].endswith("  The database is locked.")
    assert "10 cells stored" in lines[1]
