"""Several processes at one database: claims, concurrent writers, sudden death."""

import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from store_samples import make_cell, make_outcome, prepared

from bnnbench.records import Status
from bnnbench.store import server
from bnnbench.store.claims import described, lives, owner_id
from bnnbench.store.store import ResultStore

ELSEWHERE = "another-host:another-boot:1:1"  # of which nothing but its heartbeat is known


def dead_owner() -> str:
    code = "from bnnbench.store.claims import owner_id; print(owner_id())"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_owner_id_tells_the_living_from_the_dead():
    host, boot, pid, start = owner_id().split(":")
    assert (host, pid) == (socket.gethostname(), str(os.getpid()))
    assert lives(owner_id())
    assert lives(f"renamed:{boot}:{pid}:{start}")
    assert lives(dead_owner()) is False
    assert lives(f"{host}:{boot}:{pid}:{start}0") is False  # the pid lives, but belongs to another process now
    older = f"{host}:{pid}:{start}"  # as an earlier bnnbench named it
    for owner in (ELSEWHERE, "name", "", older, f"{host}:{boot}:pid:1", f"{host}:{boot}x:{pid}:{start}"):
        assert lives(owner) is None
    assert described(owner_id()) == f"process {pid} on {host}"
    assert described(older) == older


def test_an_owner_that_may_not_be_looked_at_is_neither(monkeypatch):
    owner = owner_id()

    def deny(self):
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "status", deny)
    assert lives(owner) is None


def test_a_clock_that_is_set_makes_nobody_dead(monkeypatch):
    """The boot's date moves with the clock, and with it the date at which a process was made."""
    owner, made = owner_id(), psutil.Process().create_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: 0.0)
    assert psutil.Process().create_time() != made
    assert lives(owner)


@pytest.mark.parametrize("pid", ["0", "00", str(2**31), str(2**64), str(10**30)])
def test_numbers_that_are_no_process(pid):
    host, boot, _, start = owner_id().split(":")
    assert lives(f"{host}:{boot}:{pid}:{start}") is False


def test_a_zombie_is_dead():
    child = subprocess.Popen(
        [sys.executable, "-c", "from bnnbench.store.claims import owner_id; print(owner_id(), flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    owner = child.stdout.readline().strip()
    assert lives(owner)
    child.kill()
    deadline = time.time() + 10
    while lives(owner) and time.time() < deadline:
        time.sleep(0.01)
    assert not lives(owner)  # before anyone has waited for it
    child.communicate()


def test_a_claim_is_all_or_nothing(store):
    cells = [make_cell(i) for i in range(4)]
    assert store.claim(cells[:2], ELSEWHERE)
    assert not store.claim(cells[1:], owner_id())
    assert store.running()["split"].tolist() == ["10fold-0", "10fold-1"]
    assert store.claim(cells[2:], owner_id())
    assert store.claim(cells[2:], owner_id())  # one's own once more
    store.release(owner_id())
    assert set(store.running()["owner"]) == {ELSEWHERE}


def test_finished_cells_are_claimed_only_by_force(store, session):
    store.record(session, [make_outcome(make_cell(0)), make_outcome(make_cell(1), status=Status.FAILED)])
    assert not store.claim([make_cell(0), make_cell(1)], owner_id())
    assert store.claim([make_cell(1)], owner_id())
    assert store.claim([make_cell(0)], owner_id(), force=True)


def test_claims_of_the_dead_and_the_silent_lapse(store, monkeypatch):
    assert store.claim([make_cell(0)], dead_owner())
    assert store.claim([make_cell(0)], owner_id())
    assert store.claim([make_cell(1)], ELSEWHERE)
    now = time.time()
    monkeypatch.setattr(server.time, "time", lambda: now + 50)
    assert not store.claim([make_cell(1)], owner_id())
    store.heartbeat(ELSEWHERE)
    monkeypatch.setattr(server.time, "time", lambda: now + 100)
    assert not store.claim([make_cell(1)], owner_id())
    monkeypatch.setattr(server.time, "time", lambda: now + 111)
    assert store.running()["owner"].tolist() == [owner_id()]  # who is silent, and seen to live
    assert store.claim([make_cell(1)], owner_id())


def test_a_living_process_keeps_its_claims_however_silent(store, monkeypatch):
    """One that is busy, stopped, or could not reach the database for an hour."""
    code = "from bnnbench.store.claims import owner_id; print(owner_id(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        owner = other.stdout.readline().strip()
        assert store.claim([make_cell(0)], owner)
        now = time.time()
        monkeypatch.setattr(server.time, "time", lambda: now + 3600)
        assert not store.claim([make_cell(0)], owner_id())
        assert store.running()["claimed"].tolist() == pytest.approx([now], abs=60)
        other.kill()
        other.wait()
        assert store.claim([make_cell(0)], owner_id())


def test_claims_from_the_future_are_void(store, monkeypatch):
    """A clock that was an hour ahead when they were made, and was then set right."""
    now = time.time()
    monkeypatch.setattr(server.time, "time", lambda: now + 3600)
    assert store.claim([make_cell(0)], ELSEWHERE)
    assert not store.claim([make_cell(0)], owner_id())
    monkeypatch.setattr(server.time, "time", lambda: now)
    assert store.running().empty
    assert store.claim([make_cell(0)], owner_id())


def test_a_lock_is_waited_for_again_and_again(path, caplog):
    """Longer than SQLite waits by itself; an iterator of cells is not used up by the first try."""
    store, session = prepared(path, timeout=0.1)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with store:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.5, other.rollback)
        timer.start()
        assert store.claim(iter([make_cell(0), make_cell(1)]), owner_id())
        timer.join()
        assert len(store.running()) == 2
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.5, other.rollback)
        timer.start()
        assert store.record(session, iter([make_outcome(make_cell(0))])) == 1
        timer.join()
    other.close()
    assert sum("is locked by another program" in message for message in caplog.messages) == 2


