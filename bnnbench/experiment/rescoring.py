"""`rescore`: what the present bnnbench can give and stored cells lack, from what is stored; nothing is trained."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from rich.console import Console

from bnnbench.experiment.definitions import definitions
from bnnbench.experiment.later_metrics import add_metrics, later_metrics_missing
from bnnbench.experiment.progress import RunProgress
from bnnbench.experiment.request import Request
from bnnbench.experiment.rescore import posteriors_lost
from bnnbench.experiment.shipping import refuse_while_unpacking
from bnnbench.experiment.stages import STAGES, Stage, run_stages
from bnnbench.experiment.stored_cells import stored_cells
from bnnbench.store.store import ResultStore

METRICS = Stage(later_metrics_missing, add_metrics, lambda piece: piece.cell)


@dataclass(frozen=True)
class Rescored:
    """What was added.

    Attributes:
        cells: scored cells that could be looked at. added: scores that the database has more than before.
        changed: how many cells have more of them. warnings: what cannot be given, a sentence a kind.
    """

    cells: int
    changed: int
    added: int
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.added:
            return f"{self.cells:,} cells have all that can be given."
        return f"{self.added:,} scores were added to {self.changed:,} of {self.cells:,} cells."


def rescore_stored(
    request: Request, db: str | os.PathLike[str], device: torch.device, *, large_threads: int, quiet: bool
) -> Rescored:
    """Add metrics, test sets and calibrations to the scored cells of a database."""
    refuse_while_unpacking()
    with ResultStore(
        db, read_only=True
    ) as store:  # it must exist; and what is wrong is said before anything is written
        stored_cells(store, request)
    with ResultStore(db) as store:
        cells, said = stored_cells(store, request)
        before = _counts(store, cells)
        lost = posteriors_lost(store, cells)
        store.register(*definitions(cells))
        with RunProgress(Console(stderr=True), 0, 0, quiet) as progress:
            scored = run_stages(store, cells, device, progress, large_threads, (METRICS, *STAGES))
        after = _counts(store, cells)
    if lost:
        said.append(f"{lost} cells lack test sets or calibrations and have no stored posterior to score.")
    changed = sum(count > before.get(fingerprint, 0) for fingerprint, count in after.items())
    added = sum(after.values()) - sum(before.values())
    return Rescored(len(cells), changed, added, (*said, *dict.fromkeys(scored.faults)))


def _counts(store: ResultStore, cells: list) -> dict[str, int]:
    """Fingerprint -> number of scores."""
    found = store.scored(cell.record.fingerprint for cell in cells)
    return {fingerprint: sum(map(len, evaluations.values())) for fingerprint, evaluations in found.items()}
