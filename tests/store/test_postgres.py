"""The same store on a server; needs an empty database, BNNBENCH_TEST_POSTGRES=postgresql://user@host/name."""

import math
import multiprocessing
import os

import numpy as np
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from store_samples import make_cell, make_outcome, prepared
from test_claims import work

from bnnbench.errors import UserError
from bnnbench.store.store import ResultStore
from bnnbench.store.tables import Base

URL = os.environ.get("BNNBENCH_TEST_POSTGRES", "")
pytestmark = pytest.mark.skipif(not URL, reason="BNNBENCH_TEST_POSTGRES names no database")


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # artifacts of a server's database lie in the working directory
    yield URL
    engine = sqlalchemy.create_engine(URL.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP SCHEMA public CASCADE"))
        connection.execute(sqlalchemy.text("CREATE SCHEMA public"))
    engine.dispose()


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


def test_locked_and_unreachable(url):
    with ResultStore(url) as store, ResultStore(url, timeout=0.1) as other, store.writing() as session:
        session.execute(sqlalchemy.text("SELECT 1"))
        with pytest.raises(UserError, match="cannot be used"):
            other.release("nobody")
    with pytest.raises(UserError, match="cannot be used"):
        ResultStore(sqlalchemy.make_url(url).set(database="absent").render_as_string(hide_password=False))


def test_concurrent_runs_lose_and_double_nothing(url):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=work, args=(url, seed, queue)) for seed in range(3)]
    for worker in workers:
        worker.start()
    done = [index for _ in workers for index in queue.get(timeout=120)]
    for worker in workers:
        worker.join(60)
    assert sorted(done) == list(range(36))
    with ResultStore(url, read_only=True) as store:
        assert len(store.attempts()) == 36
