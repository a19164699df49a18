"""Scoring: predictions of a trained pack on each test set, then metrics and plot data cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.metrics import curves, score
from bnnbench.model import GaussianPredictive, Predictive
from bnnbench.run.diagnostics import sampler_record
from bnnbench.run.engine import PREDICT, over_replicas
from bnnbench.run.pack import Pack, padded
from bnnbench.run.pruning import FRACTIONS, SCORED, evaluation_name, prunable, pruned
from bnnbench.run.train import Trained
from bnnbench.store.records import EvaluationRecord, Series
from bnnbench.tasks import Points

STORED = ("test", "grid")  # test sets whose predictive terms are kept beside the database
WEIGHT_BINS = np.linspace(-4.0, 4.0, 81)  # of the prior's scale
CHUNK_NUMBERS = 2**24  # activations alive at once per layer, so that memory does not grow with the test set


@dataclass(frozen=True)
class Evaluated:
    """Scores of one cell, and the predictive terms that are kept (`test/mean`, `test/scale`, `test/y` ...)."""

    records: tuple[EvaluationRecord, ...]
    kept: dict[str, np.ndarray]


def evaluate(trained: Trained, only: Container[str] | None = None) -> list[Evaluated]:
    """All evaluations of all replicas of a pack, or `only` those of these names."""
    pack = trained.pack
    points = [cell.task.evaluations(pack.data, split) for cell, split in zip(pack.cells, pack.splits, strict=True)]
    records: list[list[EvaluationRecord]] = [[] for _ in pack.cells]
    kept: list[dict[str, np.ndarray]] = [{} for _ in pack.cells]
    for name in _among(points[0], only):
        sets = [replica[name] for replica in points]
        for r, predictive in enumerate(predictions(trained, [p.x for p in sets])):
            records[r].append(_record(trained, r, name, predictive, sets[r]))
            if name in STORED:
                kept[r] |= _terms(name, predictive, sets[r])
    tests = [replica["test"] for replica in points]
    shares = {evaluation_name(share): share for share in FRACTIONS} if prunable(pack.method) else {}
    for name in _among(shares, only):
        for r, predictive in enumerate(predictions(trained, [p.x for p in tests], _pruned(shares[name]))):
            records[r].append(_record(trained, r, name, predictive, tests[r], SCORED))
    for r, own in enumerate(records):
        if _among(["sampler"], only) and (sampler := sampler_record(trained, r)) is not None:
            own.append(sampler)
    return [Evaluated(tuple(record), arrays) for record, arrays in zip(records, kept, strict=True)]


def _among(names: Iterable[str], only: Container[str] | None) -> list[str]:
    return [name for name in names if only is None or name in only]


Predict = Callable[..., Predictive]  # (method, problem, key, state, draws, x, samples)


def _plain(method: Any, problem: Any, key: Tensor, state: Any, draws: Any, x: Tensor, samples: int) -> Predictive:
    return method.predict(key, state, draws, problem, x, samples)


def _pruned(share: float) -> Predict:
    def predict(method: Any, problem: Any, key: Tensor, state: Any, draws: Any, x: Tensor, samples: int) -> Predictive:
        return problem.predict(pruned(method, key, state, draws, problem, samples, share), x)

    return predict


def predictions(trained: Trained, inputs: list[np.ndarray], how: Predict = _plain) -> list[Predictive]:
    """Predictive of each replica at its own inputs, chunked over rows; chunks never change a number."""
    pack, problem = trained.pack, trained.pack.problem
    samples = pack.cells[0].budget.samples
    sizes = [len(x) for x in inputs]
    index, _ = padded([np.arange(n) for n in sizes], pack.keys.device)
    stacked = torch.stack(
        [
            torch.as_tensor(x, dtype=problem.table.x.dtype, device=pack.keys.device)[i]
            for x, i in zip(inputs, index, strict=True)
        ]
    )
    width = max(value.shape[0] for value in problem.network.parameters())
    rows = max(1, CHUNK_NUMBERS // (len(sizes) * samples * width))
    key = random.fold_in(pack.keys, PREDICT)

    def one(method: Any, problem: Any, key: Tensor, state: Any, draws: Any, x: Tensor) -> Predictive:
        return how(method, problem, key, state, draws, x, samples)

    with torch.no_grad():
        parts = [over_replicas(pack, one, key, trained.state, trained.draws, x) for x in stacked.split(rows, 1)]
    whole = type(parts[0])(*(torch.cat(pieces, 2).cpu() for pieces in zip(*parts, strict=True)))
    return [type(whole)(*(piece[r, :, :n] for piece in whole)) for r, n in enumerate(sizes)]


def _record(
    trained: Trained, r: int, name: str, predictive: Predictive, points: Points, only: tuple[str, ...] | None = None
) -> EvaluationRecord:
    pack = trained.pack
    cell = pack.cells[r]
    y = None if points.y is None else torch.as_tensor(points.y)
    truth = None if points.truth is None else (torch.as_tensor(points.truth[0]), torch.as_tensor(points.truth[1]))
    key = random.key_of("score", cell.task.name, cell.rule, cell.index, cell.seed, name)
    chains = pack.method.chains or None if name == "test" else None
    scores = score(predictive, y, key, cell.task.kind, truth, chains=chains, only=only)
    drawn = {} if only else _plot_data(name, predictive, y, points, pack)
    if name == "test" and cell.index == 0 and (weights := weight_histogram(trained, r)) is not None:
        drawn["weights"] = weights
    return EvaluationRecord(name, len(points.x), tuple(scores), drawn)


def weight_histogram(trained: Trained, replica: int) -> Series | None:
    """Density of all weights (no biases) of a posterior's samples, each in units of its prior's scale.

    It integrates to the share of weights within the bins.
    """
    pack = trained.pack
    if not trained.steps:
        return None
    state, key = tree_map(lambda leaf: leaf[replica], (trained.state, pack.keys))
    draws = None if trained.draws is None else tree_map(lambda leaf: leaf[replica], trained.draws)
    samples = pack.cells[0].budget.samples
    weights = pack.method.weights(random.fold_in(key, PREDICT), state, draws, pack.problem, samples)
    if weights is None:
        return None
    prior = pack.problem.prior
    units = [(value / prior.scale_of(value[0])).reshape(-1) for value in weights.values() if value.dim() > 2]
    everything = torch.cat(units).cpu().numpy()
    counts, edges = np.histogram(everything, bins=WEIGHT_BINS)
    return {"lower": edges[:-1], "upper": edges[1:], "density": counts / (everything.size * np.diff(edges))}


def _plot_data(name: str, predictive: Predictive, y: Tensor | None, points: Points, pack: Pack) -> dict[str, Series]:
    """What the figures need, so that a report needs the database alone."""
    if name == "test" and y is not None:
        if isinstance(predictive, GaussianPredictive):
            return {"pit_ecdf": curves.pit_ecdf(predictive, y)}
        return {"reliability": curves.reliability(predictive, y)}
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
    terms = {f"{name}/{field}": value.numpy() for field, value in predictive._asdict().items()}
    return terms if points.y is None else terms | {f"{name}/y": points.y}
