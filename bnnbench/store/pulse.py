"""Whether a database has changed: a short text, cheap to get, that is another one after each change a report shows."""

from __future__ import annotations

import hashlib
import os

from sqlalchemy import Connection, inspect, text

from bnnbench.store.database import Database

# Table -> what tells that rows came, went or were made anew. Claims and signs of life, which change all the time, are
# in none of them.
_TOLD = {
    "session": "count(*), max(id), max(started)",
    "attempt": "count(*), max(id), max(finished)",
    "evaluation": "count(*), max(id)",
    "score": "count(*), sum(value)",
    "curve": "count(*), max(id)",
    "verdict": "count(*), max(id), sum(figure)",
}
_WHOLE = ("method", "task", "metric")  # small, and changed in place


def pulse(db: str | os.PathLike[str], timeout: float = 30.0) -> str:
    """A text that stays the same as long as a report would, of a database of any edition; empty if that is empty.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    with (
        Database(db, read_only=True, timeout=timeout, as_found=True, glance=True) as found,
        found.reading() as connection,
    ):
        if found.revision is None:
            return ""
        return hashlib.sha256(repr((found.revision, _told(connection))).encode()).hexdigest()


def _told(connection: Connection) -> list[object]:
    there = set(inspect(connection).get_table_names())
    queries = [f"SELECT {told} FROM {table}" for table, told in _TOLD.items() if table in there]
    queries += [f"SELECT * FROM {table} ORDER BY id" for table in _WHOLE if table in there]
    return [tuple(row) for query in queries for row in connection.execute(text(query))]
