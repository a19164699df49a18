"""Which cells are open, and who is at them: several `bnnbench run` may share one database."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import update

from bnnbench.records import CellRecord
from bnnbench.store import server
from bnnbench.store.cells import by_fingerprint, finished, stored, stored_or_new
from bnnbench.store.database import Database
from bnnbench.store.owners import lives
from bnnbench.store.retry import retried
from bnnbench.store.tables import Cell

LAPSE_S = 60.0  # a claim without a sign of life for so long is void, unless its owner is seen to live


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
        """A sign of life for all that the owner has claimed; due well within every 60 s."""
        with self.writing() as session:
            session.execute(update(Cell).where(Cell.owner == owner).values(heartbeat=server.now(session)))

    @retried
    def release(self, owner: str) -> None:
        """Give back all that the owner has claimed."""
        with self.writing() as session:
            session.execute(update(Cell).where(Cell.owner == owner).values(owner=None, heartbeat=None, claimed=None))


def holds(owner: str | None, heartbeat: float | None, now: float) -> bool:
    """Whether a claim stands.

    A process of this host is looked at: while it lives, it keeps what it has claimed. Of others only signs of life are
    known; one dated more than a minute from now, in the past or by a clock that was wrong, counts for nothing.
    """
    alive = False if owner is None else lives(owner)
    return abs(now - (heartbeat or 0.0)) < LAPSE_S if alive is None else alive
