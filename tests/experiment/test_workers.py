"""Worker processes: the same numbers as without them, and nothing lost or left behind whatever happens to one."""

import os
import pickle
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
import worker_samples
from worker_samples import Deadly, Homeless, Sleepy, Talking

import bnnbench
from bnnbench.engine.cell import Cell
from bnnbench.errors import StorageError, UserError
from bnnbench.experiment import threads as module
from bnnbench.experiment.shipping import NotPortable, packed, unpacked
from bnnbench.experiment.threads import IN_WORKER, LARGE_THREADS, cores, processes, threads, threads_of
from bnnbench.methods import METHODS
from bnnbench.methods.map import MAP
from bnnbench.records import Status
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import BUDGETS

CPU = torch.device("cpu")
LIKE = {"budget": "smoke", "device": "cpu"}
HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The scores of a run in one process."""
    db = tmp_path_factory.mktemp("alone") / "results.db"
    assert bnnbench.run("constant,map,sgld", "toy", db=db, jobs=1, **LIKE).statuses == {"ok": 9}
    return bnnbench.scores(db)


@pytest.mark.parametrize("jobs", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_numbers_do_not_depend_on_the_number_of_workers(alone, jobs, tmp_path):
    db = tmp_path / "results.db"
    summary = bnnbench.run("constant,map,sgld", "toy", db=db, jobs=jobs, **LIKE)
    assert (summary.cells, summary.missing, summary.statuses, summary.warnings) == (9, 9, {"ok": 9}, ())
    pd.testing.assert_frame_equal(bnnbench.scores(db), alone, check_exact=True)
    with ResultStore(db, read_only=True) as store:
        sessions = store.sessions()
        assert sessions["threads"].tolist() == [1]  # one of the run, not one a worker
        assert store.running().empty
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["results.db"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_compiled_numbers_do_not_depend_on_it_either(tmp_path):
    """Packs that share a program are compiled in one process or in several, and in another order; a large network has
    two threads in a worker, too."""
    chosen, tables = [*tasks("wide", "narrow"), worker_samples.task("other", (8,), worker_samples.wider_table)], []
    for jobs in (1, 2, 3):
        db = tmp_path / f"{jobs}.db"
        found = bnnbench.run("map,sgld", chosen, budget="quick", device="cpu", db=db, jobs=jobs)
        assert found.statuses.total() == found.statuses[Status.OK] + found.statuses[Status.UNCONVERGED] == 6
        tables.append(bnnbench.scores(db))
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


def test_threads_of_a_cell_are_fixed_by_its_network(tmp_path, monkeypatch):
    if cores() < 2:
        pytest.skip("one core: --threads 2 is refused here")
    db, before, wide, narrow = tmp_path / "results.db", torch.get_num_threads(), *tasks("wide", "narrow")
    bnnbench.run("map", [wide, narrow], db=db, **LIKE)
    bnnbench.run("map", [wide, narrow], settings="map.lr=0.1", threads=1, db=db, **LIKE)
    with ResultStore(db, read_only=True) as store:
        used = store.sessions().set_index("id")["threads"]
        found = {(row["task"], row["config"]): used[row["session"]] for _, row in store.attempts().iterrows()}
    assert found == {
        ("wide", "default"): LARGE_THREADS, ("narrow", "default"): 1, ("wide", "lr=0.1"): 1, ("narrow", "lr=0.1"): 1,
    }  # fmt: skip
    assert torch.get_num_threads() == before
    cells = [Cell(task, MAP(), "fixed", 0, 0, BUDGETS["smoke"]) for task in (wide, narrow)]
    for machine in ({0}, set(range(64))):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, machine=machine: machine, raising=False)
        assert [threads_of(cell, LARGE_THREADS) for cell in cells] == [LARGE_THREADS, 1]


def tasks(*names):
    return [worker_samples.task(name, (300, 300) if name == "wide" else (8,)) for name in names]


def test_threads_are_given_back():
    before, seen = torch.get_num_threads(), []

    @threads(before + 1)
    def fails():
        seen.append(torch.get_num_threads())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("asked", "packs", "updates", "number"),
    [(None, 8, 10**6, 4), (None, 3, 10**6, 3), (None, 8, 12_000, 2), (None, 8, 100, 1), (3, 8, 100, 3), (3, 1, 100, 1),
     (1, 8, 10**6, 1), (None, 0, 0, 1)],
)  # fmt: skip
def test_how_many_processes(asked, packs, updates, number, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    monkeypatch.setattr(module, "device_memory", lambda _: 17 * 2**30)
    assert processes(asked, packs, updates, CPU) == number
    monkeypatch.setenv(IN_WORKER, "1")
    assert processes(asked, packs, updates, CPU) == 1


def test_fewer_processes_where_memory_is_short(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    for memory, number in ((1, 1), (5, 2), (100, 4)):
        monkeypatch.setattr(module, "device_memory", lambda _, memory=memory: memory * 2**30)
        assert processes(None, 8, 10**6, CPU) == number


def test_on_a_gpu_one_process_unless_more_are_asked_for():
    assert processes(None, 8, 10**6, torch.device("cuda")) == 1
    assert processes(2, 8, 10**6, torch.device("cuda")) == 2


def test_jobs_are_refused_in_words(tmp_path):
    for jobs, words in ((0, "--jobs must be at least 1, not 0"), (10**6, "4 for each core"), ("x", "whole number")):
        with pytest.raises(UserError, match=words):
            bnnbench.run("constant", "toy", db=tmp_path / "a.db", jobs=jobs, **LIKE)
    assert list(tmp_path.iterdir()) == []


def test_one_that_dies_takes_its_pack_with_it_and_no_other(tmp_path, capsys, caplog):
    """Beside it a method that no other process can import, and what workers say is said here, once."""

    @dataclass(frozen=True)
    class Local(MAP):
        name, tags = "local", ()

    db, chosen = tmp_path / "results.db", "toy-antoran"
    summary = bnnbench.run([Deadly(), Talking(), Local()], chosen, db=db, jobs=2, quiet=False, **LIKE)
    assert summary.statuses == {"ok": 2, "failed": 1}
    stayed, died = summary.warnings
    assert "deadly: 1 cell failed: its worker process ended (SIGKILL, as when memory runs out); run again" in died
    assert stayed.startswith("local, toy-antoran: trained in this process, for a worker process cannot take it (")
    assert "Local" in stayed
    said = capsys.readouterr().err
    assert said.count("printed by a worker") == 1
    assert "[3/3]" in said
    assert caplog.text.count("UserWarning: warned by a worker") == 1
    assert caplog.text.count("logged by a worker") == 1
    with ResultStore(db, read_only=True) as store:
        assert store.running().empty
    again = bnnbench.run([Deadly(), Talking(), Local()], chosen, db=db, dry_run=True, **LIKE)
    assert again.missing == 1


@pytest.mark.slow
def test_workers_share_a_server(alone, postgres, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = postgres.new()
    assert bnnbench.run("constant,map,sgld", "toy", db=url, jobs=2, **LIKE).statuses == {"ok": 9}
    pd.testing.assert_frame_equal(bnnbench.scores(url), alone, check_exact=True)


@pytest.mark.slow
def test_what_ends_a_run_in_a_worker_ends_it_here(tmp_path):
    with pytest.raises(StorageError, match=r"^Cannot write there") as caught:
        bnnbench.run([Homeless(), "map"], "toy", db=tmp_path / "results.db", jobs=2, **LIKE)
    assert "In a worker process:" in caught.value.__notes__[0]
    with ResultStore(tmp_path / "results.db", read_only=True) as store:
        assert store.running().empty


# Programs


def program(code: str, folder: Path, *arguments: str, file: str = "") -> subprocess.Popen:
    """A Python program from a file, or from standard input."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "SLEEPERS": str(folder)}
    if file:
        (folder / file).write_text(code)
    run = subprocess.Popen(
        [sys.executable, file or "-", *arguments], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in children of a shell's `&`
    )  # fmt: skip
    if not file:
        assert run.stdin is not None
        run.stdin.write(code)
        run.stdin.close()
        run.stdin = None
    return run


