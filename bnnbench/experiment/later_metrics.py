"""Metrics that were added since a cell was scored: from its stored predictive, the very numbers of a fresh run; where
that is not kept, from its stored posterior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bnnbench import names, random
from bnnbench.engine.cell import Cell
from bnnbench.engine.compile import is_compiled
from bnnbench.errors import UserError, told
from bnnbench.evaluation.again import applicable, scored_again
from bnnbench.evaluation.evaluate import STORED, evaluate_only
from bnnbench.evaluation.evaluator import sets_of
from bnnbench.evaluation.fidelity import SETS, compared, halves_compared
from bnnbench.evaluation.kept import from_arrays
from bnnbench.evaluation.pruning import FRACTIONS
from bnnbench.experiment.library import GOLD_STANDARD, gold_predictive
from bnnbench.experiment.rescore import restored
from bnnbench.model import Predictive
from bnnbench.records import EvaluationRecord
from bnnbench.store.store import ResultStore

PRUNED = frozenset(map(names.pruned, FRACTIONS))
Lacking = Mapping[str, frozenset[str]]  # evaluation -> metrics


@dataclass(frozen=True)
class LaterMetrics:
    """A cell, and the metrics that its evaluations lack."""

    cell: Cell
    lacking: Lacking

    def __str__(self) -> str:
        cell, count = self.cell, len(set().union(*self.lacking.values()))
        return f"{cell.task.name} {cell.record.split} {cell.method.name}: {count} more metrics"


def later_metrics_missing(store: ResultStore, cells: Sequence[Cell]) -> list[LaterMetrics]:
    """Cells whose evaluations lack metrics that apply to them."""
    scored, examples, found = store.scored(cell.record.fingerprint for cell in cells), _Examples(store), []
    for cell in cells:
        has = scored.get(cell.record.fingerprint, {})
        example = examples.of(cell) if has else None
        if example is None:
            continue
        sets = cell.task.test_sets(
            cell.task.data(cell.root), cell.task.splits(cell.rule, cell.root)[cell.index], cell.test_sets, cell.root
        )
        lacking = {
            name: frozenset(applicable(cell, name, sets, example, PRUNED) - known) for name, known in has.items()
        }
        if any(lacking.values()):
            found.append(LaterMetrics(cell, {name: own for name, own in lacking.items() if own}))
    return found


class _Examples:
    """A predictive of each kind of cell: what a metric needs is there for all of a kind, or for none."""

    def __init__(self, store: ResultStore) -> None:
        self._store, self._known = store, {}

    def of(self, cell: Cell) -> Predictive | None:
        """At a row of the test set, or several; None where neither a predictive nor a posterior is stored."""
        kind = (cell.task.name, cell.rule, cell.method.name, cell.record.config)
        if self._known.get(kind) is None:
            self._known[kind] = self._read(cell)
        return self._known[kind]

    def _read(self, cell: Cell) -> Predictive | None:
        try:
            return from_arrays(names.TEST, self._store.artifact(cell.record.fingerprint, "predictive"))
        except UserError:  # not kept: as the posterior gives it
            pass
        try:
            evaluator = restored(self._store, cell, torch.device("cpu"))
        except UserError:
            return None
        (sets,) = sets_of(evaluator.pack, shifted=False)
        return evaluator.predictions([sets[names.TEST].x[:1]])[0]


def add_metrics(store: ResultStore, piece: LaterMetrics, device: torch.device) -> tuple[int, list[str]]:
    """Score what a cell lacks, from the nearest that is stored; returns whether any was added, and why others not."""
    fingerprint, left = piece.cell.record.fingerprint, dict(piece.lacking)
    added, faults = 0, []
    predictive = _artifact(store, fingerprint)
    for records in (_from_predictive(piece, predictive), _from_gold(store, piece, predictive)):
        added += store.add_scores(fingerprint, _only(records, left))
        for record in records:
            left.pop(record.name, None)
    left = {name: own for name, own in left.items() if name not in SETS}
    if left:
        try:
            evaluator = restored(store, piece.cell, device)
            with random.compiled_kernels(is_compiled(piece.cell, device)):  # as when it was trained
                (records,) = evaluate_only(evaluator, left.keys(), sets_of(evaluator.pack, shifted=True))
            added += store.add_scores(fingerprint, _only(records, left))
        except UserError as error:
            faults.append(str(error))
        except Exception as error:  # what fails on one cell takes nothing from the others
            cell = piece.cell
            faults.append(f"{cell.task.name} {cell.method.name}: no more metrics ({told(error)}).")
    return int(bool(added)), faults


def _artifact(store: ResultStore, fingerprint: str) -> dict[str, np.ndarray]:
    """The predictive that is kept; nothing where it is not, or is damaged."""
    try:
        return store.artifact(fingerprint, "predictive")
    except UserError:
        return {}


def _from_predictive(piece: LaterMetrics, arrays: dict[str, np.ndarray]) -> list[EvaluationRecord]:
    only = {name: sorted(own) for name, own in piece.lacking.items() if name in STORED}
    with random.compiled_kernels(is_compiled(piece.cell, torch.device("cpu"))):
        return scored_again(piece.cell, arrays, only) if arrays and only else []


def _from_gold(store: ResultStore, piece: LaterMetrics, arrays: dict[str, np.ndarray]) -> list[EvaluationRecord]:
    """Distances from the gold standard of the same split."""
    if not (arrays and piece.lacking.keys() & SETS.keys()):
        return []
    record = piece.cell.record
    golds: Any = store.best_runs(method=GOLD_STANDARD, task=record.task, rule=record.rule)
    golds = golds[golds["split"] == record.split]
    if golds.empty:
        return []
    fingerprint = golds["fingerprint"].iloc[0]
    try:
        gold = gold_predictive(store, record.task, fingerprint)
    except UserError:
        return []
    return halves_compared(gold) if fingerprint == record.fingerprint else compared(arrays, gold)


def _only(records: Iterable[EvaluationRecord], lacking: Lacking) -> list[EvaluationRecord]:
    """The scores that an evaluation lacks, alone."""
    return [
        replace(record, scores=tuple(score for score in record.scores if score.metric in lacking[record.name]))
        for record in records if record.name in lacking
    ]  # fmt: skip
