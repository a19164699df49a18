"""Files of named arrays, addressed by the checksum of their content, and the folder in which they lie.

An SQLite database has them in `NAME.artifacts` beside it, and the two may move together. A server has no such place, so
the first writer's is stored with the database; for both, `--artifacts` names another one, once and for all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save
from sqlalchemy import Connection, orm, select

from bnnbench.arguments import is_special, path_of
from bnnbench.errors import UserError
from bnnbench.files import file_faults, write_file
from bnnbench.records import CellRecord
from bnnbench.store.address import may
from bnnbench.store.database import Database
from bnnbench.store.faults import retried
from bnnbench.store.tables import Artifact, Setting


def write_artifact(folder: Path, arrays: Mapping[str, np.ndarray], cell: CellRecord, kind: str) -> tuple[str, Path]:
    """Write arrays into `folder/ab/abcd....safetensors`.

    Returns:
        The sha256 of the file, and its path.
    """
    # safetensors copies the buffer as it lies, so the order must be C; and it writes several metadata in any order,
    # but what it writes must depend on the content alone, so there is one.
    content = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = save(content, metadata={"bnnbench": json.dumps({"kind": kind, **asdict(cell)})})
    digest = hashlib.sha256(data).hexdigest()
    return digest, write_content(folder, data, digest)


def write_content(folder: Path, data: bytes, digest: str) -> Path:
    """Write the bytes of an artifact to its place in a folder, unless they stand there; returns the place."""
    path = place_of(folder, digest)
    if not stands(path, digest):
        write_file(path, data)
    return path


def place_of(folder: Path, digest: str) -> Path:
    """Where an artifact lies."""
    return folder / digest[:2] / f"{digest}.safetensors"


def stands(path: Path, digest: str) -> bool:
    """Whether a file is there and holds what has this checksum."""
    with file_faults("read", path):
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def read_artifact(path: Path, digest: str, cell: str) -> dict[str, np.ndarray]:
    """Read it back.

    Raises:
        UserError: the file is missing, or is not what was written.
    """
    remedy = f"train cell {cell[:12]} again with --force, or copy the artifacts folder to where its database is"
    with file_faults("read", path):
        if not path.is_file():
            raise UserError(f"The artifact {path} is missing, for artifacts are not kept in git; {remedy}.")
        data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"The artifact {path} is damaged (its checksum differs); {remedy}.")
    return load(data)


_NAME = "artifacts"


class ArtifactRoot(Database):
    """Folders of artifacts.

    Args:
        artifacts: the folder that they are to lie in; None for the one that is stored, or the usual one.

    Attributes:
        root: the folder of all artifacts.
        base: the folder that stored paths are relative to.

    Raises:
        UserError: they lie in another folder already, or it cannot be used.
    """

    root: Path
    base: Path

    def __init__(
        self,
        db: str | os.PathLike[str],
        read_only: bool = False,
        timeout: float = 30.0,
        artifacts: str | os.PathLike[str] | None = None,
        glance: bool = False,
    ) -> None:
        super().__init__(db, read_only, timeout, glance=glance)
        try:
            self._settle(None if artifacts is None else path_of(artifacts, "--artifacts").absolute())
        except BaseException:
            self.close()
            raise

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints of unfinished trainings, among the artifacts."""
        return self.root / "checkpoints"

    def refuse_output(self, out: Path) -> None:
        """Refuse a place to write to that holds, or is part of, this database.

        Raises:
            UserError: it is a file of the database by whatever name, a folder around it, the folder of its artifacts
                or within, or no file at all.
        """
        if is_special(out):
            raise UserError(f"--out {out} is a pipe, a socket or a device; name a file.")
        own, place = [*self.address.files, self.root], out.resolve()
        if any(_same(out, path) or place.is_relative_to(path.resolve()) for path in own[:-1]):
            raise UserError(f"--out {out} would replace the database {self.address}; name another file.")
        if any(path.resolve().is_relative_to(place) for path in own):
            raise UserError(f"--out {out} holds the database {self.address} or its artifacts; name another place.")
        if place.is_relative_to(self.root.resolve()):
            raise UserError(f"--out {out} lies among the artifacts of {self.address}; name another place.")

    def _settle(self, asked: Path | None) -> None:
        stored = self._stored()
        if stored is None and not self.read_only and (asked is not None or self.address.path is None):
            stored = self._store(asked or Path.cwd() / f"{self.address.name}.artifacts")
        self.base = self._folder if stored is None else stored
        self.root = self.base / f"{self.address.name}.artifacts" if stored is None else stored
        if asked is not None and not _same(asked, self.root):
            raise UserError(
                f"The artifacts of {self.address} lie in {self.root}, not in {asked}; leave --artifacts out "
                "(to move them, move the folder and put a link in its place)."
            )
        if not self.read_only:
            check_folder(self.root)

    @property
    def _folder(self) -> Path:
        return self.address.path.parent if self.address.path else Path()

    @retried
    def _stored(self) -> Path | None:
        with self.reading() as connection:
            return self._read(connection)

    def _read(self, database: Connection | orm.Session) -> Path | None:
        value = database.execute(select(Setting.value).where(Setting.name == _NAME)).scalar()
        return None if value is None else self._folder / value

    @retried
    def _store(self, asked: Path) -> Path | None:
        """Fix the folder; returns what is fixed now, which another process may have done in the meantime."""
        check_folder(asked)
        usual = self._folder / f"{self.address.name}.artifacts"
        with self.writing() as session:
            taken = self.address.path and session.scalar(select(Artifact.id).limit(1)) is not None
            if (stored := self._read(session)) is not None or taken or (self.address.path and _same(asked, usual)):
                return stored
            folder = self._folder.resolve()
            beside = self.address.path is not None and asked.resolve().is_relative_to(folder)
            value = asked.resolve().relative_to(folder) if beside else asked
            session.add(Setting(name=_NAME, value=value.as_posix()))
        return asked


def check_folder(folder: Path) -> None:
    """Refuse an unusable folder before anything is computed: a posterior that cannot be written would be lost."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}, where artifacts go, is not a folder; remove it, or name another with --artifacts.")
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (nearest.is_dir() and may(nearest, os.W_OK)):
        raise UserError(f"Artifacts cannot be written to {folder}, for {nearest} is read-only; change its permissions.")


def _same(one: Path, other: Path) -> bool:
    if one.resolve() == other.resolve():
        return True
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return False
