"""Transferred attacks: images attacked through the deep ensemble, scored by every other method.

A method that errs less under its own attack than under this one hides its gradients rather than resists
(Athalye et al. 2018, arXiv 1802.00420): that is how a report tells that gradients are masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from bnnbench import random
from bnnbench.engine.cell import Cell, default
from bnnbench.engine.compile import is_compiled
from bnnbench.engine.train import Trained
from bnnbench.errors import UserError
from bnnbench.evaluation.evaluate import record
from bnnbench.evaluation.sets import adversarial, predictions, test_sets
from bnnbench.experiment.progress import RunProgress
from bnnbench.experiment.rescore import restored
from bnnbench.methods import METHODS
from bnnbench.names import EXHAUSTIVE
from bnnbench.records import CellRecord, EvaluationRecord
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TestSet

SOURCE = "ensemble-deep"
ATTACKS = ("fgsm-0.10", "fgsm-0.30", "pgd-0.10")
Lacking = dict[Cell, dict[Cell, list[str]]]  # source -> cells, and the attacks that are to be transferred to them


def new_transfers(store: ResultStore, records: Mapping[Cell, CellRecord]) -> Lacking:
    """Attacked cells that lack transferred attacks which a stored ensemble can give; exhaustive ones where there are
    no others."""
    attacked = [cell for cell in records if cell.test_sets and cell.method.name != SOURCE]
    done = store.evaluated(records[cell].fingerprint for cell in attacked)
    wanted: Lacking = {}
    for cell in attacked:
        has = done.get(records[cell].fingerprint, set())
        attacks = (name if name in has else name + EXHAUSTIVE for name in ATTACKS)
        if names := [name for name in attacks if name in has and f"transfer-{name}" not in has]:
            wanted.setdefault(source_of(cell), {})[cell] = names
    there = store.stored((source.record.fingerprint for source in wanted), "posterior")
    return {source: cells for source, cells in wanted.items() if source.record.fingerprint in there}


def source_of(cell: Cell) -> Cell:
    """The deep ensemble of the same task, split, seed and budget, with the test sets that can be transferred."""
    families = tuple(family + end for family in ("fgsm", "pgd") for end in ("", EXHAUSTIVE))
    return replace(cell, method=default(METHODS.get(SOURCE), cell.task), test_sets=families)


def add_transfers(
    store: ResultStore,
    records: Mapping[Cell, CellRecord],
    device: torch.device,
    progress: RunProgress,
) -> tuple[int, list[str]]:
    """Add what is missing of these evaluations; returns to how many cells, and why not to others."""
    added, faults = 0, {}
    for source, cells in new_transfers(store, records).items():
        trained = _restored(store, source, device, faults)
        if trained is None:
            continue
        with random.compiled_kernels(is_compiled(source, device)):
            wanted, (points,) = {n for names in cells.values() for n in names}, test_sets(trained.pack, shifted=True)
            sets = {name: _attacked(trained, points[name]) for name in wanted}
            for cell, names in cells.items():
                progress.start(f"{cell.task.name} {cell.method.name}: attacks transferred")
                target = _restored(store, cell, device, faults)
                if target is not None:
                    try:
                        found = [_scored(target, name, sets[name]) for name in sorted(names)]
                    except Exception as error:  # what fails on one method takes nothing from the others
                        reason = f"{type(error).__name__}: {error}"
                        faults[cell] = f"{cell.task.name} {cell.method.name}: attacks cannot be transferred ({reason})."
                        continue
                    added += bool(store.add_evaluations(cell.record.fingerprint, found))
                    progress.say(f"{cell.task.name} {cell.rule} {cell.method.name}: {len(found)} transferred attacks")
    return added, list(faults.values())


def _restored(store: ResultStore, cell: Cell, device: torch.device, faults: dict[Cell, str]) -> Trained | None:
    try:
        return restored(cell, store.artifact(cell.record.fingerprint, "posterior"), device)
    except UserError as error:  # damaged, of another version, or gone in the meantime
        faults[cell] = str(error)
        return None


def _attacked(trained: Trained, points: TestSet) -> TestSet:
    return points._replace(x=adversarial(trained, [points])[0].cpu().numpy(), attack=None)


def _scored(trained: Trained, name: str, points: TestSet) -> EvaluationRecord:
    (predictive,) = predictions(trained, [points.x], points.samples)
    return record(trained, 0, f"transfer-{name}", predictive, points)
