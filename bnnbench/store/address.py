"""Where a database lives: a path, `sqlite:///path` or `postgresql://...`, and whether it can be used from here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from bnnbench.arguments import path_of
from bnnbench.errors import UserError
from bnnbench.files import file_faults
from bnnbench.store.faults import NOT_SQLITE
from bnnbench.store.passwords import masked, masked_word
from bnnbench.store.sqlite import COMPANIONS


@dataclass(frozen=True)
class Address:
    """A database.

    Attributes:
        url: its SQLAlchemy URL.
        path: the file of an SQLite database, None for a server.
    """

    url: URL
    path: Path | None

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> Address:
        """Read what was given as `--db`.

        Raises:
            UserError: not a path and not a URL of a database that bnnbench can use.
        """
        if "://" not in str(text):
            return cls._file(text)
        text = os.fspath(text)
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            shown = masked_word(text)
            raise UserError(f"--db {shown} is not a database URL; give a path or postgresql://host/name.") from None
        match url.get_backend_name():
            case "sqlite" if url.database and not (url.host or url.query):
                return cls._file(url.database)
            case "postgresql" if url.database:
                # The driver that the extra `bnnbench[postgres]` installs; SQLAlchemy 2.0 defaults to another one.
                return cls(url.set(drivername="postgresql+psycopg"), None)
        shown = masked(url.render_as_string(hide_password=True))
        raise UserError(f"--db {shown} cannot be used; give a path, sqlite:///path or postgresql://host/name.")

    @classmethod
    def _file(cls, path: str | os.PathLike[str]) -> Address:
        file = path_of(path, "--db")
        if str(file) == ":memory:":
            raise UserError("--db :memory: would lose all results at the end; give the path of a file.")
        return cls(URL.create("sqlite", database=str(file)), file)

    def __str__(self) -> str:
        return str(self.path) if self.path else masked(self.url.render_as_string(hide_password=True))

    @property
    def name(self) -> str:
        """`results` of results.db, or the name of the database on its server."""
        return self.path.stem if self.path else str(self.url.database)

    @property
    def files(self) -> list[Path]:
        """The database's own files, whether they exist or not."""
        return [] if self.path is None else [self.path, *(Path(f"{self.path}{name}") for name in COMPANIONS)]

    def exists(self) -> bool:
        """Whether there may be something to read: of a server one cannot tell before asking it."""
        if self.path is None:
            return True
        with file_faults("read", self.path):
            return self.path.exists()

    def check(self, read_only: bool) -> None:
        """Refuse, in words, a file that cannot be used.

        The file is never opened here: closing a second descriptor of a file drops the locks that SQLite holds on it
        in this process.

        Raises:
            UserError: it is missing (for reading), or cannot be read or written.
        """
        if self.path is None:
            return
        parent, exists = self.path.parent, self.exists()
        if read_only and not exists:
            raise UserError(
                f"There is no database at {self}; make one with `bnnbench run --db {self}` or name another with --db."
            )
        if not parent.is_dir():
            raise UserError(f"The folder {parent} of the database {self.path.name} does not exist; create it first.")
        if exists and not self.path.is_file():
            raise UserError(f"{self} is not a file; name an SQLite database with --db.")
        for companion in self.files[1:]:
            if companion.exists() and not companion.is_file():
                raise UserError(f"{companion} is not a file, and SQLite needs one of this name; remove it.")
        if exists and 0 < self.path.stat().st_size < 512:  # the least page; SQLite takes one byte for none
            raise UserError(NOT_SQLITE.format(place=self))
        if exists and not may(self.path, os.R_OK):
            raise UserError(f"The database {self} may not be read; change its permissions or use another --db.")
        if not read_only and not self.writable():
            raise UserError(
                f"The database {self} cannot be written, for it or its folder is read-only; use another --db."
            )

    def writable(self) -> bool:
        """Whether the file, or its folder where there is none yet, may be written."""
        if self.path is None:
            return True
        return may(self.path.parent, os.W_OK) and (may(self.path, os.W_OK) or not self.path.exists())


def may(path: Path, mode: int) -> bool:
    """Whether this process may read (`os.R_OK`) or write (`os.W_OK`) there."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
