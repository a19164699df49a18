"""Opening and closing a database, and its transactions."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, orm
from sqlalchemy.exc import ArgumentError, DBAPIError

from bnnbench.errors import UserError
from bnnbench.store import schema, server, sqlite
from bnnbench.store.address import Address
from bnnbench.store.faults import database_faults, is_transient

log = logging.getLogger(__name__)
EMPTY = "The database {place} is empty; fill it with `bnnbench run --db {place}`."
_WRITERS = 0x626E6E62  # key of PostgreSQL's advisory lock of bnnbench's writers


class Database:
    """An open database at the newest revision; a context manager.

    Args:
        db: path of an SQLite file, or a `sqlite:///` or `postgresql://` URL.
        read_only: make no file and write no results; the database must exist (an older one is still upgraded, and
            what a killed writer left in the log of an SQLite file is still merged into it).
        timeout: seconds to wait for another program's lock.
        as_found: leave an older one at its revision, for whoever copies its tables; only for reading.
        glance: on closing, leave the log of an SQLite file as it is; for a reader who looks in every few seconds while
            others write, and is not to hold them up.

    Attributes:
        revision: the one that it was found at, None of an empty one.

    Raises:
        UserError: it cannot be opened, is not a database of bnnbench, or is of a newer bnnbench.
    """

    def __init__(
        self,
        db: str | os.PathLike[str],
        read_only: bool = False,
        timeout: float = 30.0,
        as_found: bool = False,
        glance: bool = False,
    ) -> None:
        self.address, self.read_only, self.timeout, self._glance = Address.parse(db), read_only, timeout, glance
        self._view: Connection | None = None
        self.revision: str | None = None
        self.address.check(read_only)
        self._ours = False  # nothing of a file is changed before that is known
        self._engine, self._files = self._connect()
        self._writer = self._engine.execution_options(write=True)
        try:
            with database_faults(self.address):
                self._open(as_found)
        except BaseException:
            with suppress(UserError):
                self.close()
            raise

    def _connect(self) -> tuple[Engine, list[Any]]:
        """The engine, and a list of SQLite's connections that it makes."""
        path, files = self.address.path, []
        options: dict[str, Any] = {"json_serializer": lambda value: json.dumps(value, separators=(",", ":"))}
        if path is None:
            options |= server.options(self.address.url, self.timeout)
        else:
            mode = "rwc" if not self.read_only else "rw" if self.address.writable() else "ro"

            def connect() -> Any:
                files.append(sqlite.connect(path, mode, self.timeout))
                return files[-1]

            options["creator"] = connect
        try:
            engine = create_engine(self.address.url, **options)
        except ModuleNotFoundError as error:
            raise UserError("PostgreSQL needs a driver; install it with `pip install 'bnnbench[postgres]'`.") from error
        except ArgumentError as error:
            raise UserError(f"The URL {self.address} cannot be used ({error}); leave out what it adds.") from error
        event.listen(engine, "begin", _begin)
        return engine, files

    def _open(self, as_found: bool) -> None:
        with self._engine.connect() as connection:
            found = self.revision = schema.revision(connection, self.address)
        if self.read_only and found is None and not as_found:
            raise UserError(EMPTY.format(place=self.address))
        self._ours = True
        if self.address.path and not self.read_only:
            with closing(self._engine.raw_connection()) as raw:
                sqlite.use_log(raw.cursor().connection)
        if found == schema.HEAD or as_found:
            return
        if not self.read_only:
            schema.upgrade(self._writer)
            return
        self._engine.dispose()
        try:
            Database(self.address.path or self.address.url.render_as_string(hide_password=False)).close()
        except UserError as error:
            raise UserError(
                f"{self.address} is of an older bnnbench and must be upgraded first, but: {error}"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except UserError:
            if kind is None:  # what failed before says more than what fails now because of it
                raise

    def close(self) -> None:
        """Close; the last one to do so leaves an SQLite database as a single file that holds everything.

        Raises:
            UserError: a writer's work cannot be merged into the file; it is safe in the log beside it.
        """
        self._engine.dispose()
        for connection in self._files:  # an interrupt may have kept one from being returned
            connection.close()
        if self.address.path is None or self._glance or not (self._ours and self.address.writable()):
            return
        try:
            with database_faults(self.address):
                merged = sqlite.leave_single_file(self.address.path, 0.0 if self.read_only else self.timeout)
        except UserError:
            if not self.read_only:
                raise
        else:
            if not (merged or self.read_only):
                log.warning(
                    "Another program reads %s, so its last work is in its log until a later command.", self.address
                )

    def copy_to(self, path: Path) -> None:
        """Copy an SQLite file as it stands, page by page, into a new one; others are held up for a moment only."""
        with self.reading() as connection, closing(sqlite.connect(path, "rwc", self.timeout)) as target:
            schema.revision(
                connection, self.address
            )  # takes the reader's lock, for which the copying would wait for ever
            own: Any = connection.connection.driver_connection
            sqlite.copy(own, target)

    def compact(self) -> None:
        """Shrink an SQLite file by what was deleted; where that cannot be done now, it is said, and nothing is lost."""
        if self.address.path is None:
            return
        reason = "another program holds it"
        try:
            with database_faults(self.address), closing(self._engine.raw_connection()) as raw:
                if sqlite.compact(raw.cursor().connection):
                    return
        except UserError as error:
            reason = str(error)
        log.warning("%s keeps its size for now (%s); forget again later.", self.address, reason.rstrip("."))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One view of the database, the same from the first statement to the last."""
        if self._view is not None:
            yield self._view
            return
        with database_faults(self.address), self._engine.connect() as connection:
            yield server.repeatable(connection)

    @contextmanager
    def one_view(self) -> Iterator[None]:
        """All that is read within, by this thread alone, is of one state, whatever is written meanwhile."""
        with self.reading() as connection:
            self._view = connection
            try:
                yield
            finally:
                self._view = None

    @contextmanager
    def writing(self) -> Iterator[orm.Session]:
        """A transaction that writes, all or nothing. There is one at a time, so it may read first and then decide.

        After an exception nothing of it is stored, even where the connection broke during the commit.
        """
        if self.read_only:
            raise RuntimeError(f"The database {self.address} was opened for reading only.")
        with database_faults(self.address), orm.Session(self._writer) as session:
            yield session
            session.flush()
            transaction = server.transaction_id(session)
            try:
                session.commit()
            except DBAPIError as error:
                if transaction is None or not is_transient(error):
                    raise
                if not server.went_through(self._engine, transaction, self.timeout):
                    raise


def _begin(connection: Connection) -> None:
    """Take the one writer's lock at the start: a lock taken after reading could only fail."""
    write = connection.get_execution_options().get("write", False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
    elif write:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
