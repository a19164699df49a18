"""Predictives that are kept beside the database, scored again; and which metrics an evaluation could have."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import torch
from torch import Tensor

from bnnbench import names, random
from bnnbench.engine.cell import Cell
from bnnbench.evaluation.calibrations import CALIBRATIONS
from bnnbench.evaluation.evaluate import STORED, blocks_on, scores_on
from bnnbench.evaluation.evaluator import TestSets
from bnnbench.evaluation.fidelity import COMPARED, SETS
from bnnbench.evaluation.kept import Arrays, from_arrays
from bnnbench.evaluation.pruning import SCORED
from bnnbench.metrics import METRICS, Context
from bnnbench.metrics.base import double
from bnnbench.model import Predictive
from bnnbench.model.predictive import each
from bnnbench.model.truth import mapped
from bnnbench.records import EvaluationRecord
from bnnbench.tasks import TestSet


def usual_sets(cell: Cell) -> TestSets:
    """The usual test sets of a cell."""
    split = cell.task.splits(cell.rule, cell.root)[cell.index]
    return cell.task.test_sets(cell.task.data(cell.root), split, (), cell.root)


def scored_again(cell: Cell, arrays: Arrays, only: Mapping[str, Sequence[str]] | None = None) -> list[EvaluationRecord]:
    """Scores of all kept predictives, the very numbers that training gave; or, by evaluation, `only` these metrics."""
    sets, found = usual_sets(cell), []
    for name in STORED if only is None else only:
        predictive = from_arrays(name, arrays)
        if predictive is None or name not in sets:
            continue
        scores = scores_on(cell, name, predictive, sets[name], None if only is None else only[name])
        curves = blocks_on(cell, predictive, sets[name], scores) if name == names.TEST else {}
        found.append(EvaluationRecord(name, len(sets[name].x), tuple(scores), curves))
    return found


def applicable(cell: Cell, evaluation: str, sets: TestSets, example: Predictive, pruned: Container[str]) -> set[str]:
    """Names of the metrics that an evaluation of a cell gets today; none of one that comes of the training itself.

    Args:
        sets: the test sets of the cell. example: its predictive at a row or more. pruned: names of its evaluations
            under pruning.
    """
    one = each(lambda part: part[:, :1], double(example))
    calibrations = {names.calibrated(name): calibration for name, calibration in CALIBRATIONS.items()}
    if evaluation in sets:
        test_set = sets[evaluation]
        found = _applying(cell, evaluation, one, test_set)
        outside = {metric.name for metric in METRICS if "ood" in metric.kinds and test_set.out_of_distribution}
        return (found if test_set.metrics is None else found & set(test_set.metrics)) | outside
    if evaluation in pruned:
        return _applying(cell, evaluation, one, sets[names.TEST]) & set(SCORED)
    if evaluation in calibrations:
        y, key = _first(sets[names.TEST]), random.key_of("calibrate")
        assert y is not None
        made = calibrations[evaluation](one, y, one, key)
        if made is None:
            return set()
        return _applying(cell, evaluation, double(made.predictive), sets[names.TEST]) & set(made.metrics)
    if evaluation in SETS:
        return {name for name in COMPARED if cell.task.kind in METRICS.get(name).kinds}
    return set()


def _applying(cell: Cell, evaluation: str, one: Predictive, test_set: TestSet) -> set[str]:
    truth = None if test_set.truth is None else mapped(lambda values: torch.as_tensor(values[:1]), test_set.truth)
    chains = cell.method.num_chains or None if evaluation == names.TEST else None
    context = Context(one, _first(test_set), truth=truth, chains=chains)
    return {metric.name for metric in METRICS if metric.applies(cell.task.kind, context)}


def _first(test_set: TestSet) -> Tensor | None:
    return None if test_set.y is None else torch.as_tensor(test_set.y[:1])
