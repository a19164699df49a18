"""From the first revision to the newest, on both kinds of database."""

from datetime import datetime

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from bnnbench.store import schema
from bnnbench.store.store import ResultStore
from bnnbench.store.tables import Base

NOW, CELL = datetime(2026, 1, 1), "f" * 64
COMMANDS = {  # as they were stored -> as they should be
    "bnnbench run --db postgresql://u:secret-pw@h/d --task toy": (
        "bnnbench run --db 'postgresql://u:***@h/d' --task toy"
    ),
    "bnnbench run --task toy": "bnnbench run --task toy",
    "bnnbench run '--db=postgresql://u:secret-pw x@h/d?sslpassword=secret-pw' --set 'map.lr=1,2'": (
        "bnnbench run '--db=postgresql://u:***@h/d?sslpassword=***' --set map.lr=1,2"
    ),
    "it's postgresql://u:secret-pw@h/d": "it's postgresql://u:***@h/d",
}


def revision_1(place: str) -> sqlalchemy.Engine:
    """A database of the first revision, as an earlier bnnbench left it: one cell, claimed, and its session."""
    engine = sqlalchemy.create_engine(place)
    config = schema.alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        tables = sqlalchemy.MetaData()
        tables.reflect(connection)
        method = {"name": "bbp", "version": 1, "current": True, "reference": "", "tags": [], "position": 0}
        task = {"name": "wine", "version": "1", "current": True, "kind": "regression", "reference": "", "position": 0}
        cell = {"fingerprint": CELL, "task_id": 1, "method_id": 1, "config": "{}", "label": "default", "rule": "10fold"}
        claim = {"split_index": 0, "seed": 0, "budget": "quick", "owner": "h:1:1", "heartbeat": 1.0}
        attempt = {"cell_id": 1, "session_id": 1, "status": "ok", "message": "", "steps": 1, "gradients": 1}
        costs = {"compiled": False, "pack_size": 1, "wall_s": 1.0, "peak_memory_mb": 1.0, "parameters": 1}
        session = {"revision": "abc", "dirty": False, "versions": {}, "device": "cpu", "host": "h", "threads": 1}
        rows = {
            "session": [{"id": i, "started": NOW, **session, "command": line} for i, line in enumerate(COMMANDS, 1)],
            "method": [{"id": 1, **method}],
            "task": [{"id": 1, **task, "task_groups": [], "notes": []}],
            "cell": [{"id": 1, **cell, **claim}],
            "attempt": [{"id": 1, **attempt, **costs, "finished": NOW}],
        }
        for name, values in rows.items():
            connection.execute(tables.tables[name].insert(), values)
    return engine


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_second_revision_scrubs_passwords_and_keeps_the_rest(path, kind, read_only, request, monkeypatch):
    monkeypatch.chdir(path.parent)
    place = f"sqlite:///{path}"
    if kind == "postgresql":
        place = request.getfixturevalue("postgres").new().replace("postgresql:", "postgresql+psycopg:")
    engine = revision_1(place)
    with ResultStore(place, read_only=read_only) as store:
        assert store.sessions()["command"].tolist() == list(COMMANDS.values())
        assert store.attempts()["fingerprint"].tolist() == [CELL]
        assert store.running().empty
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT count(*) FROM session WHERE command LIKE '%secret-pw%'")) == 0
        assert connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version")) == schema.HEAD
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    if kind == "sqlite":
        assert b"secret-pw" not in path.read_bytes()
