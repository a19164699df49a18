"""Quantiles of a Gaussian mixture, to rounding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnnbench.model.predictive import LOG_2PI, GaussianPredictive

MOST_STEPS = 100  # 60 halvings alone would end at the rounding of the bracket's ends
ROUNDING, SMALL = 4 * torch.finfo(torch.float64).eps, 1e-12  # of a quantile, and of the narrowest component
CHUNK = 2**18  # components held at once


def quantiles(predictive: GaussianPredictive, levels: tuple[float, ...]) -> Tensor:
    """The mixture's quantiles q with F(q) = level, at each of L levels and N points, in float64; [L, N]."""
    level = torch.tensor(levels, dtype=torch.float64, device=predictive.mean.device)
    mean, scale = (part.T.double().contiguous() for part in predictive)  # [N, S]
    rows = max(1, CHUNK // (len(levels) * mean.shape[1]))
    found = [
        _solved(m.repeat_interleave(len(levels), 0), s.repeat_interleave(len(levels), 0), level.repeat(len(m)))
        for m, s in zip(mean.split(rows), scale.split(rows), strict=True)
    ]
    return torch.cat(found).reshape(-1, len(levels)).T


def quantile(predictive: GaussianPredictive, level: float) -> Tensor:
    """The mixture's quantile at each of N points; [N]."""
    return quantiles(predictive, (level,))[0]


def _solved(mean: Tensor, scale: Tensor, level: Tensor) -> Tensor:
    """The quantile of each of P mixtures of components [P, S] at a level of its own [P]; [P].

    Newton's steps on the cdf from the quantile of the normal with the same moments, kept within a bracket and replaced
    by a bisection where they leave it or are more than half as long as the last (Press et al. 2007, Numerical Recipes,
    section 9.4). The components' own quantiles are the bracket: at the largest, none has less than `level` below it.
    """
    z = torch.special.ndtri(level)
    own = mean + z[:, None] * scale
    low, high, spread = own.min(1).values, own.max(1).values, mean.var(1, correction=0) + (scale**2).mean(1)
    found = torch.clamp(mean.mean(1) + z * spread.sqrt(), low, high)
    points, last = torch.arange(len(found), device=found.device), high - low
    for _ in range(MOST_STEPS):
        if not len(points):
            break
        at = found[points]
        excess, density = _excess(mean, scale, at, level)
        low[points], high[points] = torch.where(excess < 0, at, low[points]), torch.where(excess < 0, high[points], at)
        newton = torch.where(excess == 0, at, at - excess / density)
        bad = (newton < low[points]) | (newton > high[points]) | (2 * (newton - at).abs() > last[points])
        found[points] = torch.where(bad | newton.isnan(), (low[points] + high[points]) / 2, newton)
        last[points] = (found[points] - at).abs()
        moving = last[points] > ROUNDING * at.abs() + SMALL * scale.min(1).values
        points, mean, scale, level = points[moving], mean[moving], scale[moving], level[moving]
    return found


def _excess(mean: Tensor, scale: Tensor, at: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """F(at) - level and the density there, [P] each."""
    z = (at[:, None] - mean) / scale
    below = 0.5 + 0.5 * torch.erf(z * math.sqrt(0.5))  # twice as fast as ndtr, and as good away from the far tails
    return below.mean(1) - level, (torch.exp(-0.5 * (z**2 + LOG_2PI)) / scale).mean(1)
