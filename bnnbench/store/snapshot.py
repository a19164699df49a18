"""A database as it is at this moment, whatever its edition: what is read later is still of this moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bnnbench.errors import UserError
from bnnbench.files import file_faults
from bnnbench.store.address import Address
from bnnbench.store.database import EMPTY, Database
from bnnbench.store.source import source
from bnnbench.store.store import ResultStore


@contextmanager
def snapshot(db: str | os.PathLike[str], timeout: float = 30.0) -> Iterator[ResultStore]:
    """Open a database that others write, for a reader who takes long.

    Of an SQLite file this is a copy: a long reader would hold up its writers. One of an older edition is upgraded in
    the copy. On a server nobody is held up, and nothing is copied but an older edition.

    Args:
        db: path or URL. timeout: seconds to wait for another program's lock.

    Raises:
        UserError: there is none, it is empty, another program's, or of a newer bnnbench.
    """
    if Address.parse(db).path is None:
        with source(db, timeout) as found, found.store.one_view():
            yield found.store
        return
    with TemporaryDirectory(prefix="bnnbench-") as folder:
        copy = Path(folder) / "snapshot.db"
        with (
            Database(db, read_only=True, timeout=timeout, as_found=True, glance=True) as whole,
            file_faults("write", copy, "name a larger TMPDIR"),
        ):
            if whole.revision is None:
                raise UserError(EMPTY.format(place=whole.address))
            whole.copy_to(copy)
        with ResultStore(copy) as store:
            yield store
