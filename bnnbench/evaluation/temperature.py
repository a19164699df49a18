"""Temperature scaling: one number, fitted on validation rows, makes a predictive wider or narrower.

Classification (Guo et al. 2017, arXiv 1706.04599), with the mixture's log-probabilities as logits:

    p_T(k | x) = pbar(k | x)^(1/T) / sum_j pbar(j | x)^(1/T),    pbar = (1/S) sum_s p_s.

Regression (Levi et al. 2019, arXiv 1905.11659, whose variance is here that of a mixture): the mixture is stretched by s
about its own mean m(x) = (1/S) sum_s m_s(x),

    p_s(y | x) = (1/s) p(m(x) + (y - m(x)) / s | x),

so that means, and their distances from m, and scales of all components are multiplied alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch

import torch
from torch import Tensor

from bnnbench.model import CategoricalPredictive, GaussianPredictive, Predictive

LEAST_T, LEAST_S, MOST = 0.1, 1e-3, 1e3  # where every validation row is classified right, T would go to 0
GRID = 60
GOLDEN = (math.sqrt(5) - 1) / 2
TOLERANCE = 1e-8  # of log T and log s


def temperature(validation: CategoricalPredictive, y: Tensor) -> float:
    """The T in [0.1, 1000] of largest likelihood of the classes y [N]; 1 where none has any."""
    mixture, classes = validation.mixture_log_probs(), y.long()[:, None]

    def loss(t: float) -> float:
        return -torch.log_softmax(mixture / t, -1).gather(-1, classes).mean().item()

    return best_factor(loss, LEAST_T, MOST)


def cooled(predictive: CategoricalPredictive, t: float) -> CategoricalPredictive:
    """The predictive at temperature t: one component, [1, N, K]."""
    return CategoricalPredictive(torch.log_softmax(predictive.mixture_log_probs() / t, -1)[None])


def stretch(validation: GaussianPredictive, y: Tensor) -> float:
    """The s in [0.001, 1000] of largest likelihood of the targets y [N]; 1 where none has any."""
    return best_factor(lambda s: -stretched(validation, s).log_prob(y).mean().item(), LEAST_S, MOST)


def stretched(predictive: GaussianPredictive, s: float) -> GaussianPredictive:
    """The predictive stretched by s about its mean."""
    centre = predictive.mean.mean(0)
    return GaussianPredictive(centre + s * (predictive.mean - centre), s * predictive.scale)


@singledispatch
def scaled(validation: Predictive, y: Tensor, test: Predictive) -> tuple[float, Predictive] | None:
    """The factor fitted on validation rows of targets y [N], and the predictive of the test rows after it; None of a
    kind that is neither a mixture of Gaussians nor of class probabilities."""
    del validation, y, test
    return None


@scaled.register
def _(validation: GaussianPredictive, y: Tensor, test: GaussianPredictive) -> tuple[float, Predictive]:
    factor = stretch(validation, y)
    return factor, stretched(test, factor)


@scaled.register
def _(validation: CategoricalPredictive, y: Tensor, test: CategoricalPredictive) -> tuple[float, Predictive]:
    factor = temperature(validation, y)
    return factor, cooled(test, factor)


def best_factor(loss: Callable[[float], float], least: float, most: float) -> float:
    """The positive factor of least loss: the best of a grid in its logarithm, refined by golden section between the
    neighbours. 1 where no factor of the grid has a finite loss."""
    low, step = math.log(least), math.log(most / least) / (GRID - 1)
    losses = [loss(math.exp(low + i * step)) for i in range(GRID)]
    if not any(map(math.isfinite, losses)):
        return 1.0
    best = min(range(GRID), key=lambda i: losses[i] if math.isfinite(losses[i]) else math.inf)
    a, b = low + max(best - 1, 0) * step, low + min(best + 1, GRID - 1) * step
    while b - a > TOLERANCE:
        c, d = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
        a, b = (a, d) if loss(math.exp(c)) <= loss(math.exp(d)) else (c, b)
    return math.exp((a + b) / 2)
