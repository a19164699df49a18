"""What a database lacks of a plan: cells to train, evaluations to score, definitions to write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.definitions import definitions, is_registered
from bnnbench.experiment.fidelity import new_fidelity
from bnnbench.experiment.rescore import Lacking, lacking
from bnnbench.experiment.runner import unfinished
from bnnbench.experiment.transfer import new_transfers
from bnnbench.store.address import Address
from bnnbench.store.store import ResultStore


@dataclass(frozen=True)
class Work:
    """What a database lacks of a plan.

    Attributes:
        missing: cells to be trained. lacking: evaluations of trained cells that their stored posteriors can give.
        lost: how many cells lack evaluations and have no stored posterior any more.
        writes: whether anything is to be written at all.
    """

    missing: list[Cell]
    lacking: Lacking
    lost: int
    writes: bool

    @property
    def updates(self) -> int:
        """Updates that training will take, at least one a cell."""
        return sum(max(cell.steps, 1) for cell in self.missing)

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
    open_ = set(missing)
    wanted, lost = lacking(store, {cell: cell.record for cell in cells if cell not in open_})
    writes = bool(
        missing
        or wanted
        or not is_registered(store, definitions(cells))
        or any(new_fidelity(store, {cell.task.name for cell in cells}))
        or new_transfers(store, {cell: cell.record for cell in cells})
    )
    return Work(missing, wanted, lost, writes)


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
