"""Faults of disks, locks and servers: retried where they are transient, else one sentence with the remedy.

All other errors stay tracebacks.
"""

from __future__ import annotations

import functools
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, ProgrammingError

from bnnbench.errors import UserError
from bnnbench.store.passwords import masked

TRIES = 8
FIRST_S = 0.1
log = logging.getLogger(__name__)
M = TypeVar("M", bound=Callable[..., Any])

NOT_SQLITE = "{place} is not an SQLite database and was left as it is; name another file with --db."
CHANGED = (
    "The database {place} is not as bnnbench made it ({reason}), so something else has changed it; "
    "restore a copy, or use another --db."
)
_LOCKED = "The database {place} is locked by another program; wait until that is done, or use another --db."
_CLOSED = "The database {place} cannot be opened; check the permissions of it and of its folder."

# Beginning of SQLite's name for an error -> sentence.
_SQLITE = {
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_PROTOCOL": _LOCKED,
    "SQLITE_READONLY": "The database {place} cannot be written, for it or its folder is read-only; use another --db.",
    "SQLITE_CANTOPEN": _CLOSED,
    "SQLITE_PERM": _CLOSED,
    "SQLITE_FULL": "There is no space left for the database {place}; free some and run again, finished work is kept.",
    "SQLITE_NOTADB": NOT_SQLITE,
    "SQLITE_CORRUPT": "The database {place} is damaged; restore a copy of it, or use another --db.",
    "SQLITE_IOERR": "The disk failed under the database {place}; check it and its free space, and run again.",
}
_SQLITE_CHANGED = ("no such table", "no such column", "has no column", "may not be NULL", "is not a table")
# SQLSTATEs of PostgreSQL, or their beginnings.
_TRANSIENT = ("08", "57P0", "53300", "55P03", "40001", "40P01")  # connection, shutdown, too many, lock, conflict
_CHANGED = ("42P01", "42703")  # no such table, no such column


class TransientError(UserError):
    """A fault that may pass by itself: a lock, a lost connection, a server that restarts."""


@contextmanager
def database_faults(place: object) -> Iterator[None]:
    """Turn faults of the database at `place` into a UserError."""
    try:
        yield
    except UnicodeEncodeError as error:  # a lone surrogate: a terminal's bytes were not UTF-8
        raise UserError(f"{error.object!r:.200} is not text that a database can hold; write it again.") from error
    except DBAPIError as error:
        name = getattr(error.orig, "sqlite_errorname", None)
        fault = _server(error, place) if name is None else _sqlite(name, str(error.orig), place)
        if fault is None:
            raise
        raise fault from error
    except sqlite3.Error as error:  # outside of SQLAlchemy
        if (fault := _sqlite(error.sqlite_errorname, str(error), place)) is None:
            raise
        raise fault from error


def _sqlite(name: str, reason: str, place: object) -> UserError | None:
    if name == "SQLITE_ERROR" and any(words in reason for words in _SQLITE_CHANGED):
        return UserError(CHANGED.format(place=place, reason=reason))
    for prefix, sentence in _SQLITE.items():
        if name.startswith(prefix):
            return (TransientError if sentence is _LOCKED else UserError)(sentence.format(place=place))
    return None


def _server(error: DBAPIError, place: object) -> UserError | None:
    state = getattr(error.orig, "sqlstate", None)
    reason = masked(str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__)
    if state in _CHANGED:
        return UserError(CHANGED.format(place=place, reason=reason))
    sentence = f"The database {place} cannot be used ({reason}); check the URL and the server."
    if is_transient(error):
        return TransientError(sentence)
    if isinstance(error, OperationalError | InterfaceError | InternalError):
        return UserError(sentence)
    # Without a state it is libpq's refusal of what the URL asks for; 42501 is a lack of rights.
    return UserError(sentence) if isinstance(error, ProgrammingError) and state in (None, "42501") else None


def is_transient(error: DBAPIError) -> bool:
    """Whether a server's fault may pass by itself."""
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or (state is not None and state.startswith(_TRANSIENT)):
        return True
    return state is None and isinstance(error, OperationalError | InterfaceError)  # no answer at all


@contextmanager
def value_faults(place: object) -> Iterator[None]:
    """Turn what values of a wrong type raise into a UserError: SQLite stores values of any type in any column."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(CHANGED.format(place=place, reason=f"a value cannot be read, {error}")) from error


def pauses(longest: float) -> Iterator[float]:
    """Seconds before each further try: exponential backoff with jitter, so that two processes do not keep in step."""
    return (min(longest, FIRST_S * 2**k) * (0.5 + secrets.randbelow(1000) / 1000) for k in range(TRIES))


def retried(method: M) -> M:
    """A method of a database that is run again after a lock, a lost connection or a restart of the server.

    It is one transaction, and one that failed left no trace, so that nothing is stored twice. With pauses of 0.1 s to
    12.8 s a server may be away for 25 s, and a lock may last eight times the timeout.
    """

    @functools.wraps(method)
    def patient(self: Any, *given: Any, **kwargs: Any) -> Any:
        args = [list(arg) if isinstance(arg, Iterator) else arg for arg in given]  # which would be used up
        for number, pause in enumerate(pauses(self.timeout)):
            try:
                return method(self, *args, **kwargs)
            except TransientError as fault:
                if not number:
                    log.warning("%s Trying again.", fault)
                time.sleep(pause)
        return method(self, *args, **kwargs)

    return cast(M, patient)
