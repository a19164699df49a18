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
    of w.x. With a context, w, u and b are linear in it: an amortised posterior's flow. The paper has c = 0; here
    softplus(c) = 1, the same maps for other u, so that u = 0 is the identity: many layers start near it.
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
        w, u, b, pull = self._values(context)
        bend = torch.tanh((w * x).sum(-1) + b)
        return x + u * bend[..., None], torch.log1p(pull * (1 - bend * bend))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w, u, b, pull = self._values(context)
        along = _planar_root((w * y).sum(-1), pull, b)
        bend = torch.tanh(along + b)
        return y - u * bend[..., None], -torch.log1p(pull * (1 - bend * bend))

    def _values(self, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """w, u_hat, b and w.u_hat."""
        if self.context:
            assert context is not None
            place, u = self.place(context), self.push(context)
            w, b = place[..., :-1], place[..., -1]
        else:
            (w, u), b = self.weight, self.bias[0]
        product = (w * u).sum(-1)
        pull = F.softplus(product + START) - 1
        length = (w * w).sum(-1).clamp(min=torch.finfo(w.dtype).tiny)
        return w, u + ((pull - product) / length)[..., None] * w, b, pull


def _planar_root(target: Tensor, pull: Tensor, b: Tensor) -> Tensor:
    """a with a + pull tanh(a + b) = target: halving of a bracket, then a Newton step, through which gradients go."""
    with torch.no_grad():
        low, high = target - pull.abs(), target + pull.abs()
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = middle + pull * torch.tanh(middle + b) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        a = (low + high) / 2
        slope = 1 + pull * (1 - torch.tanh(a + b) ** 2)
    return a - (a + pull * torch.tanh(a + b) - target) / slope


class Radial(Bijection):
    """y = x + beta h(r) (x - c), r = |x - c|, h = 1 / (alpha + r), alpha > 0, beta > -alpha.

    log det = (dim - 1) log(1 + beta h) + log(1 + alpha beta h^2).
    """

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__(dim)
        self.weight, self.bias = nn.Parameter(torch.zeros(1, dim)), nn.Parameter(torch.zeros(2))
        self.load_state_dict(initialise(self, random.key(seed)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        alpha, beta = self._values()
        away = x - self.weight[0]
        h = 1 / (alpha + _length(away))
        return x + (beta * h)[..., None] * away, self._log_det(alpha, beta, h)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        alpha, beta = self._values()
        away = y - self.weight[0]
        reach = _length(away)  # = r (1 + beta / (alpha + r)), a quadratic equation in r
        half = (alpha + beta - reach) / 2
        root = (half * half + alpha * reach).sqrt()
        r = torch.where(half > 0, alpha * reach / (half + root), root - half)  # neither form cancels where it is taken
        h = 1 / (alpha + r)
        return self.weight[0] + away / (1 + beta * h)[..., None], -self._log_det(alpha, beta, h)

    def _values(self) -> tuple[Tensor, Tensor]:
        alpha = F.softplus(self.bias[0])
        return alpha, F.softplus(self.bias[1]) - alpha

    def _log_det(self, alpha: Tensor, beta: Tensor, h: Tensor) -> Tensor:
        return (self.dim - 1) * torch.log1p(beta * h) + torch.log1p(alpha * beta * h * h)


def _length(x: Tensor) -> Tensor:
    """|x|, whose gradient at 0 is 0."""
    square = (x * x).sum(-1)
    some = square > 0
    return torch.where(some, torch.where(some, square, 1.0).sqrt(), 0.0)
