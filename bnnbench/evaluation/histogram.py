"""Histograms of a posterior's weights."""

from __future__ import annotations

import numpy as np
import torch

from bnnbench import random
from bnnbench.engine.predict import one_of
from bnnbench.engine.size import parameters
from bnnbench.engine.step import PREDICT
from bnnbench.engine.train import Fitted
from bnnbench.random import Span
from bnnbench.records import Series

WEIGHT_BINS = np.linspace(-4.0, 4.0, 81)  # of the prior's scale
HISTOGRAM_WEIGHTS = 2**24  # weights in a histogram, at most


def weight_histogram(fitted: Fitted, replica: int) -> Series | None:
    """Density of all weights (no biases) of a posterior's samples, each in units of its prior's scale.

    It integrates to the fraction of weights within the bins. None of what has no weight samples.
    """
    pack = fitted.pack
    if not pack.steps:
        return None
    posterior, samples = one_of(fitted.posterior, replica), pack.budget.samples
    total, few = posterior.size(samples), max(1, HISTOGRAM_WEIGHTS // parameters(pack.problem.network))
    part = Span(0, total if posterior.in_memory else min(few, total), total)
    weights = posterior.sample(random.fold_in(pack.keys[replica], PREDICT), pack.problem, part)
    if not isinstance(weights, dict):
        return None
    prior = pack.problem.prior
    units = [(value / prior.scale_of(value[0])).reshape(-1) for value in weights.values() if value.dim() > 2]
    everything = torch.cat(units).cpu().numpy()
    counts, edges = np.histogram(everything, bins=WEIGHT_BINS)
    return {"lower": edges[:-1], "upper": edges[1:], "density": counts / (everything.size * np.diff(edges))}
