"""Test sets and calibrations that a finished cell lacks, scored from its stored posterior."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from bnnbench import names, random
from bnnbench.engine.cell import Cell
from bnnbench.engine.compile import is_compiled
from bnnbench.engine.pack import stack
from bnnbench.engine.stored import rebuilt
from bnnbench.errors import UserError, told
from bnnbench.evaluation.calibrations import calibrated_sets
from bnnbench.evaluation.evaluate import evaluate_only
from bnnbench.evaluation.evaluator import Evaluator, sets_of
from bnnbench.evaluation.pruning import pruned_sets
from bnnbench.experiment.distance import Recorder
from bnnbench.store.store import ResultStore
from bnnbench.tasks import Task


@dataclass(frozen=True)
class Rescoring:
    """A cell, and the names of the evaluations it is to get."""

    cell: Cell
    evaluations: frozenset[str]

    def __str__(self) -> str:
        cell = self.cell
        return f"{cell.task.name} {cell.rule} {cell.method.name}: {len(self.evaluations)} more evaluations"


def rescoring_missing(store: ResultStore, cells: Sequence[Cell]) -> list[Rescoring]:
    """What scored cells lack and their stored posteriors can give."""
    lacking = _lacking(store, cells)
    stored = store.stored((piece.cell.record.fingerprint for piece in lacking), "posterior")
    return [piece for piece in lacking if piece.cell.record.fingerprint in stored]


def posteriors_lost(store: ResultStore, cells: Sequence[Cell]) -> int:
    """How many cells lack evaluations and have no stored posterior any more."""
    lacking = [piece.cell.record.fingerprint for piece in _lacking(store, cells)]
    return len(lacking) - len(store.stored(lacking, "posterior"))


def _lacking(store: ResultStore, cells: Sequence[Cell]) -> list[Rescoring]:
    done = store.evaluated(cell.record.fingerprint for cell in cells)
    found = []
    for cell in cells:
        has = done.get(cell.record.fingerprint)
        if has and (missing := _evaluations(cell) - has):  # what has none at all was not worth scoring
            found.append(Rescoring(cell, missing))
    return found


def _evaluations(cell: Cell) -> frozenset[str]:
    """Names of the evaluations of a scored cell: of its test sets, of pruning and of calibrations."""
    sets, network = _sets_and_network(cell.task, cell.rule, cell.test_sets, cell.root)
    return sets | pruned_sets(cell, network).keys() | calibrated_sets(cell).keys()


@lru_cache(maxsize=64)  # images are rotated for it, which takes seconds, and a run asks several times
def _sets_and_network(
    task: Task, rule: str, test_sets: tuple[str, ...], root: Path | None
) -> tuple[frozenset[str], nn.Module]:
    """Names of the test sets that all splits of a task share, and the task's network, in sizes alone."""
    data, split = task.encoded(rule, 0, root), task.splits(rule, root)[0]
    with torch.device("meta"):
        network = task.network(rule, data.x.shape[1:], max(len(data.classes), 1))
    return frozenset(task.test_sets(data, split, test_sets, root)), network


def rescore(store: ResultStore, piece: Rescoring, device: torch.device) -> tuple[int, list[str]]:
    """Score the stored posterior and add what the cell lacks."""
    try:
        evaluator = restored(store, piece.cell, device)
    except UserError as error:  # damaged, of another version, or gone in the meantime
        return 0, [str(error)]
    with random.compiled_kernels(is_compiled(piece.cell, device)):  # as when it was trained
        added, faults = add_evaluations(store, evaluator, piece.evaluations)
    return int(bool(added)), faults


def restored(store: ResultStore, cell: Cell, device: torch.device) -> Evaluator:
    """A stored posterior as a trained pack of one, ready to predict.

    Raises:
        UserError: it is damaged or missing.
    """
    arrays = store.artifact(cell.record.fingerprint, "posterior")
    return Evaluator(rebuilt(stack([cell], device), arrays))


def add_evaluations(
    store: Recorder, evaluator: Evaluator, wanted: Iterable[str] | None = None
) -> tuple[int, list[str]]:
    """Score a trained pack on further test sets and after calibrations, family by family, so that an interruption loses
    no more than one; returns how many evaluations were stored, and why others were not.

    Args:
        wanted: names of the evaluations; None for those of all further test sets and calibrations that were asked for.
    """
    sets, first = sets_of(evaluator.pack, shifted=True), evaluator.pack.cells[0]
    if wanted is None:
        usual = sets_of(evaluator.pack, shifted=False)[0]
        wanted = [*(name for name in sets[0] if name not in usual), *calibrated_sets(first)]
    families: dict[str, set[str]] = {}
    for name in wanted:
        sweep = names.sweep(name)
        families.setdefault(name if sweep is None else sweep.family, set()).add(name)
    added, faults = 0, []
    for family, members in families.items():
        try:
            scored = evaluate_only(evaluator, members, sets)
        except Exception as error:  # one family that cannot be scored takes nothing from the others
            reason = told(error)
            faults.append(f"{first.task.name} {first.method.name}: {family} cannot be scored ({reason}).")
            continue
        for cell, live, records in zip(evaluator.pack.cells, evaluator.fitted.live, scored, strict=True):
            if live:
                added += store.add_evaluations(cell.record.fingerprint, records)
    return added, faults
