"""A database that is only read, whatever its edition: an older one as an upgraded copy, so that it stays as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, MetaData, Table, create_engine, select

from bnnbench.errors import UserError
from bnnbench.files import file_faults
from bnnbench.store import schema
from bnnbench.store.address import Address
from bnnbench.store.database import EMPTY, Database
from bnnbench.store.faults import database_faults
from bnnbench.store.folders import Folder, within
from bnnbench.store.store import ResultStore

ROWS = 1000  # that are in memory at once


@dataclass(frozen=True)
class Source:
    """An open database at the newest revision.

    Attributes:
        name: what messages call it.
        place: where it was opened.
        store: the database, or its upgraded copy.
        base: the folder that stored paths of artifacts are relative to. root: the folder of all artifacts.
    """

    name: str
    place: str | os.PathLike[str]
    store: ResultStore
    base: Folder
    root: Folder

    def artifact(self, path: str) -> Folder | None:
        """The file of a stored path; None where it leads out of the artifacts: something else has changed it."""
        file = self.base / path
        return file if within(file, self.root) else None


@contextmanager
def source(db: str | os.PathLike[str], timeout: float = 30.0) -> Iterator[Source]:
    """Open a database to be read.

    Args:
        db: path or URL. timeout: seconds to wait for another program's lock.

    Raises:
        UserError: there is none, it is empty, another program's, or of a newer bnnbench.
    """
    with Database(db, read_only=True, timeout=timeout, as_found=True) as found:
        name = str(found.address)
        if found.revision is None:
            raise UserError(EMPTY.format(place=name))
        if found.revision != schema.HEAD:
            with TemporaryDirectory(prefix="bnnbench-") as folder:
                copy = Path(folder) / f"{found.address.name}.db"
                with file_faults("write", copy, "name a larger TMPDIR"):
                    copy_tables(found, copy)
                with ResultStore(copy) as store:
                    yield Source(name, db, store, _moved(store.base, copy, found), _moved(store.root, copy, found))
            return
    with ResultStore(db, read_only=True, timeout=timeout) as store:
        yield Source(name, db, store, store.base, store.root)


def copy_tables(found: Database, path: Path) -> None:
    """Copy a database as it stands into a new SQLite file of the same revision."""
    assert found.revision is not None
    address = Address.parse(path)
    engine = create_engine(address.url)
    try:
        with database_faults(address):
            schema.upgrade(engine, found.revision)
            with found.reading() as reader, engine.begin() as writer:
                theirs, ours = MetaData(), MetaData()
                theirs.reflect(reader)
                ours.reflect(writer)
                for table in ours.sorted_tables:
                    if table.name != "alembic_version":
                        _copy_rows(reader, theirs.tables[table.name], writer, table)
    except KeyError as error:
        raise UserError(f"The database {found.address} lacks the table {error}; restore a copy of it.") from error
    finally:
        engine.dispose()


def _copy_rows(reader: Connection, theirs: Table, writer: Connection, ours: Table) -> None:
    columns = [theirs.c[column.name] for column in ours.c]
    rows = reader.execution_options(yield_per=ROWS).execute(select(*columns))
    for part in rows.mappings().partitions():
        writer.execute(ours.insert(), [dict(row) for row in part])


def _moved(folder: Folder, copy: Path, found: Database) -> Folder:
    """A folder beside the copy as one beside the original; others are where they are."""
    if found.address.path is None or not isinstance(folder, Path) or not folder.is_relative_to(copy.parent):
        return folder
    return found.address.path.parent / folder.relative_to(copy.parent)
