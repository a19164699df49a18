"""Databases into one: all that they hold, in one transaction, with the files of their artifacts.

The merge is rehearsed first, in a transaction that is taken back or, where there is no database to merge into yet, in a
temporary one: so conflicts are known before anything is written, and files are copied while nobody waits for a lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import orm, select
from sqlalchemy.exc import DBAPIError

from bnnbench.errors import UserError
from bnnbench.store import schema
from bnnbench.store.address import Address
from bnnbench.store.artifacts import ArtifactRoot, checksum, place_of, write_content
from bnnbench.store.conflicts import PREFERENCES, Judge, MergeConflict
from bnnbench.store.database import Database
from bnnbench.store.definitions import Ids, join_settings, join_verdicts, joined_definitions, joined_sessions
from bnnbench.store.faults import database_faults, retried, value_faults
from bnnbench.store.folders import below, check_folder, content, folder_of, size_of
from bnnbench.store.joining import File, Joined, joined_cells
from bnnbench.store.rows import insert_rows
from bnnbench.store.source import Source, copy_tables
from bnnbench.store.tables import Artifact, Method, Metric, Session


class _Rehearsed(Exception):
    """Ends a transaction that is to leave no trace."""


@dataclass
class Files:
    """Artifacts of one source.

    Attributes:
        there: checksums of those that lie in the folder written to. copied: how many had to be copied. size: their
            bytes. lost: checksums of those that are missing in the source, or are not what was written.
    """

    there: set[str] = field(default_factory=set)
    copied: int = 0
    size: int = 0
    lost: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Taken:
    """What was taken from one source."""

    name: str
    joined: Joined
    files: Files


@dataclass(frozen=True)
class Merged:
    """What a merge did, or would do.

    Attributes:
        into: the database written to. taken: by source, in their order.
        conflicts: sentences on what contradicted each other, settled by `prefer`.
    """

    into: str
    taken: tuple[Taken, ...]
    conflicts: tuple[str, ...]
    prefer: str | None
    dry_run: bool = False

    @property
    def warnings(self) -> list[str]:
        """What could not be taken along, a sentence a source."""
        return [
            f"{len(one.files.lost)} artifacts of {one.name} are missing or damaged and were left out; their scores and "
            "plot data were taken, and merging again adds the files when they are back."
            for one in self.taken if one.files.lost
        ]  # fmt: skip

    def rows(self) -> list[tuple[str, int, int, int, int, int]]:
        """By source: its name, cells, new cells, attempts that were new, evaluations and scores that known attempts
        lacked, artifacts copied."""
        return [
            (one.name, one.joined.cells, one.joined.new, one.joined.attempts,
             one.joined.evaluations, one.files.copied) for one in self.taken
        ]  # fmt: skip

    def __str__(self) -> str:
        cells, new = (sum(getattr(one.joined, name) for one in self.taken) for name in ("cells", "new"))
        more = sum(one.joined.evaluations for one in self.taken)
        lacked = f", {more:,} evaluations that known cells lacked" * bool(more)
        size = sum(one.files.size for one in self.taken) / 1e6
        copied = f", {sum(one.files.copied for one in self.taken):,} artifacts ({size:.1f} MB)"
        settled = f" {len(self.conflicts):,} conflicts were settled by --prefer {self.prefer}." * bool(self.conflicts)
        verb = "Would merge" if self.dry_run else "Merged"
        many = f"{len(self.taken)} database{'s' * (len(self.taken) > 1)}"
        return f"{verb} {many} into {self.into}: {cells:,} cells, {new:,} of them new{lacked}{copied}.{settled}"


def merge(
    sources: Sequence[Source],
    into: str | os.PathLike[str],
    *,
    prefer: str | None = None,
    artifacts: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
) -> Merged:
    """Write everything that the sources hold into one database, new or not.

    Claims of processes, and where a database keeps its artifacts, are not taken along. What is there already is not
    written again. The same cell with other numbers is a conflict, and then nothing is written; unless `prefer` says
    whose attempt is the current one: that of the `first` database that has the cell (the one written to counts before
    the sources), of the `last`, or the `newest`. The other attempt stays as history.

    Args:
        into: the database. artifacts: the folder of its artifacts, if it is new.

    Raises:
        MergeConflict: numbers contradict each other.
        UserError: a database that cannot be read or written, or is its own source.
    """
    if prefer not in (None, *PREFERENCES):
        raise UserError(f"--prefer is {' or '.join(PREFERENCES)}, not {prefer!r}.")
    place = Address.parse(into)
    for one in sources:
        _refuse_itself(one, place)
    if artifacts is not None:
        check_folder(folder_of(artifacts, "--artifacts"))  # before a database is made
    files = [Files() for _ in sources]
    with _stage(into, artifacts) as stage:
        joined, judge = stage.rehearse(sources, prefer)
    if not dry_run:
        with _Target(into, artifacts=artifacts) as target:
            target.name = str(place)
            for one, plan, own in zip(sources, joined, files, strict=True):
                target.copy(one, plan.files, own)
            joined, judge = target.take(sources, prefer, files)
    taken = tuple(Taken(one.name, plan, own) for one, plan, own in zip(sources, joined, files, strict=True))
    return Merged(str(place), taken, tuple(judge.conflicts), prefer, dry_run)


@contextmanager
def _stage(into: str | os.PathLike[str], artifacts: str | os.PathLike[str] | None) -> Iterator[_Target]:
    """Where to rehearse: the database itself; a temporary one where there is none, or opening it would change it."""
    with TemporaryDirectory(prefix="bnnbench-") as folder:
        place, root = Path(folder) / "stage.db", None
        if Address.parse(into).exists():
            with Database(into, read_only=True, as_found=True) as found:
                if found.revision == schema.HEAD:
                    place, root = into, artifacts
                elif found.revision is not None:
                    copy_tables(found, place)
        with _Target(place, artifacts=root) as target:
            target.name = str(Address.parse(into))
            yield target


class _Target(ArtifactRoot):
    """A database that others are merged into; messages call it by its `name`."""

    name: str

    def rehearse(self, sources: Sequence[Source], prefer: str | None) -> tuple[list[Joined], Judge]:
        """What a merge would find, without a trace of it.

        Raises:
            MergeConflict: contradictions that nothing settles.
        """
        found: list[tuple[list[Joined], Judge]] = []
        with suppress(_Rehearsed):
            self._rehearse(sources, prefer, found)
        return found[-1]

    @retried
    def _rehearse(self, sources: Sequence[Source], prefer: str | None, found: list) -> None:
        with self.writing() as session:
            found.append(self._join(session, sources, prefer))
            raise _Rehearsed

    @retried
    def take(self, sources: Sequence[Source], prefer: str | None, files: Sequence[Files]) -> tuple[list[Joined], Judge]:
        """Merge all of it, or nothing; artifacts are named whose files lie in the folder."""
        with self.writing() as session:
            joined, judge = self._join(session, sources, prefer)
            moved = {old: new for one in joined for old, new in one.moved.items()}
            rows: dict[tuple[int, str], dict[str, Any]] = {}  # two sources may have the artifact of one attempt
            for source, one, own in zip(sources, joined, files, strict=True):
                self.copy(source, one.files, own)  # what was not there when it was rehearsed
                for file in one.files:
                    if file.sha256 in own.there:
                        attempt, path = _last(file.attempt, moved), place_of(self.root, file.sha256)
                        row = {"attempt_id": attempt, "kind": file.kind, "sha256": file.sha256}
                        rows.setdefault((attempt, file.kind), {**row, "path": below(path, self.base)})
            insert_rows(session, Artifact, list(rows.values()))
        return joined, judge

    def copy(self, source: Source, files: Sequence[File], own: Files) -> None:
        """Copy the files of artifacts that do not lie here yet, one after the other."""
        for file in files:
            if file.sha256 in own.there or file.sha256 in own.lost:
                continue
            place = source.artifact(file.path)
            data = None if place is None else content(place)
            if data is None or checksum(data) != file.sha256:
                own.lost.add(file.sha256)
                continue
            if size_of(place_of(self.root, file.sha256)) == 0:
                own.copied, own.size = own.copied + 1, own.size + len(data)
            write_content(self.root, data, file.sha256)
            own.there.add(file.sha256)

    def _join(self, session: orm.Session, sources: Sequence[Source], prefer: str | None) -> tuple[list[Joined], Judge]:
        judge, joined = Judge(prefer, self.name), []
        for source in sources:
            judge.there = source.name
            reading = source.store.reading()
            with value_faults(source.name), reading as reader, _faults_of_writing(self.address):
                ids = joined_definitions(reader, session, judge.told)
                ids[Session] = joined_sessions(reader, session)
                join_settings(reader, session)
                join_verdicts(reader, session, ids[Method], ids[Session])
                judge.metrics = {row.id: row.name for row in session.execute(select(Metric.id, Metric.name))}
                joined.append(joined_cells(reader, session, ids, judge))
        if judge.conflicts and prefer is None:
            raise MergeConflict(judge.conflicts)
        return joined, judge


@contextmanager
def _faults_of_writing(place: Address) -> Iterator[None]:
    """Faults of statements that write are those of the database written to, not of the one that is read around them."""
    try:
        yield
    except DBAPIError as error:
        if (error.statement or "SELECT").lstrip().upper().startswith("SELECT"):
            raise
        with database_faults(place):
            raise


def _last(attempt: int, moved: Ids) -> int:
    """The present id of an attempt that may have been moved up by further sources."""
    while attempt in moved:
        attempt = moved[attempt]
    return attempt


def _refuse_itself(source: Source, into: Address) -> None:
    theirs = Address.parse(source.place)
    same = theirs.url == into.url
    if theirs.path is not None and into.path is not None:
        same = theirs.path.resolve() == into.path.resolve() or (into.path.exists() and theirs.path.samefile(into.path))
    if same:
        raise UserError(f"{into} cannot be merged into itself; name it as --into alone.")
