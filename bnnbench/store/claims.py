"""Which cells are open, and which process works on them: several `bnnbench run` may share one database."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import psutil
from sqlalchemy import update

from bnnbench.records import CellRecord
from bnnbench.store import server
from bnnbench.store.database import Database
from bnnbench.store.faults import retried
from bnnbench.store.rows import by_fingerprint, chunks, finished, stored, stored_or_new
from bnnbench.store.tables import Cell

LAPSE_S = 60.0  # a claim without a heartbeat for so long is void, unless its owner is seen to be alive


class Claims(Database):
    """Open cells and claims."""

    @retried
    def missing(self, cells: Iterable[CellRecord], force: bool = False) -> list[CellRecord]:
        """The cells that are not finished, in the given order without repetition; all of them with `force`."""
        wanted = by_fingerprint(cells)
        if force:
            return list(wanted.values())
        with self.reading() as connection:
            done = finished(connection, wanted)
        return [cell for fingerprint, cell in wanted.items() if fingerprint not in done]

    @retried
    def claim(self, cells: Iterable[CellRecord], owner: str, force: bool = False) -> bool:
        """Reserve all of the cells, or none.

        Args:
            cells: usually those of a pack; their methods and tasks are registered.
            owner: from `owner_id()`.
            force: claim finished cells too.

        Returns:
            Whether they are now the owner's: not if one is another's who lives, or was finished in the meantime.
        """
        wanted = by_fingerprint(cells)
        with self.writing() as session:
            now = server.now(session)
            known = stored(session, wanted)
            if any(row.owner != owner and holds(row.owner, row.heartbeat, now) for row in known.values()):
                return False
            if not force and finished(session, wanted):
                return False
            for row in stored_or_new(session, wanted).values():
                row.claimed = row.claimed if row.owner == owner else now
                row.owner, row.heartbeat = owner, now
            return True

    def heartbeat(self, owner: str) -> None:
        """Renew all claims of the owner; due well within every 60 s."""
        with self.writing() as session:
            session.execute(update(Cell).where(Cell.owner == owner).values(heartbeat=server.now(session)))

    @retried
    def release(self, owner: str, cells: Iterable[CellRecord] | None = None) -> None:
        """Give back what the owner has claimed, all of it or these cells."""
        given = update(Cell).where(Cell.owner == owner).values(owner=None, heartbeat=None, claimed=None)
        chosen = [None] if cells is None else list(chunks(by_fingerprint(cells)))
        with self.writing() as session:
            for chunk in chosen:
                session.execute(given if chunk is None else given.where(Cell.fingerprint.in_(chunk)))


def holds(owner: str | None, heartbeat: float | None, now: float) -> bool:
    """Whether a claim stands.

    A process of this host keeps its claims as long as it is alive. Of other hosts only heartbeats are known; one dated
    more than a minute from now, in the past or by a clock that was wrong, does not count.
    """
    alive = False if owner is None else lives(owner)
    return abs(now - (heartbeat or 0.0)) < LAPSE_S if alive is None else alive


def owner_id() -> str:
    """This process, `host:boot:pid:start`: a later process may have the same pid, but not the same start."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{_boot()}:{pid}:{_start(pid)}"


def lives(owner: str) -> bool | None:
    """Whether the owner is a living process of this machine; None where that cannot be told from here."""
    _, boot, pid, start = _parts(owner)
    if boot != _boot() or not pid.isdigit():
        return None
    try:
        return _start(int(pid)) == start
    except psutil.AccessDenied:
        return None


def described(owner: str) -> str:
    """The owner in words."""
    host, _, pid, _ = _parts(owner)
    return f"process {pid} on {host}" if pid else owner


def _parts(owner: str) -> list[str]:
    """Host, boot, pid and start; all empty where the name is not of this form."""
    parts = owner.rsplit(":", 3)
    return parts if len(parts) == 4 else ["", "", "", ""]


@cache
def _boot() -> str:
    """This boot of this machine, and the container that counts the pids; the host's name where neither is known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _start(pid: int) -> str | None:
    """A number made of the pid and of when the process began; None if there is no such process, or it is a zombie."""
    try:
        process = psutil.Process(pid)
        # The hash, not `create_time()`: that one is a date, and moves when the clock is set.
        return None if process.status() == psutil.STATUS_ZOMBIE else str(hash(process))
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # the last two: numbers that no process can have
        return None
