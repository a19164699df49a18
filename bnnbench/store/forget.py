"""Forgetting cells that newer versions supersede, and arrays and scores that are needed no more.

The database forgets in one transaction, in which it notes the files that are to follow; the note goes when they are
gone. Whoever is killed in between leaves it, and the next call removes the rest.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from sqlalchemy import ColumnElement, Connection, delete, func, orm, select

from bnnbench import names
from bnnbench.errors import UserError
from bnnbench.store import server
from bnnbench.store.address import Address
from bnnbench.store.claims import described, holds
from bnnbench.store.faults import retried
from bnnbench.store.folders import remove, size_of, sizes, within
from bnnbench.store.lookup import Lookup
from bnnbench.store.reading import superseded
from bnnbench.store.rows import chunks
from bnnbench.store.tables import Artifact, Attempt, Cell, Evaluation, Method, Metric, Score, Setting, Task

_NOTE = "files to be removed"  # the setting, a JSON list of paths
_COLUMNS = ["task", "method", "config", "superseded by"]


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten, or would be.

    Attributes:
        cells: superseded ones, counted by task, method, configuration and what supersedes them.
        artifacts: arrays of cells, kept or not, that are named no more.
        scores: secondary ones of training and validation rows, of cells kept or not.
        files: paths of those that were there, below the folder that artifacts are stored relative to.
        size: bytes of these files.
        before, after: bytes of an SQLite file; 0 of a server.
    """

    place: str
    cells: pd.DataFrame
    artifacts: int
    scores: int
    files: Sequence[str]
    size: int
    before: int
    after: int
    dry_run: bool = False

    def __str__(self) -> str:
        count = sum(self.cells["cells"])
        files = f" ({len(self.files):,} files, {_megabytes(self.size)})"
        what = [f"{count:,} superseded cells"] * bool(count)
        what += [f"{self.artifacts:,} artifacts{files}"] * bool(self.artifacts or self.files)
        smaller = f"takes {_megabytes(self.after)} now instead of {_megabytes(self.before)}"
        what += [f"{self.scores:,} secondary scores"] * bool(self.scores)
        verb = "Would forget" if self.dry_run else "Forgot"
        told = f"{verb} {' and '.join(what)} of" if what else "There is nothing to forget in"
        return f"{told} {self.place}" + f", which {smaller}" * (self.after < self.before) + "."


def forget(
    db: str | os.PathLike[str],
    *,
    superseded: bool = False,
    artifacts: bool = False,
    secondary: bool = False,
    dry_run: bool = False,
) -> Forgotten:
    """Drop what is asked for from a database, with its files, and shrink an SQLite file.

    Args:
        superseded: cells of versions of their task or method that are not the ones registered last, and those of
            defaults that have changed since, with all that was stored of them: no table, figure or export shows them.
        artifacts: posteriors and predictive samples of all cells. Scores and plot data stay.
        secondary: scores of training and validation rows in metrics that are no headline: no table shows them.
        dry_run: only say what would go.

    Raises:
        UserError: nothing is asked for; a living process holds claims on what is to go; the database or a file cannot
            be changed. Then no cell is forgotten, or all are, and a further call removes the files that are left.
    """
    asked = _Asked(superseded, artifacts, secondary)
    if not any(asked):
        raise UserError("Say what is to be forgotten: --superseded, --artifacts, --secondary or several of them.")
    before = _size(db)  # an older database is upgraded when it is opened
    with _Forgetting(db, read_only=True) as store:  # it must exist
        if dry_run:
            with store.reading() as connection:
                plan, noted = _plan(connection, asked), _noted(connection)
            named = filter(store.is_ours, dict.fromkeys([*noted, *plan.paths]))
            files = sizes(store.base, named)
            return plan.told(store.address, [*files], sum(files.values()), before, before, dry_run)
    with _Forgetting(db) as store:
        plan = store.drop(asked)
        files, size = store.remove_files()
        store.compact()
    return plan.told(store.address, files, size, before, _size(db))


class _Asked(NamedTuple):
    """What is to be forgotten."""

    superseded: bool
    artifacts: bool
    secondary: bool


@dataclass(frozen=True)
class _Plan:
    """What is to go: superseded cells, counted and by their ids, paths of artifacts, one for each, and scores."""

    cells: pd.DataFrame
    ids: Sequence[int]
    paths: Sequence[str]
    scores: int

    def told(
        self, place: Address, files: Sequence[str], size: int, before: int, after: int, dry_run: bool = False
    ) -> Forgotten:
        return Forgotten(str(place), self.cells, len(self.paths), self.scores, files, size, before, after, dry_run)


