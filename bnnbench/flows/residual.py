"""Planar and radial flows (Rezende & Mohamed 2015, arXiv 1505.05770)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnnbench import random
from bnnbench.flows.bijection import Bijection
from bnnbench.nets import initialise

HALVINGS = 50  # of the bracket around a planar flow's root
START = math.log(math.expm1(1))  # softplus(START) = 1


class Planar(Bijection):
    """y = x + u_hat tanh(w.x + b), with u_hat = u + (softplus(w.u + c) - 1 - w.u) w / |w|^2, so that w.u_hat > -1.

    log det = log(1 + w.u_hat (1 - tanh^2)). The inverse has no closed form; it takes the root of one monotone function
    of w.x, and has first derivatives only. With a context, w, u and b are linear in it: an amortised posterior's flow.
    The paper has c = 0; here softplus(c) = 1, the same maps for other u, so that u = 0 is the identity: many layers
    start near it.
    """

    def __init__(self, dim: int, context: int = 0, seed: int = 0) -> None:
        super().__init__(dim, context)
        if context:
            self.place, self.push = nn.Linear(context, dim + 1), nn.Linear(context, dim)
            self.push.starts_at_zero = True  # type: ignore[assignment]  # else an encoder begins behind random layers
            for value in self.push.parameters():
                nn.init.zeros_(value)
        else:
            self.weight, self.bias = nn.Parameter(torch.zeros(2, dim)), nn.Parameter(torch.zeros(1))
        self.load_state_dict(initialise(self, random.key(seed)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w, u, b, least = self._values(context)
        bend = torch.tanh((w * x).sum(-1) + b)
        return x + u * bend[..., None], _slope(bend, least).log()

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w, u, b, least = self._values(context)
        along = _planar_root((w * y).sum(-1), least, b)
        bend = torch.tanh(along + b)
        return y - u * bend[..., None], -_slope(bend, least).log()

    def _values(self, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """w, u_hat, b and 1 + w.u_hat, which would be 0 in single precision if it were summed."""
        if self.context:
            assert context is not None
            place, u = self.place(context), self.push(context)
            w, b = place[..., :-1], place[..., -1]
        else:
            (w, u), b = self.weight, self.bias[0]
        product = (w * u).sum(-1)
        tiny = torch.finfo(w.dtype).tiny
        least = F.softplus(product + START).clamp(min=tiny)
        length = (w * w).sum(-1).clamp(min=tiny)
        return w, u + ((least - 1 - product) / length)[..., None] * w, b, least


def _slope(bend: Tensor, least: Tensor) -> Tensor:
    """1 + w.u_hat (1 - tanh^2), as a mean of 1 and 1 + w.u_hat, of which nothing cancels."""
    return bend * bend + least * (1 - bend * bend)


def _planar_root(target: Tensor, least: Tensor, b: Tensor) -> Tensor:
    """a with a + w.u_hat tanh(a + b) = target: halving of a bracket, with the gradients of the implicit function."""
    pull = least - 1
    with torch.no_grad():
        low, high = target - pull.abs(), target + pull.abs()
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = middle + pull * torch.tanh(middle + b) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        a = (low + high) / 2
        slope = _slope(torch.tanh(a + b), least)
    excess = a + pull * torch.tanh(a + b) - target
    return a - (excess - excess.detach()) / slope


class Radial(Bijection):
    """y = x + beta h(r) (x - c), r = |x - c|, h = 1 / (alpha + r), alpha > 0, beta > -alpha.

    log det = (dim - 1) log(1 + beta h) + log(1 + alpha beta h^2). It takes no context: one map for all.
    """

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__(dim)
        self.weight, self.bias = nn.Parameter(torch.zeros(1, dim)), nn.Parameter(torch.zeros(2))
        self.load_state_dict(initialise(self, random.key(seed)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        alpha, end = self._values()
        away = x - self.weight[0]
        r = _length(away)
        return x + ((end - alpha) / (alpha + r))[..., None] * away, self._log_det(alpha, end, r)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        alpha, end = self._values()
        away = y - self.weight[0]
        reach = _length(away)  # = r (1 + beta / (alpha + r)), a quadratic equation in r
        half = (end - reach) / 2
        root = (half * half + alpha * reach).sqrt()
        above = half > 0  # neither form cancels where it is taken, nor divides by 0 where it is not
        r = torch.where(above, alpha * reach / torch.where(above, half + root, 1.0), root - half)
        return self.weight[0] + away * ((alpha + r) / (end + r))[..., None], -self._log_det(alpha, end, r)

    def _values(self) -> tuple[Tensor, Tensor]:
        """alpha and alpha + beta."""
        return F.softplus(self.bias[0]), F.softplus(self.bias[1])

    def _log_det(self, alpha: Tensor, end: Tensor, r: Tensor) -> Tensor:
        """Both factors over h and h^2, as sums of what is positive."""
        log_h = -(alpha + r).log()
        around = (end + r).log() + log_h
        return (self.dim - 1) * around + (r * r + alpha * (2 * r + end)).log() + 2 * log_h


def _length(x: Tensor) -> Tensor:
    """|x|, whose gradient at 0 is 0."""
    square = (x * x).sum(-1)
    some = square > 0
    return torch.where(some, torch.where(some, square, 1.0).sqrt(), 0.0)
