"""Opening and closing a database, and its transactions."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, orm

from bnnbench.errors import UserError
from bnnbench.store import schema
from bnnbench.store.address import Address
from bnnbench.store.faults import database_faults

_WRITERS = 0x626E6E62  # key of PostgreSQL's advisory lock of bnnbench's writers


class Database:
    """An open database at the newest revision; a context manager.

    Args:
        db: path of an SQLite file, or a `sqlite:///` or `postgresql://` URL.
        read_only: make no file and write no results; the database must exist (an older one is still upgraded).
        timeout: seconds to wait for another program's lock.

    Raises:
        UserError: it cannot be opened, is not a database of bnnbench, or is of a newer bnnbench.
    """

    def __init__(self, db: str | os.PathLike[str], read_only: bool = False, timeout: float = 30.0) -> None:
        self.address = Address.parse(db)
        self.read_only = read_only
        self.address.check(read_only)
        self._engine = _engine(self.address, read_only, timeout)
        self._writer = self._engine.execution_options(write=True)
        try:
            with database_faults(self.address):
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        with self._engine.connect() as connection:
            found = schema.revision(connection, self.address)
        if found == schema.HEAD:
            return
        if not self.read_only:
            schema.upgrade(self._writer)
        elif found is None:
            raise UserError(f"The database {self.address} is empty; fill it with `bnnbench run --db {self.address}`.")
        else:
            self._engine.dispose()
            try:
                Database(self.address.path or self.address.url.render_as_string(hide_password=False)).close()
            except UserError as error:
                raise UserError(
                    f"{self.address} is of an older bnnbench and must be upgraded first, but: {error}"
                ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close; the last writer of an SQLite database leaves a single file in rollback mode.

        That file can be committed, and read where no `-wal` file can be made.
        """
        self._engine.dispose()
        if self.address.path and not self.read_only:
            uri = _uri(self.address.path, "rw")
            # It fails where another process is still at work, which then will be the last one.
            with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the database."""
        with database_faults(self.address), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[orm.Session]:
        """A transaction that writes, all or nothing. There is one at a time, so it may read first and then decide."""
        if self.read_only:
            raise RuntimeError(f"The database {self.address} was opened for reading only.")
        with database_faults(self.address), orm.Session(self._writer) as session, session.begin():
            yield session


def _engine(address: Address, read_only: bool, timeout: float) -> Engine:
    options: dict[str, Any] = {"json_serializer": lambda value: json.dumps(value, separators=(",", ":"))}
    if address.path is None:
        options["connect_args"] = {"options": f"-c lock_timeout={int(timeout * 1000)}"}
    else:
        options["creator"] = lambda: _connect(Path(str(address.path)), read_only, timeout)
    try:
        engine = create_engine(address.url, **options)
    except ModuleNotFoundError as error:
        raise UserError("PostgreSQL needs a driver; install it with `pip install 'bnnbench[postgres]'`.") from error
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """Take the one writer's lock at the start: a lock taken after reading could only fail."""
    write = connection.get_execution_options().get("write", False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
    elif write:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


def _connect(path: Path, read_only: bool, timeout: float) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    connection = _sqlite(path, mode, timeout)
    try:
        if not read_only:
            with _unless_locked():
                connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.OperationalError as error:
        connection.close()
        # A file left in WAL mode needs two more files even to be read; where they cannot be made, nobody can write
        # either, so it may be taken as it stands, provided that no log with unmerged work lies beside it.
        log = Path(f"{path}-wal")
        unwritable = error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY"))
        if not read_only or not unwritable or (log.exists() and log.stat().st_size):
            raise
        return _sqlite(path, "ro&immutable=1", timeout)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _sqlite(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    # No isolation level: the driver would begin transactions on its own, and too late (SQLAlchemy, "pysqlite").
    connection = sqlite3.connect(
        _uri(path, mode), uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def _unless_locked() -> Iterator[None]:
    """WAL only makes waiting rarer: where others hold the file just now, go on in the mode that it is in."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path.absolute()))}?mode={mode}"
