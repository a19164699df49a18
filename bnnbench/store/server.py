"""What a PostgreSQL server is asked beyond the tables: its clock, and whether a transaction went through."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Engine, orm, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from bnnbench.store.faults import pauses


def options(url: URL, timeout: float) -> dict[str, Any]:
    """Arguments of `create_engine`: connections that broke while idle are replaced, and no wait is endless."""
    given = url.query.get("options", "")
    own = f"-c lock_timeout={int(timeout * 1000)}"
    arguments: dict[str, Any] = {"options": f"{given if isinstance(given, str) else ' '.join(given)} {own}".strip()}
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = max(2, int(timeout))  # libpq takes 1 for 2
    return {"pool_pre_ping": True, "connect_args": arguments}


def repeatable(connection: Connection) -> Connection:
    """The connection, whose statements see one state, as SQLite's do: a server's see, by default, each its own."""
    if connection.dialect.name == "postgresql":
        return connection.execution_options(isolation_level="REPEATABLE READ")
    return connection


def now(database: Connection | orm.Session) -> float:
    """Seconds since the epoch, by the one clock that all processes on the database share."""
    connection = database.connection() if isinstance(database, orm.Session) else database
    if connection.dialect.name == "postgresql":
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()


def transaction_id(session: orm.Session) -> int | None:
    """The server's number of the transaction in progress; None for SQLite, which always says how a commit ended."""
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        return None
    return int(connection.execute(text("SELECT txid_current()")).scalar_one())


def went_through(engine: Engine, transaction: int, timeout: float) -> bool:
    """Whether a transaction was committed although the connection broke before the server could say so."""
    for pause in pauses(timeout):
        try:
            with engine.connect() as connection:
                status = connection.execute(text("SELECT txid_status(:id)"), {"id": transaction}).scalar()
        except DBAPIError:  # it is still away
            status = "in progress"
        if status != "in progress":
            return status == "committed"
        time.sleep(pause)
    return False
