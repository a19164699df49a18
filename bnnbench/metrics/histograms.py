"""Distribution function, quantiles and CRPS of a mixture of histograms, whose distribution function is piecewise
linear: all exact."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bnnbench.model.predictive_forms import BinnedPredictive


def reached(predictive: BinnedPredictive) -> Tensor:
    """F at the edges of each point, from 0 to 1; [N, B + 1]."""
    return torch.nn.functional.pad(predictive.mass().cumsum(-1), (1, 0))


def cdf(predictive: BinnedPredictive, y: Tensor) -> Tensor:
    """F_n(y_n) at y [N]; [N]."""
    low, width = predictive.edges[0, :, :-1], predictive.edges[0].diff()
    return (predictive.mass() * ((y[:, None] - low) / width).clamp(0, 1)).sum(-1)


def quantiles(predictive: BinnedPredictive, levels: Sequence[float]) -> Tensor:
    """The lowest q with F(q) >= level, at each of L levels and N points; [L, N]."""
    below, mass = reached(predictive).contiguous(), predictive.mass()
    level = torch.as_tensor(levels, dtype=below.dtype, device=below.device).expand(len(below), -1).contiguous()
    place = (torch.searchsorted(below, level) - 1).clamp(0, mass.shape[-1] - 1)
    share = (level - below.gather(-1, place)) / mass.gather(-1, place)
    edges = predictive.edges[0]
    return torch.lerp(edges.gather(-1, place), edges.gather(-1, place + 1), share.nan_to_num(0.0).clamp(0, 1)).T


def crps(predictive: BinnedPredictive, y: Tensor) -> Tensor:
    """int (F(z) - 1{y <= z})^2 dz at y [N]; [N].

    Between neighbouring edges, and between an edge and y, the integrand is the square of a linear function from u to v,
    whose integral over a width w is w (u^2 + u v + v^2) / 3; beyond the bins it is 1 between them and y.
    """
    edges, below = predictive.edges[0], reached(predictive)
    low, high, start, end = edges[:, :-1], edges[:, 1:], below[:, :-1], below[:, 1:]
    cut = torch.minimum(torch.maximum(y[:, None], low), high)
    at = start + (end - start) * (cut - low) / (high - low)
    within = _squared(cut - low, start, at) + _squared(high - cut, at - 1, end - 1)
    beyond = (edges[:, 0] - y).clamp_min(0) + (y - edges[:, -1]).clamp_min(0)
    return within.sum(-1) + beyond


def _squared(width: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return width * (u * u + u * v + v * v) / 3
