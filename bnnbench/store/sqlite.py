"""Connections to an SQLite file, and how its log is merged into it in the end."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from bnnbench.store.faults import pauses

COMPANIONS = ("-wal", "-shm", "-journal")  # the files that SQLite keeps beside one at work
_CLOSING_S = 0.1  # the longest pause between two tries to be the last one


def connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """A connection of mode `rwc` (makes the file), `rw` or `ro`; it changes nothing of the file by itself.

    A reader takes `rw`, too, where the file may be written: such a connection merges what a killed writer left.
    """
    connection = _connect(path, mode, timeout)
    try:
        connection.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.OperationalError as error:
        connection.close()
        # A file left in WAL mode needs two more files even to be read; where they cannot be made, nobody can write
        # either, so it may be taken as it stands, provided that no log with unmerged work lies beside it.
        log = Path(f"{path}-wal")
        unwritable = error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY"))
        if mode != "ro" or not unwritable or (log.exists() and log.stat().st_size):
            raise
        return _connect(path, "ro&immutable=1", timeout)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def use_log(connection: sqlite3.Connection) -> None:
    """Write ahead: readers and the writer need not wait for each other.

    It only makes waiting rarer: where others hold the file just now, work goes on in the mode that it is in.
    """
    _unless_busy(connection, "PRAGMA journal_mode = WAL")


def leave_single_file(path: Path, timeout: float) -> bool:
    """Merge the log into the file; unless another process is at work, end in rollback mode, without a log.

    Such a file can be committed, copied alone, and read where no `-wal` file can be made. Processes that close at the
    same moment keep each other from being the last one, hence the pauses of random length without a connection.

    Returns:
        Whether all that was stored so far is in the file.
    """
    merged, wait = False, timeout
    for pause in pauses(_CLOSING_S):
        with closing(_connect(path, "rw", wait)) as connection:
            if _unless_busy(connection, "PRAGMA journal_mode = DELETE") == ("delete",):  # nobody else is connected
                return True
            if not merged:  # waits for a writer's transaction and for readers of an older state
                merged = (_unless_busy(connection, "PRAGMA wal_checkpoint(FULL)") or (1,))[0] == 0
        wait = 0.0
        time.sleep(pause)
    return merged


def copy(connection: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Copy all pages of a database, in one step, into one that may be lost."""
    target.execute("PRAGMA synchronous = OFF")
    connection.backup(target)


def compact(connection: sqlite3.Connection) -> bool:
    """Give the room of what was deleted back to the disk; False where others hold the file.

    Not only where pages are free: scores that went leave theirs half empty.
    """
    try:
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
        return False
    return True


class _Connection(sqlite3.Connection):
    """A commit that is refused, as while others read, leaves SQLite's transaction open, with its lock. Here it is taken
    back, as SQLAlchemy expects of every database, so that it can be tried again."""

    def commit(self) -> None:
        try:
            super().commit()
        except sqlite3.Error:
            self.rollback()
            raise


def _connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    # No isolation level: the driver would begin transactions on its own, and too late (SQLAlchemy, "pysqlite").
    connection = sqlite3.connect(
        uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, factory=_Connection
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _unless_busy(connection: sqlite3.Connection, statement: str) -> tuple | None:
    """The row that a statement gives, None where others hold the file."""
    try:
        return connection.execute(statement).fetchone()
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
        return None


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
