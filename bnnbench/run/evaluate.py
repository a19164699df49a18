"""Scoring: predictions of a trained pack on each test set, then metrics and plot data cell by cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bnnbench import random
from bnnbench.metrics import curves, score
from bnnbench.model import GaussianPredictive, Predictive
from bnnbench.run.engine import PREDICT, predict
from bnnbench.run.pack import Pack, padded
from bnnbench.run.train import Trained
from bnnbench.store.records import EvaluationRecord, Series
from bnnbench.tasks import Points

STORED = ("test", "grid")  # test sets whose predictive terms are kept beside the database
CHUNK_NUMBERS = 2**24  # activations alive at once per layer, so that memory does not grow with the test set


@dataclass(frozen=True)
class Evaluated:
    """Scores of one cell, and the predictive terms that are kept (`test/mean`, `test/scale`, `test/y` ...)."""

    records: tuple[EvaluationRecord, ...]
    kept: dict[str, np.ndarray]


def evaluate(trained: Trained) -> list[Evaluated]:
    """All evaluations of all replicas of a pack."""
    pack = trained.pack
    points = [cell.task.evaluations(pack.data, split) for cell, split in zip(pack.cells, pack.splits, strict=True)]
    records: list[list[EvaluationRecord]] = [[] for _ in pack.cells]
    kept: list[dict[str, np.ndarray]] = [{} for _ in pack.cells]
    for name in points[0]:
        sets = [replica[name] for replica in points]
        for r, predictive in enumerate(predictions(trained, [p.x for p in sets])):
            records[r].append(_record(pack, r, name, predictive, sets[r]))
            if name in STORED:
                kept[r] |= _terms(name, predictive, sets[r])
    return [Evaluated(tuple(record), arrays) for record, arrays in zip(records, kept, strict=True)]


def predictions(trained: Trained, inputs: list[np.ndarray]) -> list[Predictive]:
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
    with torch.no_grad():
        parts = [predict(pack, trained.state, trained.draws, key, x, samples) for x in stacked.split(rows, 1)]
    whole = type(parts[0])(*(torch.cat(pieces, 2).cpu() for pieces in zip(*parts, strict=True)))
    return [type(whole)(*(piece[r, :, :n] for piece in whole)) for r, n in enumerate(sizes)]


def _record(pack: Pack, r: int, name: str, predictive: Predictive, points: Points) -> EvaluationRecord:
    cell = pack.cells[r]
    y = None if points.y is None else torch.as_tensor(points.y)
    truth = None if points.truth is None else (torch.as_tensor(points.truth[0]), torch.as_tensor(points.truth[1]))
    key = random.key_of("score", cell.task.name, cell.rule, cell.index, cell.seed, name)
    scores = score(predictive, y, key, cell.task.kind, truth)
    return EvaluationRecord(name, len(points.x), tuple(scores), _plot_data(name, predictive, y, points, pack))


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
