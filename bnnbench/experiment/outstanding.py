"""What a database lacks of a plan: cells to train, evaluations to score, definitions to write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.definitions import definitions, is_registered
from bnnbench.experiment.rescore import posteriors_lost
from bnnbench.experiment.runner import unfinished
from bnnbench.experiment.stages import anything_missing
from bnnbench.store.address import Address
from bnnbench.store.store import ResultStore


@dataclass(frozen=True)
class Work:
    """What a database lacks of a plan.

    Attributes:
        missing: cells to be trained. lost: how many cells lack evaluations and have no stored posterior any more.
        writes: whether anything is to be written at all.
    """

    missing: list[Cell]
    lost: int
    writes: bool

    @property
    def warnings(self) -> tuple[str, ...]:
        """What cannot be done, one sentence each."""
        if not self.lost:
            return ()
        return (
            f"{self.lost} finished cells lack evaluations and have no stored posterior to score; "
            "--force trains them again.",
        )


def outstanding(store: ResultStore, cells: Sequence[Cell], force: bool) -> Work:
    """What is left to do for these cells."""
    missing = unfinished(store, cells, force)
    to_train = set(missing)
    trained = [cell for cell in cells if cell not in to_train]
    writes = bool(missing) or not is_registered(store, definitions(cells)) or anything_missing(store, trained)
    return Work(missing, posteriors_lost(store, trained), writes)


def read_outstanding(
    db: str | os.PathLike[str],
    cells: Sequence[Cell],
    force: bool,
    dry_run: bool,
    artifacts: str | os.PathLike[str] | None = None,
) -> Work | None:
    """The same, read without a byte of the file changed; None where there is nothing to read yet.

    What cannot be read is left to the writer, who repairs it or says what is wrong.
    """
    if not Address.parse(db).exists():
        return None
    try:
        with ResultStore(db, read_only=True, artifacts=artifacts) as store:
            return outstanding(store, cells, force)
    except UserError:
        if dry_run:
            raise
        return None
