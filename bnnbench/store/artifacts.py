"""Files of named arrays, addressed by the checksum of their content, and the folder in which they lie.

An SQLite database has them in `NAME.artifacts` beside it, and the two may move together. A server has no such place, so
the first writer's is stored with the database; for both, `--artifacts` names another one, once and for all: a folder or
the URL of an object store.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import platformdirs
from safetensors.numpy import load, save
from sqlalchemy import Connection, orm, select

from bnnbench.arguments import is_special
from bnnbench.errors import UserError
from bnnbench.records import CellRecord
from bnnbench.store.database import Database
from bnnbench.store.faults import retried
from bnnbench.store.folders import Folder, check_folder, content, folder_of, mark, put, same, within
from bnnbench.store.tables import Artifact, Setting


def write_artifact(folder: Folder, arrays: Mapping[str, np.ndarray], cell: CellRecord, kind: str) -> tuple[str, Folder]:
    """Write arrays into `folder/ab/abcd....safetensors`.

    Returns:
        The sha256 of the file, and its path.
    """
    # safetensors copies the buffer as it lies, so the order must be C; and it writes several metadata in any order,
    # but what it writes must depend on the content alone, so there is one.
    laid_out = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = save(laid_out, metadata={"bnnbench": json.dumps({"kind": kind, **asdict(cell)})})
    digest = hashlib.sha256(data).hexdigest()
    return digest, write_content(folder, data, digest)


def write_content(folder: Folder, data: bytes, digest: str) -> Folder:
    """Write the bytes of an artifact to its place in a folder, unless they stand there; returns the place."""
    file = place_of(folder, digest)
    if checksum(content(file)) != digest:
        put(file, data)
    return file


def place_of(folder: Folder, digest: str) -> Folder:
    """Where an artifact lies."""
    return folder / digest[:2] / f"{digest}.safetensors"


def checksum(data: bytes | None) -> str:
    """Of the bytes of a file; empty for one that is not there."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def read_artifact(file: Folder, digest: str, cell: str) -> dict[str, np.ndarray]:
    """Read it back.

    Raises:
        UserError: the file is missing, or is not what was written.
    """
    remedy = f"train cell {cell[:12]} again with --force, or copy the artifacts folder to where its database is"
    data = content(file)
    if data is None:
        raise UserError(f"The artifact {file} is missing, for artifacts are not kept in git; {remedy}.")
    if checksum(data) != digest:
        raise UserError(f"The artifact {file} is damaged (its checksum differs); {remedy}.")
    return load(data)


_NAME = "artifacts"


class ArtifactRoot(Database):
    """Folders of artifacts.

    Args:
        artifacts: the folder that they are to lie in, or its URL; None for the one that is stored, or the usual one.

    Attributes:
        root: the folder of all artifacts.
        base: the folder that stored paths are relative to.

    Raises:
        UserError: they lie in another folder already, or it cannot be used.
    """

    root: Folder
    base: Folder

    def __init__(
        self,
        db: str | os.PathLike[str],
        read_only: bool = False,
        timeout: float = 30.0,
        artifacts: str | os.PathLike[str] | None = None,
        glance: bool = False,
    ) -> None:
        asked = None if artifacts is None else folder_of(artifacts, "--artifacts")
        if asked is not None and not isinstance(asked, Path) and not read_only:
            check_folder(asked)  # before a database is made
        super().__init__(db, read_only, timeout, glance=glance)
        try:
            self._settle(asked)
        except BaseException:
            self.close()
            raise

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints of unfinished trainings: among the artifacts, if these lie on a disk."""
        if isinstance(self.root, Path):
            return self.root / "checkpoints"
        own = hashlib.sha256(str(self.address).encode()).hexdigest()[:16]  # two databases may train the same cells
        return platformdirs.user_cache_path("bnnbench") / "checkpoints" / own

    def refuse_output(self, out: Path) -> None:
        """Refuse a place to write to that holds, or is part of, this database.

        Raises:
            UserError: it is a file of the database by whatever name, a folder around it, the folder of its artifacts
                or within, or no file at all.
        """
        if is_special(out):
            raise UserError(f"--out {out} is a pipe, a socket or a device; name a file.")
        if any(same(out, path) or within(out, path) for path in self.address.files):
            raise UserError(f"--out {out} would replace the database {self.address}; name another file.")
        if any(within(path, out) for path in (*self.address.files, self.root)):
            raise UserError(f"--out {out} holds the database {self.address} or its artifacts; name another place.")
        if within(out, self.root):
            raise UserError(f"--out {out} lies among the artifacts of {self.address}; name another place.")

    def _settle(self, asked: Folder | None) -> None:
        stored = self._stored()
        if stored is None and not self.read_only and (asked is not None or self.address.path is None):
            stored = self._store(asked or Path.cwd() / f"{self.address.name}.artifacts")
        self.base = self._folder if stored is None else stored
        self.root = self.base / f"{self.address.name}.artifacts" if stored is None else stored
        if asked is not None and not same(asked, self.root):
            raise UserError(
                f"The artifacts of {self.address} lie in {self.root}, not in {asked}; leave --artifacts out "
                "(to move them, move the folder and put a link in its place)."
            )
        if not self.read_only:
            check_folder(self.root)
            mark(self.root)

    @property
    def _folder(self) -> Path:
        return self.address.path.parent if self.address.path else Path()

    @retried
    def _stored(self) -> Folder | None:
        with self.reading() as connection:
            return self._read(connection)

    def _read(self, database: Connection | orm.Session) -> Folder | None:
        value = database.execute(select(Setting.value).where(Setting.name == _NAME)).scalar()
        if value is None:
            return None
        return folder_of(value, "The stored folder of artifacts") if "://" in value else self._folder / value

    @retried
    def _store(self, asked: Folder) -> Folder | None:
        """Fix the folder; returns what is fixed now, which another process may have done in the meantime."""
        check_folder(asked)
        usual = self._folder / f"{self.address.name}.artifacts"
        with self.writing() as session:
            taken = self.address.path and session.scalar(select(Artifact.id).limit(1)) is not None
            if (stored := self._read(session)) is not None or taken or (self.address.path and same(asked, usual)):
                return stored
            session.add(Setting(name=_NAME, value=self._noted(asked)))
        return asked

    def _noted(self, asked: Folder) -> str:
        """A folder as it is stored: relative to an SQLite file that it lies beside, for the two may move."""
        if not isinstance(asked, Path):
            return str(asked)
        folder, place = self._folder.resolve(), asked.resolve()
        beside = self.address.path is not None and place.is_relative_to(folder)
        return (place.relative_to(folder) if beside else asked).as_posix()
