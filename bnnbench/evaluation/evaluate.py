"""Scoring: predictions of a trained pack on each test set, then metrics and figure data cell by cell."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from bnnbench import names, random
from bnnbench.data.arrays import spread
from bnnbench.engine.cell import Cell
from bnnbench.engine.size import is_large
from bnnbench.engine.train import History
from bnnbench.evaluation.blocks import block_scores
from bnnbench.evaluation.calibrations import Calibration, calibrated_sets
from bnnbench.evaluation.certificate import certificate, log_joints
from bnnbench.evaluation.diagnostics import as_mapping, sampler_record, share_exploded
from bnnbench.evaluation.evaluator import Evaluator, TestSets, sets_of
from bnnbench.evaluation.figure_data import figure_data
from bnnbench.evaluation.kept import to_arrays
from bnnbench.evaluation.pruning import SAMPLES, SCORED, masks, pruned_sets, ranks
from bnnbench.metrics import score
from bnnbench.metrics.base import double
from bnnbench.metrics.ood import ood_scores
from bnnbench.model import CategoricalPredictive, Predictive
from bnnbench.model.regions import Region
from bnnbench.model.truth import Truth, mapped
from bnnbench.records import EvaluationRecord, Score, Series
from bnnbench.tasks import TestSet
from bnnbench.tasks.sets import SWEEP_IMAGES

T = TypeVar("T")
STORED = (names.TEST, names.GRID)  # test sets whose mixture components are kept beside the database


@dataclass(frozen=True)
class Evaluated:
    """Scores of one cell, and the mixture components that are kept (`test/mean`, `test/scale`, `test/y` ...)."""

    records: tuple[EvaluationRecord, ...]
    kept: dict[str, np.ndarray]


def evaluate(evaluator: Evaluator, history: History) -> list[Evaluated]:
    """The evaluations that every cell gets, of all replicas of a pack."""
    pack = evaluator.pack
    sets = sets_of(pack, shifted=False)
    records: list[list[EvaluationRecord]] = [[] for _ in pack.cells]
    kept: list[dict[str, np.ndarray]] = [{} for _ in pack.cells]
    exploded: dict[int, float] = {}
    for name, found in _predicted(evaluator, sets, sets[0]):
        for r, predictive in enumerate(found):
            own = sets[r][name]
            records[r].append(record(evaluator, r, name, predictive, own))
            if name == names.VALIDATION and evaluator.fitted.draws is not None:
                rows, y = pack.problem.rows, torch.as_tensor(own.y)
                exploded[r] = share_exploded(predictive, y, float(rows.y_shift[r]), float(rows.y_scale[r]))
            if name in STORED:
                kept[r] |= to_arrays(name, predictive, own.y)
    for r, more in enumerate(_pruned(evaluator, sets, pruned_sets(pack.cells[0], pack.problem.network))):
        sampler = sampler_record(evaluator.fitted, history, r, exploded.get(r))
        records[r] += more + ([] if sampler is None else [sampler])
    for r, own in enumerate(_certificates(evaluator, records)):
        records[r].append(own)
    return [Evaluated(tuple(own), arrays) for own, arrays in zip(records, kept, strict=True)]


def _certificates(evaluator: Evaluator, records: list[list[EvaluationRecord]]) -> Iterator[EvaluationRecord]:
    """Of all replicas of methods with several chains; none of others."""
    chains = evaluator.pack.method.num_chains
    if chains < 2:
        return
    joints = log_joints(evaluator.fitted)
    for own, predictive, joint in zip(records, evaluator.test, joints, strict=True):
        divergent = as_mapping(tuple(own), names.SAMPLER).get("divergent", 0.0)
        yield certificate(predictive, joint, chains, divergent)


def evaluate_only(
    evaluator: Evaluator, wanted: Container[str], sets: list[TestSets]
) -> list[tuple[EvaluationRecord, ...]]:
    """The evaluations of these names, of all replicas of a pack.

    Args:
        sets: of every replica, those under distribution shift included.
    """
    records: list[list[EvaluationRecord]] = [[] for _ in evaluator.pack.cells]
    for name, found in _predicted(evaluator, sets, [name for name in sets[0] if name in wanted]):
        for r, predictive in enumerate(found):
            records[r].append(record(evaluator, r, name, predictive, sets[r][name]))
    first = evaluator.pack.cells[0]
    fractions = _chosen(pruned_sets(first, evaluator.pack.problem.network), wanted)
    found = _pruned(evaluator, sets, fractions), _calibrated(evaluator, sets, _chosen(calibrated_sets(first), wanted))
    return [(*own, *pruned, *calibrated) for own, pruned, calibrated in zip(records, *found, strict=True)]


def _chosen(known: dict[str, T], wanted: Container[str]) -> dict[str, T]:
    return {name: entry for name, entry in known.items() if name in wanted}


def _predicted(
    evaluator: Evaluator, sets: list[TestSets], wanted: Iterable[str]
) -> Iterator[tuple[str, list[Predictive]]]:
    for name in wanted:
        yield name, evaluator.predictions_on(name, [own[name] for own in sets])


def _pruned(evaluator: Evaluator, sets: list[TestSets], fractions: dict[str, float]) -> list[list[EvaluationRecord]]:
    """Records of every replica with a fraction of its weights taken out."""
    records: list[list[EvaluationRecord]] = [[] for _ in evaluator.pack.cells]
    if not fractions:
        return records
    tests = [_thinned(evaluator, own[names.TEST]) for own in sets]
    ordered = ranks(evaluator.pack, evaluator.fitted.posterior)
    for name, fraction in fractions.items():
        found = evaluator.predictions([own.x for own in tests], tests[0].samples, masks(ordered, fraction))
        for r, (predictive, own) in enumerate(zip(found, tests, strict=True)):
            records[r].append(record(evaluator, r, name, predictive, own, SCORED))
    return records


def _calibrated(
    evaluator: Evaluator, sets: list[TestSets], calibrations: dict[str, Calibration]
) -> list[list[EvaluationRecord]]:
    """Records of every replica on its test rows, after calibrations on its validation rows."""
    records: list[list[EvaluationRecord]] = [[] for _ in evaluator.pack.cells]
    for name, calibration in calibrations.items():
        for r, cell in enumerate(evaluator.pack.cells):
            key = random.key_of("calibrate", cell.task.name, cell.rule, cell.index, cell.seed, name)
            y, own = torch.as_tensor(sets[r][names.VALIDATION].y), sets[r][names.TEST]
            found = calibration(double(evaluator.validation[r]), y, double(evaluator.test[r]), key)
            if found is None:
                continue
            scored = record(evaluator, r, name, found.predictive, own, found.metrics, found.given)
            records[r].append(replace(scored, scores=(*scored.scores, found.fitted)))
    return records


def _thinned(evaluator: Evaluator, test: TestSet) -> TestSet:
    """The test set on which weights are pruned: of large networks, the images of a sweep, with few samples."""
    if not is_large(evaluator.pack.problem.network):
        return test
    rows = spread(len(test.x), SWEEP_IMAGES)
    return TestSet(test.x[rows], None if test.y is None else test.y[rows], samples=SAMPLES)


def record(
    evaluator: Evaluator,
    r: int,
    name: str,
    predictive: Predictive,
    test_set: TestSet,
    only: tuple[str, ...] | None = None,
    given: Region | None = None,
) -> EvaluationRecord:
    """All scores of one replica's predictive on a test set, or `only` some metrics, with the data of its figures.

    Args:
        given: intervals or sets of classes to be scored in place of the predictive's own.
    """
    pack, only = evaluator.pack, only or test_set.metrics
    cell = pack.cells[r]
    scores = scores_on(cell, name, predictive, test_set, only, given)
    if test_set.out_of_distribution:
        inside = evaluator.test[r]
        assert isinstance(inside, CategoricalPredictive)
        assert isinstance(predictive, CategoricalPredictive)
        scores += ood_scores(inside, predictive)
    curves = {} if only else figure_data(evaluator.fitted, r, name, predictive, test_set)
    if name == names.TEST and not only:
        curves = {**curves, **blocks_on(cell, predictive, test_set, scores)}
    return EvaluationRecord(name, len(test_set.x), tuple(scores), curves)


def scores_on(
    cell: Cell,
    name: str,
    predictive: Predictive,
    test_set: TestSet,
    only: Sequence[str] | None = None,
    given: Region | None = None,
) -> list[Score]:
    """Scores of a cell's predictive on a test set, but for those that compare it with another one."""
    y, truth = _known(test_set)
    key = random.key_of("score", cell.task.name, cell.rule, cell.index, cell.seed, name)
    chains = cell.method.num_chains or None if name == names.TEST else None
    return score(predictive, y, key, cell.task.kind, truth, chains=chains, given=given, only=only)


def blocks_on(cell: Cell, predictive: Predictive, test_set: TestSet, scores: Sequence[Score]) -> dict[str, Series]:
    """The curve `blocks` of these scores on a test set, where its task has one."""
    blocks = block_scores(cell, predictive, *_known(test_set), scores)
    return {"blocks": blocks} if blocks else {}


def _known(test_set: TestSet) -> tuple[Tensor | None, Truth | None]:
    y = None if test_set.y is None else torch.as_tensor(test_set.y)
    return y, None if test_set.truth is None else mapped(torch.as_tensor, test_set.truth)
