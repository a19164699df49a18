"""One cell and its files, by a prefix of its fingerprint."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Row, select

from bnnbench import names
from bnnbench.errors import UserError
from bnnbench.records import Origin
from bnnbench.store.artifacts import ArtifactRoot, read_artifact
from bnnbench.store.faults import retried
from bnnbench.store.folders import sizes
from bnnbench.store.rows import chunks
from bnnbench.store.tables import IS_CURRENT, Artifact, Attempt, Cell, Method, Task

_SHOWN = 12  # digits of a fingerprint in messages
_REMEDIES = {  # of a lost or missing artifact
    Origin.TRAINED.value: "train it again",
    Origin.EXTERNAL.value: "its predictions were made elsewhere, and only they are ever stored",
}


class Lookup(ArtifactRoot):
    """One cell at a time."""

    @retried
    def find(self, prefix: str) -> dict[str, Any]:
        """The cell whose fingerprint has this prefix: parts of its identity, and its current attempt.

        `status` and all else of the attempt are None if there is none yet; `artifacts` lists the kinds stored.

        Raises:
            UserError: no cell has this prefix, or several have.
        """
        attempt = [c.label(c.key) for c in Attempt.__table__.columns if c.key not in ("id", "cell_id", "session_id")]
        query = (
            select(
                Task.name.label("task"), Method.name.label("method"), Cell.label.label("config"),
                Cell.rule, Cell.index.label("number"), Cell.seed, Cell.budget, Task.version.label("task_version"),
                Method.version.label("method_version"), Cell.fingerprint, Cell.config.label("configuration"),
                Cell.origin, Cell.purpose,
                Attempt.session_id.label("session"), *attempt, Attempt.id.label("attempt"),
            )
            .select_from(Cell).join(Task).join(Method).outerjoin(Attempt, (Attempt.cell_id == Cell.id) & IS_CURRENT)
            .order_by(Cell.fingerprint)
        )  # fmt: skip
        with self.reading() as connection:
            begins = Cell.fingerprint.startswith(prefix.lower(), autoescape=True)
            found = connection.execute(query.where(begins).limit(6)).all()
            if len(found) != 1:
                everything = connection.scalars(select(Cell.fingerprint).order_by(Cell.fingerprint)).all()
                raise UserError(_unclear(prefix, found, everything))
            info = dict(found[0]._mapping)
            kinds = select(Artifact.kind).where(Artifact.attempt_id == info.pop("attempt")).order_by(Artifact.kind)
            info["artifacts"] = list(connection.scalars(kinds))
        info["split"] = names.split(info.pop("rule"), info.pop("number"))
        return info

    def artifact(self, fingerprint: str, kind: str) -> dict[str, np.ndarray]:
        """Arrays stored with the current attempt of a cell, named by (the beginning of) its fingerprint.

        Raises:
            UserError: there is none of this kind, or its file is missing or damaged.
        """
        info = self.find(fingerprint)
        row = self._artifact(info["fingerprint"], kind)
        if row is None:
            kinds = f"only {', '.join(info['artifacts'])}" if info["artifacts"] else "nothing"
            remedy = _REMEDIES[info["origin"]]
            raise UserError(f"No {kind} is stored for cell {info['fingerprint'][:_SHOWN]}, {kinds}; {remedy}.")
        return read_artifact(self.base / row.path, row.sha256, info["fingerprint"])

    @retried
    def _artifact(self, fingerprint: str, kind: str) -> Row | None:
        """Path and checksum of an artifact of the current attempt of a cell."""
        query = select(Artifact.path, Artifact.sha256).join(Attempt).join(Cell).where(IS_CURRENT)
        with self.reading() as connection:
            return connection.execute(query.where(Cell.fingerprint == fingerprint, Artifact.kind == kind)).one_or_none()

    @retried
    def stored(self, fingerprints: Iterable[str], kind: str) -> set[str]:
        """Those with whose current attempt an artifact of this kind was stored, and whose file is there."""
        query = select(Cell.fingerprint, Artifact.path).join(Attempt, Attempt.cell_id == Cell.id)
        query = query.join(Artifact).where(IS_CURRENT, Artifact.kind == kind)
        with self.reading() as connection:
            rows = [
                row
                for chunk in chunks(fingerprints)
                for row in connection.execute(query.where(Cell.fingerprint.in_(chunk)))
            ]
        there = sizes(self.base, (row.path for row in rows))
        return {row.fingerprint for row in rows if row.path in there}


def _unclear(prefix: str, found: Sequence[Row], fingerprints: Sequence[str]) -> str:
    if found:
        shown = "; ".join(
            f"{r.fingerprint[:_SHOWN]} {r.method} {r.task} {names.split(r.rule, r.number)}" for r in found[:5]
        )
        more = " ..." if len(found) > 5 else ""
        return f"Several cells begin with {prefix!r}: {shown}{more}. Give more digits."
    if not fingerprints:
        return f"There is no cell {prefix!r}; the database holds none yet."
    place = bisect(fingerprints, prefix.lower())  # in their order, neighbours share the most digits
    near = [fingerprint[:_SHOWN] for fingerprint in fingerprints[max(0, place - 1) : place + 1]]
    return f"There is no cell {prefix!r}; the nearest are {' and '.join(near)}."
