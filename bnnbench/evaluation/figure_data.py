"""What the figures need of an evaluation, so that a report needs the database alone."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
import torch
from torch import Tensor

from bnnbench import names, random
from bnnbench.engine.fit import Trained
from bnnbench.engine.predict import one_of
from bnnbench.engine.size import parameters
from bnnbench.engine.step import PREDICT
from bnnbench.evaluation.flow_data import Curves, flow_data
from bnnbench.evaluation.rounding import multiples, significant
from bnnbench.metrics import curves
from bnnbench.model import (
    BinnedPredictive,
    CategoricalPredictive,
    DensityPredictive,
    GaussianPredictive,
    Predictive,
    QuantilePredictive,
    SamplePredictive,
)
from bnnbench.random import Span
from bnnbench.records import Series
from bnnbench.tasks import TestSet

WEIGHT_BINS = np.linspace(-4.0, 4.0, 81)  # of the prior's scale
HISTOGRAM_WEIGHTS = 2**24  # weights in a histogram, at most
UNIT = 2.0**-11  # of probabilities, shares and entropies [nats]
EDGE = 2.0**-10  # of the edges of bins, in units of the prior's scale


def figure_data(fitted: Trained, r: int, name: str, predictive: Predictive, test_set: TestSet) -> Curves:
    """Curves by name, of one replica's predictive on a test set."""
    found = _of(predictive, fitted, r, name, test_set)
    first = name == names.TEST and fitted.pack.cells[r].index == 0
    weights = weight_histogram(fitted, r) if first else None
    return found if weights is None else found | {"weights": weights}


@singledispatch
def _of(predictive: Predictive, fitted: Trained, r: int, name: str, test_set: TestSet) -> Curves:
    """What a kind of predictive has to show."""
    raise NotImplementedError(type(predictive).__name__)


@_of.register
def _density(predictive: DensityPredictive, fitted: Trained, r: int, name: str, test_set: TestSet) -> Curves:
    first = fitted.pack.cells[r].seed == 0
    return flow_data(fitted, r, test_set) if name == names.TEST and first else {}


@_of.register
def _classification(predictive: CategoricalPredictive, fitted: Trained, r: int, name: str, test_set: TestSet) -> Curves:
    del fitted, r
    if name == names.TEST and test_set.y is not None:
        return calibration_data(predictive, torch.as_tensor(test_set.y))
    if test_set.out_of_distribution:
        found = {"entropy": curves.entropies(predictive)}
    else:
        found = {"violins": curves.class_violins(predictive)} if name == names.ROTATED_DIGIT else {}
    return {curve: multiples(series, UNIT) for curve, series in found.items()}


@_of.register
def _regression(predictive: GaussianPredictive, fitted: Trained, r: int, name: str, test_set: TestSet) -> Curves:
    del r
    data = fitted.pack.data
    if name == names.TEST and test_set.y is not None:
        return calibration_data(predictive, torch.as_tensor(test_set.y))
    if data.grid is None:
        return {}
    if name == names.TRAIN:
        return {"data": significant({"x": test_set.x[:, 0], "y": test_set.y})}  # type: ignore[dict-item]
    if name != names.GRID:
        return {}
    truth = {} if test_set.truth is None else {"truth": test_set.truth[0], "truth_std": test_set.truth[1]}
    found: Curves = {"bands": {"x": test_set.x[:, 0], **curves.bands(predictive), **truth}}
    if data.exact is not None:
        mean, std = data.exact
        found["exact"] = {"x": test_set.x[:, 0], "mean": mean, "std": std, **truth}
    return {curve: significant(series) for curve, series in found.items()}


@_of.register
def _form(
    predictive: BinnedPredictive | QuantilePredictive | SamplePredictive,
    fitted: Trained,
    r: int,
    name: str,
    test_set: TestSet,
) -> Curves:
    """Calibration alone: bands are made of a mixture's components."""
    del fitted, r
    labelled = name == names.TEST and test_set.y is not None
    return calibration_data(predictive, torch.as_tensor(test_set.y)) if labelled else {}


@singledispatch
def calibration_data(predictive: Predictive, y: Tensor) -> Curves:
    """Curves of the predictive on the test rows, of targets y [N], that need nothing of the training."""
    found = curves.pit_ecdf(predictive, y)
    return {} if found is None else {"pit_ecdf": multiples(found, UNIT)}


@calibration_data.register
def _(predictive: CategoricalPredictive, y: Tensor) -> Curves:
    found = {"reliability": curves.reliability(predictive, y), "entropy": curves.entropies(predictive)}
    return {curve: multiples(series, UNIT) for curve, series in found.items()}


def weight_histogram(fitted: Trained, replica: int) -> Series | None:
    """Density of all weights (no biases) of a posterior's samples, each in units of its prior's scale.

    It integrates to the fraction of weights within the bins. None of what has no weight samples.
    """
    pack = fitted.pack
    if not pack.steps:
        return None
    posterior, samples = one_of(fitted.posterior, replica), pack.budget.samples
    total, few = posterior.size(samples), max(1, HISTOGRAM_WEIGHTS // parameters(pack.problem.network))
    part = Span(0, total if posterior.in_memory else min(few, total), total)
    weights = posterior.weights_of(posterior.sample(random.fold_in(pack.keys[replica], PREDICT), pack.problem, part))
    if weights is None:
        return None
    prior = pack.problem.prior
    units = [(value / prior.scale_of(value[0])).reshape(-1) for value in weights.values() if value.dim() > 2]
    everything = torch.cat(units).cpu().numpy()
    counts, edges = np.histogram(everything, bins=WEIGHT_BINS)
    density = counts / (everything.size * np.diff(edges))
    return {**multiples({"lower": edges[:-1], "upper": edges[1:]}, EDGE), **significant({"density": density})}
