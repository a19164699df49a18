"""Rows of cells, looked up and inserted by fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import Connection, orm, select

from bnnbench.records import CellRecord, Status
from bnnbench.store.tables import IS_CURRENT, Attempt, Cell, Method, Task

_FINISHED = [status.value for status in Status if status.finished]
_CHUNK = 500  # values in one IN; some databases take no more than 999


def by_fingerprint(cells: Iterable[CellRecord]) -> dict[str, CellRecord]:
    """Fingerprint -> cell, in the given order without repetition."""
    return {cell.fingerprint: cell for cell in cells}


def chunks(fingerprints: Iterable[str]) -> Iterator[list[str]]:
    """Pieces small enough for an IN."""
    everything = list(fingerprints)
    return (everything[i : i + _CHUNK] for i in range(0, len(everything), _CHUNK))


def finished(database: Connection | orm.Session, fingerprints: Iterable[str]) -> set[str]:
    """Those whose current attempt is finished."""
    found = select(Cell.fingerprint).join(Attempt).where(IS_CURRENT, Attempt.status.in_(_FINISHED))
    return {
        row.fingerprint
        for chunk in chunks(fingerprints)
        for row in database.execute(found.where(Cell.fingerprint.in_(chunk)))
    }


def stored(session: orm.Session, fingerprints: Iterable[str]) -> dict[str, Cell]:
    """Fingerprint -> row of those that are in the database."""
    return {
        row.fingerprint: row
        for chunk in chunks(fingerprints)
        for row in session.scalars(select(Cell).where(Cell.fingerprint.in_(chunk)))
    }


def stored_or_new(session: orm.Session, cells: Mapping[str, CellRecord]) -> dict[str, Cell]:
    """Fingerprint -> row of every cell; those that are new are inserted.

    Raises:
        ValueError: the method or the task of a cell was not registered.
    """
    rows = stored(session, cells)
    if len(rows) < len(cells):
        methods = {(row.name, row.version): row.id for row in session.scalars(select(Method))}
        tasks = {(row.name, row.version): row.id for row in session.scalars(select(Task))}
        for fingerprint, cell in cells.items():
            if fingerprint in rows:
                continue
            method, task = methods.get((cell.method, cell.method_version)), tasks.get((cell.task, cell.task_version))
            if method is None or task is None:
                raise ValueError(
                    f"{cell.method} version {cell.method_version} or {cell.task} version {cell.task_version} "
                    "is not registered; call ResultStore.register first."
                )
            same = {name: getattr(cell, name) for name in ("config", "label", "rule", "index", "seed", "budget")}
            rows[fingerprint] = Cell(fingerprint=fingerprint, method_id=method, task_id=task, **same)
            session.add(rows[fingerprint])
    return rows
