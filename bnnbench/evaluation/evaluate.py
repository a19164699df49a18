"""Scoring: predictions of a trained pack on each test set, then metrics and plot data cell by cell."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from bnnbench import random
from bnnbench.data.arrays import spread
from bnnbench.engine.size import is_large
from bnnbench.engine.step import over_replicas
from bnnbench.engine.train import Trained
from bnnbench.evaluation.blocks import block_scores
from bnnbench.evaluation.diagnostics import sampler_record
from bnnbench.evaluation.exploded import share_exploded
from bnnbench.evaluation.figure_data import plot_data
from bnnbench.evaluation.pruning import SAMPLES, SCORED, masks, pruned_sets, ranks
from bnnbench.evaluation.sets import inputs_of, predictions, test_sets
from bnnbench.metrics import score
from bnnbench.metrics.ood import ood_scores
from bnnbench.model import CategoricalPredictive, Predictive
from bnnbench.model.truth import mapped
from bnnbench.records import EvaluationRecord
from bnnbench.tasks import TestSet
from bnnbench.tasks.shifts import SWEEP_IMAGES

STORED = ("test", "grid")  # test sets whose predictive terms are kept beside the database


@dataclass(frozen=True)
class Evaluated:
    """Scores of one cell, and the predictive terms that are kept (`test/mean`, `test/scale`, `test/y` ...)."""

    records: tuple[EvaluationRecord, ...]
    kept: dict[str, np.ndarray]


def evaluate(
    trained: Trained, only: Container[str] | None = None, points: list[dict[str, TestSet]] | None = None
) -> list[Evaluated]:
    """The evaluations that every cell gets, of all replicas of a pack; or `only` those of these names, whichever.

    Args:
        points: the `test_sets` of the pack, where the caller has them.
    """
    pack = trained.pack
    points = test_sets(pack, shifted=only is not None) if points is None else points
    records: list[list[EvaluationRecord]] = [[] for _ in pack.cells]
    kept: list[dict[str, np.ndarray]] = [{} for _ in pack.cells]
    exploded: dict[int, float] = {}
    for name in _among(points[0], only):
        sets = [replica[name] for replica in points]
        found = predictions(trained, inputs_of(trained, sets), samples=sets[0].samples)
        if name == "test":
            trained.tested = found
        if sets[0].out_of_distribution and trained.tested is None:
            trained.tested = predictions(trained, [replica["test"].x for replica in points])
        for r, predictive in enumerate(found):
            records[r].append(record(trained, r, name, predictive, sets[r]))
            if name == "validation" and trained.draws is not None:
                rows, y = pack.problem.rows, torch.as_tensor(sets[r].y)
                exploded[r] = share_exploded(predictive, y, float(rows.y_shift[r]), float(rows.y_scale[r]))
            if name in STORED:
                kept[r] |= _terms(name, predictive, sets[r])
    for name, found in _pruned(trained, points, only):
        for r, (predictive, test) in enumerate(found):
            records[r].append(record(trained, r, name, predictive, test, SCORED))
    for r, own in enumerate(records):
        if _among(["sampler"], only) and (sampler := sampler_record(trained, r, exploded.get(r))) is not None:
            own.append(sampler)
    return [Evaluated(tuple(record), arrays) for record, arrays in zip(records, kept, strict=True)]


def _among(names: Iterable[str], only: Container[str] | None) -> list[str]:
    return [name for name in names if only is None or name in only]


def _pruned(
    trained: Trained, points: list[dict[str, TestSet]], only: Container[str] | None
) -> Iterator[tuple[str, list[tuple[Predictive, TestSet]]]]:
    """Predictives of every replica with a share of its weights taken out, and the test set that each was made on."""
    pack = trained.pack
    shares = pruned_sets(pack.method, pack.problem.network)
    if not (names := _among(shares, only)):
        return
    tests = [_thinned(trained, replica["test"]) for replica in points]
    ordered = over_replicas(
        pack, lambda method, problem, state, draws: ranks(method, state, draws), trained.state, trained.draws
    )
    for name in names:
        found = predictions(trained, [p.x for p in tests], tests[0].samples, masks(ordered, shares[name]))
        yield name, list(zip(found, tests, strict=True))


def _thinned(trained: Trained, test: TestSet) -> TestSet:
    """The test set on which weights are pruned: of large networks, the images of a sweep, with few samples."""
    if not is_large(trained.pack.problem.network):
        return test
    rows = spread(len(test.x), SWEEP_IMAGES)
    return TestSet(test.x[rows], None if test.y is None else test.y[rows], samples=SAMPLES)


def record(
    trained: Trained,
    r: int,
    name: str,
    predictive: Predictive,
    points: TestSet,
    only: tuple[str, ...] | None = None,
) -> EvaluationRecord:
    """All scores of one replica's predictive on a test set, or `only` some metrics, with the data of its figures."""
    pack = trained.pack
    cell = pack.cells[r]
    y = None if points.y is None else torch.as_tensor(points.y)
    truth = None if points.truth is None else mapped(torch.as_tensor, points.truth)
    key = random.key_of("score", cell.task.name, cell.rule, cell.index, cell.seed, name)
    chains = pack.method.chains or None if name == "test" else None
    scores = score(predictive, y, key, cell.task.kind, truth, chains=chains, only=only)
    if points.out_of_distribution:
        assert isinstance(predictive, CategoricalPredictive)
        scores += ood_scores(trained.tested[r], predictive)
    drawn = {} if only else plot_data(trained, r, name, predictive, points)
    if name == "test" and not only and (blocks := block_scores(cell, predictive, y, truth, scores)):
        drawn = {**drawn, "blocks": blocks}
    return EvaluationRecord(name, len(points.x), tuple(scores), drawn)


def _terms(name: str, predictive: Predictive, points: TestSet) -> dict[str, np.ndarray]:
    arrays = {f"{name}/{field}": value.numpy() for field, value in predictive._asdict().items() if value is not None}
    return arrays if points.y is None else arrays | {f"{name}/y": points.y}
