"""The same store on a server, also while it restarts."""

import logging
import math
import multiprocessing
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from store_samples import make_cell, make_outcome, prepared
from test_claims import ELSEWHERE, work

from bnnbench.errors import UserError
from bnnbench.store import server
from bnnbench.store.claims import owner_id
from bnnbench.store.store import ResultStore
from bnnbench.store.tables import Base


@pytest.fixture
def url(postgres, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # artifacts of a server's database lie in the first writer's working directory
    return postgres.new()


def test_round_trip(url):
    with pytest.raises(UserError, match="is empty"):
        ResultStore(url, read_only=True)
    store, session = prepared(url)
    with store:
        with store.reading() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        curves = {"loss": {"step": [1, 2], "loss": [0.5, math.nan]}}
        outcome = make_outcome(make_cell(), math.inf, curves=curves, artifacts={"posterior": {"w": np.arange(3)}})
        store.record(session, [outcome, make_outcome(make_cell(10), math.nan), make_outcome(make_cell(2))])
        assert store.record(session, [outcome]) == 0
        frame = store.scores(metric="rmse")
        assert frame["split"].tolist() == ["10fold-0", "10fold-2", "10fold-10"]
        assert frame["value"].tolist() == pytest.approx([math.inf, 0.5, math.nan], nan_ok=True)
        assert len(store.curves("pit", evaluation="test")) == 3
        assert store.artifact(make_cell().fingerprint[:9], "posterior")["w"].tolist() == [0, 1, 2]
        with store.writing() as writer:
            writer.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match="written by a newer bnnbench"):
        ResultStore(url)


def test_artifacts_are_found_from_another_folder(url, tmp_path, monkeypatch):
    """Where the first writer had its working directory, or where it said."""
    store, session = prepared(url)
    with store:
        store.record(session, [make_outcome(make_cell(), artifacts={"posterior": {"w": np.arange(3)}})])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with ResultStore(url, read_only=True) as store:
        assert store.artifact(make_cell().fingerprint, "posterior")["w"].tolist() == [0, 1, 2]
        assert store.root.parent == tmp_path
    for read_only in (True, False):
        with pytest.raises(UserError, match=f"lie in {tmp_path}/test.*artifacts, not in .*/other; leave --artifacts"):
            ResultStore(url, read_only=read_only, artifacts="other")
    assert not list(Path().iterdir())


def test_locked_and_unreachable(url):
    with ResultStore(url) as store, ResultStore(url, timeout=0.1) as other, store.writing() as session:
        session.execute(sqlalchemy.text("SELECT 1"))
        with pytest.raises(UserError, match="cannot be used"):
            other.release("nobody")
    for changes in ({"database": "absent"}, {"password": "wrong-pw"}, {"query": {"host": "/nowhere"}}):
        bad = sqlalchemy.make_url(url).set(**changes).render_as_string(hide_password=False)
        with pytest.raises(UserError, match="cannot be used") as refused:
            ResultStore(bad)
        assert not any(word in str(refused.value) for word in ("s3cr3t", "wrong-pw"))


@pytest.mark.parametrize("extra", ["&no_such_option=1", "&sslmode=sometimes", "&port=many", "&plugin=nosuch"])
def test_odd_parameters(url, extra):
    with pytest.raises(UserError, match="cannot be used"):
        ResultStore(url + extra)


def test_options_of_the_url_stay(url):
    with ResultStore(url + "&options=-c%20application_name%3Dmine") as store, store.reading() as connection:
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "mine"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"


def test_what_something_else_changed(url):
    store, session = prepared(url)
    with store:
        store.record(session, [make_outcome(make_cell())])
        with store.writing() as writer:
            writer.execute(sqlalchemy.text("ALTER TABLE score DROP COLUMN stderr"))
        with pytest.raises(UserError, match=r"not as bnnbench made it .*stderr"):
            store.scores()
        with store.writing() as writer:
            writer.execute(sqlalchemy.text("DROP TABLE curve"))
    with pytest.raises(UserError, match="it has no table curve"):
        ResultStore(url)


