"""Continuous ranked probability score of a Gaussian mixture, in closed form.

CRPS(F, y) = int (F(z) - 1{y <= z})^2 dz = E|X - y| - 1/2 E|X - X'|, X and X' independent draws of F, in the unit of
y (Gneiting & Raftery 2007, doi:10.1198/016214506000001437). For normal components both expectations are known (Grimit
et al. 2006, doi:10.1256/qj.05.235, equation 5), in O(S^2) a point.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnnbench.model.predictive import GaussianPredictive

CHUNK = 2**17  # distances held at once


def crps(predictive: GaussianPredictive, y: Tensor) -> Tensor:
    """CRPS of the mixture (1/S) sum_s N(mean_s, scale_s^2) at targets y [N]; [N].

        (1/S) sum_s A(mean_s - y, scale_s) - (1/S^2) [sum_{s<t} A(mean_s - mean_t, sqrt(scale_s^2 + scale_t^2))
                                                     + sum_s scale_s / sqrt(pi)]

    with A(m, s) = E|N(m, s^2)|.
    """
    components, n = predictive.mean.shape
    scores = []
    for rows in torch.arange(n, device=y.device).split(max(1, CHUNK // components)):
        # Centred at the target, so that an offset of all costs no digits.
        mean, scale = predictive.mean[:, rows] - y[rows], predictive.scale[:, rows]
        apart = scale.sum(0) / math.sqrt(math.pi)
        for lag in range(1, components):  # all pairs s < t, those of equal t - s at once
            gap, width = mean[lag:] - mean[:-lag], torch.hypot(scale[lag:], scale[:-lag])
            apart += expected_distance(gap, width).sum(0)
        scores.append(expected_distance(mean, scale).mean(0) - apart / components**2)
    return torch.cat(scores)


def expected_distance(mean: Tensor, scale: Tensor) -> Tensor:
    """E|X| of X ~ N(mean, scale^2): mean erf(z) + scale sqrt(2 / pi) exp(-z^2), z = mean / (scale sqrt 2)."""
    z = mean / (scale * math.sqrt(2))
    return mean * torch.erf(z) + scale * math.sqrt(2 / math.pi) * torch.exp(-z.square())