class _Forgetting(Lookup):
    """A database that can forget."""

    @retried
    def drop(self, asked: _Asked) -> _Plan:
        """Forget in the database, and note the files that are to follow."""
        with self.writing() as session:
            plan = _plan(session, asked)
            _refuse_claimed(session, None if asked.artifacts else set(plan.ids))
            for chunk in chunks(plan.ids):
                session.execute(delete(Cell).where(Cell.id.in_(chunk)))
            if asked.artifacts:
                session.execute(delete(Artifact))
            if asked.secondary:
                session.execute(delete(Score).where(_secondary()))
            _note(session, [*_noted(session), *_unnamed(session, plan.paths)])
        return plan

    def remove_files(self) -> tuple[list[str], int]:
        """Remove the files that are noted, then the note; returns those that were there, and their bytes."""
        with self.reading() as connection:
            noted = _noted(connection)
        there = sizes(self.base, filter(self.is_ours, noted))
        remove(self.base, [*there])
        if noted:
            self._forget_note(noted)
        return [*there], sum(there.values())

    @retried
    def _forget_note(self, done: Sequence[str]) -> None:
        with self.writing() as session:
            _note(session, sorted(set(_noted(session)) - set(done)))

    def is_ours(self, path: str) -> bool:
        """Whether it lies among the artifacts: something else may have changed the database."""
        return within(self.base / path, self.root)


def _plan(database: Connection | orm.Session, asked: _Asked) -> _Plan:
    cells, ids = _superseded(database) if asked.superseded else (_counted([]), [])
    paths = _paths(database, None if asked.artifacts else ids)
    count = select(func.count()).select_from(Score).where(_secondary())
    return _Plan(cells, ids, paths, database.execute(count).scalar_one() if asked.secondary else 0)


def _paths(database: Connection | orm.Session, ids: Sequence[int] | None) -> Sequence[str]:
    """Of the artifacts of these cells; None stands for all."""
    query = select(Artifact.path).join(Attempt)
    if ids is None:
        return database.execute(query).scalars().all()
    return [path for chunk in chunks(ids)
            for path in database.execute(query.where(Attempt.cell_id.in_(chunk))).scalars()]  # fmt: skip


def _secondary() -> ColumnElement[bool]:
    """Of training and validation rows, in metrics that are no headline."""
    rows = select(Evaluation.id).where(Evaluation.name.in_([names.TRAIN, names.VALIDATION]))
    return Score.evaluation_id.in_(rows) & Score.metric_id.in_(select(Metric.id).where(~Metric.headline))


def _superseded(database: Connection | orm.Session) -> tuple[pd.DataFrame, list[int]]:
    query = select(Cell.id, Task.name, Method.name, Cell.label, Task.current, Method.current)
    rows = database.execute(query.select_from(Cell).join(Task).join(Method).where(superseded())).all()
    tasks, methods = (
        {row.name: row.version for row in database.execute(select(table.name, table.version).where(table.current))}
        for table in (Task, Method)
    )
    lines = []
    for _, task, method, label, task_stands, method_stands in rows:
        newer = [f"{task} {tasks.get(task, '').partition('+')[0]}"] * (not task_stands)  # without the data's checksum
        newer += [f"{method} {methods.get(method, '')}"] * (not method_stands)
        lines.append((task, method, label, ", ".join(newer) or "another default"))
    return _counted(lines), [row.id for row in rows]


def _counted(lines: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    counts = sorted(Counter(lines).items())
    return pd.DataFrame([(*line, count) for line, count in counts], columns=[*_COLUMNS, "cells"])


def _refuse_claimed(session: orm.Session, ids: set[int] | None) -> None:
    """Nobody may be at work on these cells; None stands for all."""
    query, now = select(Cell.id, Cell.owner, Cell.heartbeat).where(Cell.owner.is_not(None)), server.now(session)
    owners = [row.owner for row in session.execute(query)
              if (ids is None or row.id in ids) and holds(row.owner, row.heartbeat, now)]  # fmt: skip
    if owners:
        who = " and ".join(sorted({described(owner) for owner in owners}))
        raise UserError(
            f"{len(owners)} of the cells are being trained by {who}, so nothing was forgotten; wait until that is done."
        )


def _unnamed(session: orm.Session, paths: Iterable[str]) -> list[str]:
    """Those that no artifact has any more."""
    wanted = list(dict.fromkeys(paths))
    kept = {path for chunk in chunks(wanted)
            for path in session.scalars(select(Artifact.path).where(Artifact.path.in_(chunk)))}  # fmt: skip
    return [path for path in wanted if path not in kept]


def _noted(database: Connection | orm.Session) -> list[str]:
    value = database.execute(select(Setting.value).where(Setting.name == _NOTE)).scalar()
    return [] if value is None else json.loads(value)


def _note(session: orm.Session, paths: Sequence[str]) -> None:
    session.execute(delete(Setting).where(Setting.name == _NOTE))
    if paths:
        session.add(Setting(name=_NOTE, value=json.dumps(paths)))


def _size(db: str | os.PathLike[str]) -> int:
    path = Address.parse(db).path
    return 0 if path is None else size_of(path)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