def test_claims_go_by_the_servers_clock(url, monkeypatch):
    store, _ = prepared(url)
    with store:
        assert store.claim([make_cell()], ELSEWHERE)
        monkeypatch.setattr(server.time, "time", lambda: 0.0)  # a client whose clock is wrong
        assert not store.claim([make_cell()], owner_id())
        store.heartbeat(ELSEWHERE)
        assert store.running()["owner"].tolist() == [ELSEWHERE]
        with store.writing() as session:
            session.execute(sqlalchemy.text("UPDATE cell SET heartbeat = heartbeat + 3600"))
        assert store.claim([make_cell()], owner_id())


def test_concurrent_runs_lose_and_double_nothing(url):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["store_samples"])
    queue = context.Queue()
    workers = [context.Process(target=work, args=(url, seed, queue)) for seed in range(2)]
    for worker in workers:
        worker.start()
    done = [index for _ in workers for index in queue.get(timeout=120)]
    for worker in workers:
        worker.join(60)
    assert sorted(done) == list(range(36))
    with ResultStore(url, read_only=True) as store:
        assert len(store.attempts()) == 36


def test_a_commit_whose_answer_is_lost_is_stored_once(url, monkeypatch):
    """The server commits and the connection breaks before it can say so; or it breaks before the commit."""
    store, session = prepared(url)
    commit = store._engine.dialect.do_commit
    broken = []

    def break_off(connection):
        if len(broken) < 2:
            if broken.append(connection) or len(broken) == 2:
                commit(connection)
            connection.driver_connection.close()
            raise store._engine.dialect.dbapi.OperationalError("server closed the connection unexpectedly")
        commit(connection)

    monkeypatch.setattr(store._engine.dialect, "do_commit", break_off)
    with store:
        assert store.record(session, [make_outcome(make_cell(i)) for i in range(3)], force=True) == 3
        assert len(broken) == 2
        assert len(store.scores()) == 6
        with store.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM attempt").scalar() == 3


@pytest.mark.parametrize("mode", ["fast", pytest.param("immediate", marks=pytest.mark.slow)])
def test_a_restart_costs_nothing(postgres, url, mode, caplog):
    """While one process records pack after pack: all are stored, once."""
    caplog.set_level(logging.WARNING)
    store, session = prepared(url)
    stop, recorded = threading.Event(), []

    def record() -> None:
        while not stop.is_set():
            cells = [make_cell(100 * len(recorded) + i) for i in range(20)]
            assert store.claim(cells, owner_id())
            recorded.append(store.record(session, [make_outcome(cell) for cell in cells], owner_id()))

    worker = threading.Thread(target=record)
    worker.start()
    time.sleep(0.5)
    before = len(recorded)
    postgres.stop(mode)
    time.sleep(1.0)
    away = len(recorded)
    postgres.start()
    deadline = time.monotonic() + 30
    while len(recorded) < away + 3 and worker.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    worker.join()
    with store:
        assert 0 < before <= away <= before + 3 < len(recorded) + 2
        assert set(recorded) == {20}
        assert len(store.scores()) == 40 * len(recorded)
        assert store.running().empty
        with store.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM attempt").scalar() == 20 * len(recorded)
    assert any("Trying again" in message for message in caplog.messages)
    assert "s3cr3t" not in caplog.text


def test_no_password_is_stored(url):
    store, _ = prepared(url, command=f"bnnbench run --db={url}")
    with store:
        assert store.sessions()["command"].tolist() == [f"bnnbench run '--db={url}'".replace("s3cr3t-pw", "***")]
        assert "s3cr3t" not in str(store.address)


def test_frames_equal_those_of_sqlite(url, tmp_path):
    frames = []
    for db in (url, tmp_path / "results.db"):
        store, session = prepared(db)
        with store:
            store.record(session, [make_outcome(make_cell(i), 0.1 * i) for i in range(12)])
            frames.append(store.scores())
    pd.testing.assert_frame_equal(*frames, check_exact=True)
