"""Scoring: predictions of a trained pack on each test set, then metrics and plot data cell by cell."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnnbench import random
from bnnbench.metrics import curves, score
from bnnbench.metrics.ood import ood_scores
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Params, Predictive
from bnnbench.model.predictive import each
from bnnbench.run.attack import attacked, gradient_sign, stepped
from bnnbench.run.diagnostics import sampler_record
from bnnbench.run.engine import PREDICT, over_replicas
from bnnbench.run.histogram import weight_histogram
from bnnbench.run.pack import Pack, padded
from bnnbench.run.predict import predict, rows_at_once, terms
from bnnbench.run.pruning import SCORED, masks, pruned_sets
from bnnbench.run.size import is_large
from bnnbench.run.train import Trained
from bnnbench.store.records import EvaluationRecord, Series
from bnnbench.tasks import Points
from bnnbench.tasks.data import spread
from bnnbench.tasks.shifts import SWEEP_IMAGES, SWEEP_SAMPLES

STORED = ("test", "grid")  # test sets whose predictive terms are kept beside the database


@dataclass(frozen=True)
class Evaluated:
    """Scores of one cell, and the predictive terms that are kept (`test/mean`, `test/scale`, `test/y` ...)."""

    records: tuple[EvaluationRecord, ...]
    kept: dict[str, np.ndarray]


def test_sets(pack: Pack, shifted: bool) -> list[dict[str, Points]]:
    """Name -> test set of every replica; those off the data's manifold only if asked for."""
    return [
        cell.task.evaluations(pack.data, split, cell.shifts if shifted else (), cell.root)
        for cell, split in zip(pack.cells, pack.splits, strict=True)
    ]


def evaluate(
    trained: Trained, only: Container[str] | None = None, points: list[dict[str, Points]] | None = None
) -> list[Evaluated]:
    """The evaluations that every cell gets, of all replicas of a pack; or `only` those of these names, whichever.

    Args:
        points: the `test_sets` of the pack, where the caller has them.
    """
    pack, signs = trained.pack, {}
    points = test_sets(pack, shifted=only is not None) if points is None else points
    records: list[list[EvaluationRecord]] = [[] for _ in pack.cells]
    kept: list[dict[str, np.ndarray]] = [{} for _ in pack.cells]
    for name in _among(points[0], only):
        sets = [replica[name] for replica in points]
        found = predictions(trained, _inputs(trained, sets, signs), samples=sets[0].samples)
        if name == "test":
            trained.tested = found
        if sets[0].foreign and trained.tested is None:
            trained.tested = predictions(trained, [replica["test"].x for replica in points])
        for r, predictive in enumerate(found):
            records[r].append(record(trained, r, name, predictive, sets[r]))
            if name in STORED:
                kept[r] |= _terms(name, predictive, sets[r])
    tests = [_thinned(trained, replica["test"]) for replica in points]
    shares = pruned_sets(pack.method, pack.problem.network)
    for name in _among(shares, only):
        factors = over_replicas(
            pack,
            lambda method, problem, state, draws, share=shares[name]: masks(method, state, draws, share),
            trained.state, trained.draws,
        )  # fmt: skip
        for r, predictive in enumerate(predictions(trained, [p.x for p in tests], tests[0].samples, factors)):
            records[r].append(record(trained, r, name, predictive, tests[r], SCORED))
    for r, own in enumerate(records):
        if _among(["sampler"], only) and (sampler := sampler_record(trained, r)) is not None:
            own.append(sampler)
    return [Evaluated(tuple(record), arrays) for record, arrays in zip(records, kept, strict=True)]


def _among(names: Iterable[str], only: Container[str] | None) -> list[str]:
    return [name for name in names if only is None or name in only]


def _thinned(trained: Trained, test: Points) -> Points:
    """The test set on which weights are pruned: of large networks, no more than a sweep's."""
    if not is_large(trained.pack.problem.network):
        return test
    rows = spread(len(test.x), SWEEP_IMAGES)
    return Points(test.x[rows], None if test.y is None else test.y[rows], samples=SWEEP_SAMPLES)


def _samples(trained: Trained, limit: int | None) -> int:
    """Predictive samples of a test set: of the budget, at most the limit of a sweep; of a picture, 25 times as many."""
    granted = trained.pack.cells[0].budget.samples
    if limit is None:
        return granted
    return min(limit, granted if limit <= SWEEP_SAMPLES else 25 * granted)


def _inputs(trained: Trained, sets: list[Points], signs: dict[Any, Tensor]) -> list[np.ndarray]:
    """The inputs of a test set of each replica, attacked through its own posterior where that is asked for.

    Args:
        signs: of the gradients at unchanged images, which attacks of one step share; filled here.
    """
    if sets[0].attack is None:
        return [p.x for p in sets]
    return list(adversarial(trained, sets, signs).cpu().numpy())