def test_recording_ends_ones_own_claims_alone(store, session):
    cells = [make_cell(i) for i in range(3)]
    store.claim(cells[:1], ELSEWHERE)
    store.claim(cells[1:], owner_id())
    store.record(session, [make_outcome(cell) for cell in cells[:2]], owner=owner_id())
    assert store.running()[["split", "owner"]].values.tolist() == [["10fold-0", ELSEWHERE], ["10fold-2", owner_id()]]
    store.record(session, [make_outcome(cell) for cell in cells])
    assert store.running().empty


def work(path: str, seed: int, queue) -> None:
    """A run: claim whatever pack is open, record it, until nothing is missing."""
    cells, order = [make_cell(i) for i in range(36)], np.random.default_rng(seed)
    packs = [cells[i : i + 3] for i in range(0, 36, 3)]
    store, session = prepared(path)
    with store:
        mine = []
        while store.missing(cells):
            for pack in (packs[i] for i in order.permutation(len(packs))):
                if (todo := store.missing(pack)) and store.claim(todo, owner_id()):
                    store.heartbeat(owner_id())
                    assert store.record(session, [make_outcome(c, seed) for c in todo], owner_id()) == len(todo)
                    mine += [cell.index for cell in todo]
    queue.put(mine)


def test_concurrent_runs_lose_and_double_nothing(path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["store_samples"])
    queue = context.Queue()
    workers = [context.Process(target=work, args=(str(path), seed, queue)) for seed in range(3)]  # of a new database
    for worker in workers:
        worker.start()
    done = [index for _ in workers for index in queue.get(timeout=120)]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sorted(done) == list(range(36))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with ResultStore(path, read_only=True) as store:
        assert len(store.attempts()) == 36
        assert len(store.scores()) == 72
        assert len(store.sessions()) == 3
        assert store.running().empty
        with store.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM attempt").scalar() == 36
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


RECORD = """
import sys; sys.path.insert(0, sys.argv[2])
from store_samples import make_cell, make_outcome
from bnnbench.store.store import ResultStore
store = ResultStore(sys.argv[1])
print("ready", flush=True)
pack = 0
while True:
    pack += 1
    store.record(1, [make_outcome(make_cell(1000 * pack + i)) for i in range(150)])
    print(pack, flush=True)
"""


@pytest.mark.parametrize("delay", [0.02, 0.05])
def test_a_kill_leaves_whole_packs(path, delay):
    prepared(path)[0].close()
    here = os.path.dirname(__file__)
    child = subprocess.Popen([sys.executable, "-c", RECORD, str(path), here], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert [child.stdout.readline().strip() for _ in range(2)] == ["ready", "1"]
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    said = child.communicate()[0].split()
    with ResultStore(path) as store:
        packs = (store.attempts()["split"].str.removeprefix("10fold-").astype(int) // 1000).value_counts()
        assert set(packs) == {150}
        assert len(packs) in (len(said) + 1, len(said) + 2)  # all that it said it stored, perhaps one it could not say
        assert len(store.scores()) == 300 * len(packs)
        assert store.record(1, [make_outcome(make_cell(7))]) == 1
        with store.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def test_some_cells_are_given_back(store):
    first, second = make_cell(0), make_cell(1)
    owner = owner_id()
    assert store.claim([first, second], owner)
    store.release(owner, [second])
    assert store.claim([second], ELSEWHERE)
    assert not store.claim([first], ELSEWHERE)
    store.release(owner, [second])  # another's by now
    assert store.running()["owner"].tolist() == [owner, ELSEWHERE]
