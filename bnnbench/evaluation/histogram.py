"""Histograms of a posterior's weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.engine.size import parameters
from bnnbench.engine.step import PREDICT
from bnnbench.engine.train import Trained
from bnnbench.records import Series

WEIGHT_BINS = np.linspace(-4.0, 4.0, 81)  # of the prior's scale
HISTOGRAM_WEIGHTS = 2**24  # weights in a histogram, at most


def weight_histogram(trained: Trained, replica: int) -> Series | None:
    """Density of all weights (no biases) of a posterior's samples, each in units of its prior's scale.

    It integrates to the share of weights within the bins.
    """
    pack = trained.pack
    if not trained.steps:
        return None
    state, key = tree_map(lambda leaf: leaf[replica], (trained.state, pack.keys))
    draws = None if trained.draws is None else tree_map(lambda leaf: leaf[replica], trained.draws)
    samples: Any = pack.cells[0].budget.samples
    few = max(1, HISTOGRAM_WEIGHTS // parameters(pack.problem.network))
    if pack.method.terms(state, 0, samples) == samples > few:
        samples = random.Span(0, few, samples)
    method = pack.method_of({name: values[replica] for name, values in pack.floats.items()})
    weights = method.weights(random.fold_in(key, PREDICT), state, draws, pack.problem, samples)
    if weights is None:
        return None
    prior = pack.problem.prior
    units = [(value / prior.scale_of(value[0])).reshape(-1) for value in weights.values() if value.dim() > 2]
    everything = torch.cat(units).cpu().numpy()
    counts, edges = np.histogram(everything, bins=WEIGHT_BINS)
    return {"lower": edges[:-1], "upper": edges[1:], "density": counts / (everything.size * np.diff(edges))}