UNGUARDED = """
from dataclasses import dataclass
import bnnbench
from bnnbench.methods.map import MAP
from bnnbench.records import Status
print("begun")
@dataclass(frozen=True)
class Mine(MAP):
    name, tags = "mine", ()
found = bnnbench.run([Mine(), "map", "constant"], "toy", budget="smoke", device="cpu", jobs=2)
print(*found.statuses.items(), sum("defined in the program" in text for text in found.warnings))
"""


@pytest.mark.parametrize("file", [pytest.param("study.py", marks=pytest.mark.slow), ""], ids=["file", "stdin"])
def test_a_script_without_a_guard(tmp_path, file):
    out, err = program(UNGUARDED, tmp_path, file=file).communicate(timeout=300)
    assert out.splitlines() == ["begun", "(<Status.OK: 'ok'>, 9) 1"], err
    assert err == ""


@pytest.mark.slow
def test_a_module_that_runs_while_it_is_imported(tmp_path):
    """By its own import, and by that in a worker."""
    (tmp_path / "study.py").write_text(UNGUARDED.replace("defined in the program", "is being imported"))
    code = (
        "import study, bnnbench\n"
        "found = bnnbench.run([study.Mine(lr=0.1), 'constant'], 'toy', budget='smoke', device='cpu', jobs=2)\n"
        "print(*found.statuses.items(), sum('__main__' in text for text in found.warnings))"
    )
    out, err = program(code, tmp_path).communicate(timeout=300)
    assert out.splitlines() == ["begun", "(<Status.OK: 'ok'>, 9) 1", "(<Status.OK: 'ok'>, 3) 1"], err
    assert err.replace("begun\n", "") == ""


