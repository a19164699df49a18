"""What the figures need of an evaluation, so that a report needs the database alone."""

from __future__ import annotations

import torch

from bnnbench.engine.train import Trained
from bnnbench.evaluation.flow_data import flow_pictures
from bnnbench.evaluation.histogram import weight_histogram
from bnnbench.metrics import curves
from bnnbench.model import CategoricalPredictive, DensityPredictive, GaussianPredictive, Predictive
from bnnbench.records import Series
from bnnbench.tasks import TestSet

Drawn = dict[str, Series]


def plot_data(trained: Trained, r: int, name: str, predictive: Predictive, points: TestSet) -> Drawn:
    """Curves by name, of one replica's predictive on a test set."""
    if isinstance(predictive, DensityPredictive):
        first = trained.pack.cells[r].seed == 0
        return flow_pictures(trained, r, points) if name == "test" and first else {}
    if isinstance(predictive, GaussianPredictive):
        drawn = _regression(trained, name, predictive, points)
    else:
        drawn = _classification(name, predictive, points)
    first = name == "test" and trained.pack.cells[r].index == 0
    weights = weight_histogram(trained, r) if first else None
    return drawn if weights is None else drawn | {"weights": weights}


def _classification(name: str, predictive: CategoricalPredictive, points: TestSet) -> Drawn:
    if name == "test" and points.y is not None:
        y = torch.as_tensor(points.y)
        return {"reliability": curves.reliability(predictive, y), "entropy": curves.entropies(predictive)}
    if points.out_of_distribution:
        return {"entropy": curves.entropies(predictive)}
    return {"violins": curves.class_violins(predictive)} if name == "rotated-digit" else {}


def _regression(trained: Trained, name: str, predictive: GaussianPredictive, points: TestSet) -> Drawn:
    data = trained.pack.data
    if name == "test" and points.y is not None:
        return {"pit_ecdf": curves.pit_ecdf(predictive, torch.as_tensor(points.y))}
    if data.grid is None:
        return {}
    if name == "train":
        return {"data": {"x": points.x[:, 0], "y": points.y}}  # type: ignore[dict-item]
    if name != "grid":
        return {}
    truth = {} if points.truth is None else {"truth": points.truth[0], "truth_std": points.truth[1]}
    drawn: Drawn = {"bands": {"x": points.x[:, 0], **curves.bands(predictive), **truth}}
    if data.exact is not None:
        mean, std = data.exact
        drawn["exact"] = {"x": points.x[:, 0], "mean": mean, "std": std, **truth}
    return drawn
