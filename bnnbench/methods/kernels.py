r"""The RBF kernel between particles, with the median heuristic for its bandwidth, for methods that repel networks.

    k(u, u') = exp(-|u - u'|^2 / h),    h = med^2 / log K,

med being the median distance of the K particles' pairs (Liu & Wang 2016, arXiv 1608.04471, section 5): the others then
weigh about as much as a particle itself, sum_{j != i} k(u_i, u_j) ~ (K - 1) / K.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bnnbench.model import Params


class Kernel(NamedTuple):
    """k between all particles [K, K], symmetric with ones on its diagonal, and the bandwidth h, 0-dim."""

    values: Tensor
    bandwidth: Tensor

    def slope(self, points: Tensor) -> Tensor:
        """sum_j grad_{u_j} k(u_j, u_i) = (2 / h) sum_j k(u_j, u_i) (u_i - u_j), a part of the particles [K, ...]."""
        own = self.values.sum(1).reshape(-1, *(1 for _ in points.shape[1:]))
        return (own * points - torch.tensordot(self.values, points, 1)) * (2 / self.bandwidth)


def squared_distances(points: Params) -> Tensor:
    """|u_i - u_j|^2 [K, K] over all parts of the particles, each [K, ...].

    By inner products, about the particles' mean: differences would take K times the memory of all networks, and inner
    products of what lies far from 0 lose the digits of small distances.
    """
    centred = [(value - value.mean(0)).reshape(len(value), -1) for value in points.values()]
    gram = torch.stack([u @ u.mT for u in centred]).sum(0)
    square = torch.stack([(u * u).sum(1) for u in centred]).sum(0)
    return (square[:, None] + square[None] - 2 * gram).clamp(min=0.0) * (1 - torch.eye(len(gram)).to(gram))


def median_rbf(squared: Tensor) -> Kernel:
    """The kernel of particles at these squared distances [K, K], zeros on its diagonal; K >= 2."""
    particles = squared.shape[0]
    pairs = particles * (particles - 1) // 2
    middle = particles + pairs  # in order the diagonal comes first, then every pair twice: the median halves these
    median = squared.flatten().sort().values[middle - 1 : middle + 1].sqrt().mean()
    bandwidth = (median**2 / math.log(particles)).clamp(min=torch.finfo(squared.dtype).tiny)
    return Kernel(torch.exp(-squared / bandwidth), bandwidth)