def adversarial(trained: Trained, sets: list[Points], signs: dict[Any, Tensor] | None = None) -> Tensor:
    """Images [R, N, C, H, W] of a test set with an attack, after it."""
    pack, attack, samples = trained.pack, sets[0].attack, _samples(trained, sets[0].samples)
    assert attack is not None
    key, signs = random.fold_in(pack.keys, PREDICT), {} if signs is None else signs
    x = stacked_inputs(pack, [p.x for p in sets])
    y = torch.stack([torch.as_tensor(p.y, device=x.device) for p in sets])
    rows = max(1, rows_at_once(pack, trained.state, trained.draws, samples) // 2)
    shared = (x.shape, samples)
    if attack.steps > 1 or shared not in signs:
        some = list(terms(pack, trained.state, trained.draws, key, samples))
        if attack.steps > 1:
            return attacked(some, x, y, attack, pack.problem.rows.x_scale, rows)
        signs[shared] = gradient_sign(some, x, y, rows)
    return stepped(x, x, signs[shared], attack, pack.problem.rows.x_scale)


def stacked_inputs(pack: Pack, inputs: list[np.ndarray]) -> Tensor:
    """Inputs of all replicas [R, longest, ...] in the problem's dtype, padded by repetition."""
    index, _ = padded([np.arange(len(x)) for x in inputs], pack.keys.device)
    like = {"dtype": pack.problem.table.x.dtype, "device": pack.keys.device}
    return torch.stack([torch.as_tensor(x, **like)[i] for x, i in zip(inputs, index, strict=True)])


def predictions(
    trained: Trained, inputs: list[np.ndarray], samples: int | None = None, factors: Params | None = None
) -> list[Predictive]:
    """Predictive of each replica at its own inputs; `samples` at most, weights times `factors` (pruning)."""
    pack = trained.pack
    key, x = random.fold_in(pack.keys, PREDICT), stacked_inputs(pack, inputs)
    found = predict(pack, trained.state, trained.draws, key, x, _samples(trained, samples), factors)
    found, sizes = each(Tensor.cpu, found), [len(own) for own in inputs]
    return [each(lambda part, r=r, n=n: part[r, :, :n], found) for r, n in enumerate(sizes)]


def record(
    trained: Trained,
    r: int,
    name: str,
    predictive: Predictive,
    points: Points,
    only: tuple[str, ...] | None = None,
) -> EvaluationRecord:
    """All scores of one replica's predictive on a test set, or `only` some metrics, with the data of its figures."""
    pack = trained.pack
    cell = pack.cells[r]
    y = None if points.y is None else torch.as_tensor(points.y)
    truth = None if points.truth is None else (torch.as_tensor(points.truth[0]), torch.as_tensor(points.truth[1]))
    key = random.key_of("score", cell.task.name, cell.rule, cell.index, cell.seed, name)
    chains = pack.method.chains or None if name == "test" else None
    scores = score(predictive, y, key, cell.task.kind, truth, chains=chains, only=only)
    if points.foreign:
        assert isinstance(predictive, CategoricalPredictive)
        scores += ood_scores(trained.tested[r], predictive)
    drawn = {} if only else _plot_data(name, predictive, y, points, pack)
    if name == "test" and cell.index == 0 and (weights := weight_histogram(trained, r)) is not None:
        drawn["weights"] = weights
    return EvaluationRecord(name, len(points.x), tuple(scores), drawn)


def _plot_data(name: str, predictive: Predictive, y: Tensor | None, points: Points, pack: Pack) -> dict[str, Series]:
    """What the figures need, so that a report needs the database alone."""
    if name == "test" and y is not None:
        if isinstance(predictive, GaussianPredictive):
            return {"pit_ecdf": curves.pit_ecdf(predictive, y)}
        return {"reliability": curves.reliability(predictive, y), "entropy": curves.entropies(predictive)}
    if points.foreign and isinstance(predictive, CategoricalPredictive):
        return {"entropy": curves.entropies(predictive)}
    if name == "rotated-digit" and isinstance(predictive, CategoricalPredictive):
        return {"violins": curves.class_violins(predictive)}
    if pack.data.grid is None or not isinstance(predictive, GaussianPredictive):
        return {}
    if name == "train":
        return {"data": {"x": points.x[:, 0], "y": points.y}}  # type: ignore[dict-item]
    if name == "grid":
        truth = {} if points.truth is None else {"truth": points.truth[0], "truth_std": points.truth[1]}
        drawn: dict[str, Series] = {"bands": {"x": points.x[:, 0], **curves.bands(predictive), **truth}}
        if pack.data.exact is not None:
            mean, std = pack.data.exact
            drawn["exact"] = {"x": points.x[:, 0], "mean": mean, "std": std, **truth}
        return drawn
    return {}


def _terms(name: str, predictive: Predictive, points: Points) -> dict[str, np.ndarray]:
    arrays = {f"{name}/{field}": value.numpy() for field, value in predictive._asdict().items() if value is not None}
    return arrays if points.y is None else arrays | {f"{name}/y": points.y}