@pytest.mark.slow
def test_a_run_within_a_worker(tmp_path, monkeypatch):
    """A task whose data come of another run, which begins no workers in one."""
    monkeypatch.setenv("SLEEPERS", str(tmp_path))
    nested = worker_samples.task("nested", (8,), worker_samples.rows)
    assert bnnbench.run(["map", "constant"], nested, db=tmp_path / "a.db", jobs=2, **LIKE).statuses == {"ok": 2}
    assert len(list(tmp_path.glob("[0-9]*.db"))) == 3


# Ends

DRIVER = """
from bnnbench.methods import METHODS
from worker_samples import Sleepy
METHODS.register(Sleepy)
from bnnbench.cli import main
main()
"""
SLEEPING = "run --methods constant,sleepy --task toy --budget smoke --device cpu --jobs 2 --db {}/secret-name.db"


@pytest.fixture
def sleeping(tmp_path):
    """A run whose two workers are at work for long, and the workers."""
    run = program(DRIVER, tmp_path, *shlex.split(SLEEPING.format(tmp_path)), file="driver.py")
    try:
        while len(found := [int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()]) < 2:
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.1)
        workers = [psutil.Process(pid) for pid in found]
        assert {worker.ppid() for worker in workers} == {run.pid}
        assert not any("secret-name" in word for worker in workers for word in worker.cmdline())  # nor a password
        yield run, workers
    finally:
        run.kill()
        run.communicate()


def test_one_ctrl_c_ends_all(tmp_path, sleeping):
    run, workers = sleeping
    for process in (run, *workers):  # as a terminal does
        process.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Interrupted; what is finished is in the database" in err
    assert "Traceback" not in err
    assert not any(worker.is_running() for worker in workers)
    with ResultStore(tmp_path / "secret-name.db", read_only=True) as store:
        assert store.running().empty
        assert set(store.attempts()["status"]) <= {"ok"}


@pytest.mark.slow
def test_workers_end_when_the_run_is_killed(sleeping):
    run, workers = sleeping
    run.kill()
    assert not psutil.wait_procs(workers, timeout=20)[1]


# What is brought to workers


def test_all_tasks_and_methods_can_be_brought_to_workers():
    for task in TASKS:
        assert unpacked(packed(task)) == task
    for method in METHODS:
        assert unpacked(packed(method())) == method()


def test_what_cannot_be_brought_to_workers():
    with pytest.raises(NotPortable, match="lambda"):
        packed(worker_samples.task(loader=lambda: None))
    main = type("Mine", (MAP,), {"__module__": "__main__", "__qualname__": "Mine"})
    with pytest.raises(NotPortable, match="Mine is defined in the program that runs"):
        packed([main])
    gone = pickle.dumps(Sleepy()).replace(b"worker_samples", b"worker_gone_es")
    with pytest.raises(NotPortable, match="No module named 'worker_gone_es'"):
        unpacked(gone)


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_idle_threads_do_not_spin_for_long(given, spins):
    """Said before the OpenMP runtime is loaded, unless the user has something else to say."""
    code = "import sys, os, bnnbench; print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"
    names = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", spins]


def test_where_no_worker_can_be_started_this_process_does_it_all(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    summary = bnnbench.run("constant,map", "toy", db=tmp_path / "results.db", jobs=2, **LIKE)
    assert summary.statuses == {"ok": 6}
    (sentence,) = summary.warnings
    assert sentence.startswith("A worker process could not be started (")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    summary = bnnbench.run("sgld", "toy", db=tmp_path / "results.db", jobs=2, **LIKE)
    assert summary.statuses == {"ok": 3}
    assert "A worker process could not be started (exit status 1); the run did without it." in summary.warnings
