"""The monotone rational-quadratic spline of Durkan et al. (2019, arXiv 1906.04032)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bnnbench.errors import UserError
from bnnbench.flows.inputs import check_positive, check_whole
from bnnbench.flows.scalar import Scalar


class _Bin(NamedTuple):
    """Corner (x, y), width, height and the slopes at both ends of the bins in which the numbers lie, each [..., D]."""

    x: Tensor
    width: Tensor
    y: Tensor
    height: Tensor
    first: Tensor
    last: Tensor


@dataclass(frozen=True)
class RationalQuadratic(Scalar):
    r"""A spline on [-B, B] through K + 1 knots (x_k, y_k), the identity outside.

    With xi = (x - x_k) / w_k, s = h_k / w_k and the slopes d_k, d_k+1 at the ends of the bin,

        y = y_k + h_k (s xi^2 + d_k xi (1 - xi)) / (s + (d_k + d_k+1 - 2 s) xi (1 - xi)).

    Widths and heights are softmaxed, at least `smallest` of the interval each; slopes are softplussed, at least
    `smallest`, and 1 at the two ends. The parameters are K widths, K heights and K - 1 inner slopes.

    Every step is elementwise, the bins being walked through instead of searched and gathered, so that a compiler makes
    one loop of it.

    Raises:
        UserError: there is no bin, no interval, or not room enough for the bins at their smallest.
    """

    bins: int = 8
    bound: float = 5.0
    smallest: float = 1e-3

    def __post_init__(self) -> None:
        check_whole("The number of a spline's bins", self.bins, 1)
        check_positive("The bound of a spline", self.bound)
        if not isinstance(self.smallest, Real) or not 0 <= self.smallest * self.bins < 1:
            raise UserError(
                f"The {self.bins} bins of a spline, at their smallest {self.smallest} of the interval each, leave no "
                "room; take fewer of them or smaller ones."
            )

    @property
    def parameters(self) -> int:
        return 3 * self.bins - 1

    def forward(self, x: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        inside = x.abs() < self.bound
        at = x.clamp(-self.bound, self.bound)
        b = self._bin(at, theta, by_height=False)
        xi = (at - b.x) / b.width
        s, mixed = b.height / b.width, xi * (1 - xi)
        rest = b.first + b.last - 2 * s
        y = b.y + b.height * (s * xi * xi + b.first * mixed) / (s + rest * mixed)
        return torch.where(inside, y, x), torch.where(inside, _log_slope(b, s, xi), 0.0)

    def inverse(self, y: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        inside = y.abs() < self.bound
        at = y.clamp(-self.bound, self.bound)
        b = self._bin(at, theta, by_height=True)
        s, up = b.height / b.width, at - b.y
        rest = up * (b.first + b.last - 2 * s)
        # xi solves p xi^2 + q xi + r = 0, r <= 0; neither form of its root cancels where it is taken
        p, q, r = b.height * (s - b.first) + rest, b.height * b.first - rest, -s * up
        root = (q * q - 4 * p * r).clamp(min=0).sqrt()
        rises = q >= 0
        xi = torch.where(rises, -2 * r, root - q) / torch.where(rises, q + root, 2 * p)
        return torch.where(inside, b.x + xi * b.width, y), torch.where(inside, -_log_slope(b, s, xi), 0.0)

    def _bin(self, at: Tensor, theta: Sequence[Tensor], by_height: bool) -> _Bin:
        """The bins in which numbers lie."""
        widths, heights = self._shares(theta[: self.bins]), self._shares(theta[self.bins : 2 * self.bins])
        end = torch.zeros_like(at)
        raw = [end, *theta[2 * self.bins :], end]
        corner = torch.full_like(at, -self.bound)
        x, y = corner, corner
        found = _Bin(x, widths[0], y, heights[0], raw[0], raw[1])
        for k in range(1, self.bins):
            x, y = x + widths[k - 1], y + heights[k - 1]
            beyond = at >= (y if by_height else x)
            here = _Bin(x, widths[k], y, heights[k], raw[k], raw[k + 1])
            found = _Bin(*(torch.where(beyond, new, old) for new, old in zip(here, found, strict=True)))
        return found._replace(first=self._slope(found.first), last=self._slope(found.last))

    def _shares(self, theta: Sequence[Tensor]) -> list[Tensor]:
        """Softmax over K tensors, each at least `smallest`, that sum to the length of the interval."""
        top = theta[0]
        for other in theta[1:]:
            top = torch.maximum(top, other)
        powers = [(value - top.detach()).exp() for value in theta]
        total = powers[0]
        for power in powers[1:]:
            total = total + power
        free = 2 * self.bound * (1 - self.bins * self.smallest) / total
        return [2 * self.bound * self.smallest + free * power for power in powers]

    def _slope(self, raw: Tensor) -> Tensor:
        """Softplus, shifted so that 0 gives 1."""
        return self.smallest + F.softplus(raw + math.log(math.expm1(1 - self.smallest)))


def _log_slope(b: _Bin, s: Tensor, xi: Tensor) -> Tensor:
    """log dy/dx = log s^2 (d_k+1 xi^2 + 2 s xi (1 - xi) + d_k (1 - xi)^2) / (s + ...)^2."""
    mixed = xi * (1 - xi)
    top = s * s * (b.last * xi * xi + 2 * s * mixed + b.first * (1 - xi) * (1 - xi))
    bottom = s + (b.first + b.last - 2 * s) * mixed
    return (top / (bottom * bottom)).log()
