"""Faults of disk, locks and servers, said in one sentence with the remedy; everything else stays a traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, OperationalError

from bnnbench.errors import UserError

NOT_SQLITE = "{place} is not an SQLite database and was left as it is; name another file with --db."

# Beginning of SQLite's name for an error -> sentence.
_SQLITE = {
    "SQLITE_BUSY": "The database {place} is locked by another program; wait until that is done, or use another --db.",
    "SQLITE_LOCKED": "The database {place} is locked by another program; wait until that is done, or use another --db.",
    "SQLITE_READONLY": "The database {place} cannot be written, for it or its folder is read-only; use another --db.",
    "SQLITE_CANTOPEN": "The database {place} cannot be opened; check the permissions of it and of its folder.",
    "SQLITE_PERM": "The database {place} cannot be opened; check the permissions of it and of its folder.",
    "SQLITE_FULL": "There is no space left for the database {place}; free some and run again, finished work is kept.",
    "SQLITE_NOTADB": NOT_SQLITE,
    "SQLITE_CORRUPT": "The database {place} is damaged; restore a copy of it, or use another --db.",
    "SQLITE_IOERR": "The disk failed under the database {place}; check it and its free space, and run again.",
}


@contextmanager
def database_faults(place: object) -> Iterator[None]:
    """Turn faults of the database at `place` into a UserError."""
    try:
        yield
    except UnicodeEncodeError as error:  # half of a surrogate pair: what a terminal made of bytes that are no UTF-8
        raise UserError(f"{error.object!r:.200} is no text, and no database holds it; write it anew.") from error
    except DBAPIError as error:
        name = getattr(error.orig, "sqlite_errorname", None)
        for prefix, sentence in _SQLITE.items():
            if name and name.startswith(prefix):
                raise UserError(sentence.format(place=place)) from error
        if name is None and isinstance(error, OperationalError):  # a server
            reason = str(error.orig).strip().splitlines()[0]
            raise UserError(f"The database {place} cannot be used ({reason}); check the URL and the server.") from error
        raise


@contextmanager
def file_faults(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a UserError; `action` is `write` or `read`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "free some disk space and run again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "change the permissions or use another folder"
        else:
            remedy = "check the path and the disk"
        reason = error.strerror or type(error).__name__
        raise UserError(f"Cannot {action} {path} ({reason}); {remedy}.") from error
