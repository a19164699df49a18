"""Who works at which cell: several `bnnbench run` may share one database."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import batched
from pathlib import Path

from sqlalchemy import orm, select, update

from bnnbench.store.database import Database
from bnnbench.store.records import CellRecord, Status
from bnnbench.store.tables import IS_CURRENT, Attempt, Cell, Method, Task

LAPSE_S = 60.0  # a claim without a sign of life for so long is void
_CHUNK = 500  # values in one IN: some databases take no more than 999
_FINISHED = [status.value for status in Status if status.finished]


class Claims(Database):
    """Which cells are open, and the claims on them."""

    def missing(self, cells: Iterable[CellRecord], force: bool = False) -> list[CellRecord]:
        """The cells that are not finished, in the given order without repetition; all of them with `force`."""
        by_print = {cell.fingerprint: cell for cell in cells}
        with self.reading() as connection:
            done = set() if force else _finished(connection, by_print)
        return [cell for fingerprint, cell in by_print.items() if fingerprint not in done]

    def claim(self, cells: Iterable[CellRecord], owner: str, force: bool = False) -> bool:
        """Reserve all of the cells, or none.

        Args:
            cells: usually those of a pack; their methods and tasks are registered.
            owner: from `owner_id()`.
            force: claim finished cells too.

        Returns:
            Whether they are now the owner's; false if one is another's who lives, or was finished meanwhile.
        """
        by_print = {cell.fingerprint: cell for cell in cells}
        with self.writing() as session:
            rows = _rows(session, by_print)
            if any(row.owner not in (None, owner) and _alive(row) for row in rows):
                return False
            if not force and _finished(session, by_print):
                return False
            for row in [*rows, *_insert(session, by_print, rows)]:
                row.owner, row.heartbeat = owner, time.time()
            return True

    def heartbeat(self, owner: str) -> None:
        """A sign of life for all that the owner has claimed; due well within every 60 s."""
        with self.writing() as session:
            session.execute(update(Cell).where(Cell.owner == owner).values(heartbeat=time.time()))

    def release(self, owner: str) -> None:
        """Give back all that the owner has claimed."""
        with self.writing() as session:
            session.execute(update(Cell).where(Cell.owner == owner).values(owner=None, heartbeat=None))


def owner_id() -> str:
    """This process, `host:pid:start time`; the start time tells it from a later process of the same pid."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def cell_rows(session: orm.Session, cells: Iterable[CellRecord]) -> dict[str, Cell]:
    """Fingerprint -> row of every cell; new ones are inserted.

    Raises:
        ValueError: the method or the task of a cell was not registered.
    """
    by_print = {cell.fingerprint: cell for cell in cells}
    rows = _rows(session, by_print)
    return {row.fingerprint: row for row in [*rows, *_insert(session, by_print, rows)]}


def _rows(session: orm.Session, fingerprints: Iterable[str]) -> list[Cell]:
    chunks = batched(fingerprints, _CHUNK)
    return [row for chunk in chunks for row in session.scalars(select(Cell).where(Cell.fingerprint.in_(chunk)))]


def _insert(session: orm.Session, by_print: dict[str, CellRecord], known: list[Cell]) -> list[Cell]:
    new = by_print.keys() - {row.fingerprint for row in known}
    if not new:
        return []
    methods = {(row.name, row.version): row.id for row in session.scalars(select(Method))}
    tasks = {(row.name, row.version): row.id for row in session.scalars(select(Task))}
    rows = []
    for fingerprint, cell in by_print.items():
        if fingerprint in new:
            method, task = methods.get((cell.method, cell.method_version)), tasks.get((cell.task, cell.task_version))
            if method is None or task is None:
                raise ValueError(f"Register {cell.method} {cell.method_version} and {cell.task} {cell.task_version}.")
            same = {name: getattr(cell, name) for name in ("config", "label", "rule", "index", "seed", "budget")}
            rows.append(Cell(fingerprint=fingerprint, method_id=method, task_id=task, **same))
    session.add_all(rows)
    return rows
