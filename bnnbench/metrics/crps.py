"""Continuous ranked probability score of a Gaussian mixture, from keyed samples.

CRPS(F, y) = int (F(z) - 1{y <= z})^2 dz = E|X - y| - 1/2 E|X - X'|, X and X' independent draws of F, in the unit of
y (Gneiting & Raftery 2007, doi:10.1198/016214506000001437). The closed form for normal mixtures (Grimit et al. 2006,
doi:10.1256/qj.05.235) takes O(S^2) a point; sorted samples take O(M log M).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bnnbench import random
from bnnbench.model.predictive import GaussianPredictive

SAMPLES = 1000  # at least, per point
CHUNK = 2**21  # samples held at once; numbers do not depend on it


def crps(predictive: GaussianPredictive, y: Tensor, key: Tensor) -> Tensor:
    """Stratified fair CRPS of each point; unbiased for the mixture's own CRPS at any number of samples; [N].

    Each of the S terms gives m = ceil(1000 / S) samples x, M = S m in all:

        (1/M) sum_i |x_i - y| - 1/2 [(1/M^2) sum_ij |x_i - x_j| + (1/M) (1/S) sum_s 2 scale_s / sqrt(pi)].

    Equal shares from each term remove the noise of picking terms. The last summand stands for the M pairs (i, i):
    they are pairs of one term, of which two independent draws would lie 2 scale_s / sqrt(pi) apart on average. Without
    it the score is the plain one, biased; the usual fair factor 1/(M (M - 1)) is unbiased for unstratified draws only.
    """
    terms, n = predictive.mean.shape
    share = math.ceil(SAMPLES / terms)
    scores = []
    for rows in torch.arange(n, device=y.device).split(max(1, CHUNK // (terms * share))):
        mean, scale = predictive.mean[:, rows].T, predictive.scale[:, rows].T
        # A stream of its own for each row, so that chunks change no number.
        noise = random.normal(random.fold_in(key, rows), (terms, share)).to(mean)
        x = mean[..., None] + scale[..., None] * noise
        same = scale.mean(1) * (2 / math.sqrt(math.pi)) / (terms * share)
        scores.append(sample_crps(x.flatten(1), y[rows], same))
    return torch.cat(scores)


def sample_crps(x: Tensor, y: Tensor, same: Tensor | float = 0.0) -> Tensor:
    """(1/M) sum_i |x_i - y| - 1/2 [(1/M^2) sum_ij |x_i - x_j| + same] for samples x [N, M] and targets y [N]; [N].

    Sorted, sum_ij |x_i - x_j| = 2 sum_i (2 i - M - 1) x_(i), i = 1 ... M. With same = 0 this is the plain score, the
    exact CRPS of the empirical distribution.
    """
    size = x.shape[1]
    rank = 2 * torch.arange(1, size + 1, dtype=x.dtype, device=x.device) - size - 1
    centred = _sorted(x - y[:, None])  # the ranks sum to 0, so the shift only saves digits
    return centred.abs().mean(1) - centred @ rank / size**2 - 0.5 * same


def _sorted(x: Tensor) -> Tensor:
    """Each row in ascending order; on a CPU by numpy, whose sort is ten times faster."""
    return x.sort(1).values if x.is_cuda else torch.from_numpy(np.sort(x.detach().numpy(), axis=1))
