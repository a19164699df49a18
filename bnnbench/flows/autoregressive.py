"""Autoregressive flows: every dimension is transformed given those before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bnnbench.flows.bijection import Bijection
from bnnbench.flows.conditioner import MADE
from bnnbench.flows.scalar import Scalar, checked


class Autoregressive(Bijection):
    """y_i = scalar(x_i; theta_i(x_1 ... x_i-1)): MAF with an affine transform (Papamakarios et al. 2017, arXiv
    1705.07057), an autoregressive spline with another.

    `forward` takes one pass of the network, `inverse` as many as there are dimensions. Its `Inverse` is the IAF (Kingma
    et al. 2016, arXiv 1606.04934).

    Args:
        scalar: the transform of each dimension.
        hidden: widths of the masked network theta.
        reverse: whether the last dimension comes first.
    """

    def __init__(
        self,
        dim: int,
        scalar: Scalar | None = None,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        reverse: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, context)
        self.scalar, self.reverse = checked(scalar), reverse
        order = list(reversed(range(dim)) if reverse else range(dim))
        self.conditioner = MADE(order, self.scalar.parameters, hidden, context, seed)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, slope = self.scalar.forward(x, self.conditioner(x, context))
        return y, slope.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, slope = torch.zeros_like(y), torch.zeros_like(y)
        place = torch.arange(self.dim, device=y.device)
        for i in reversed(range(self.dim)) if self.reverse else range(self.dim):
            # the others are not known yet, and what they give now must not reach x; the last slopes are all right
            found, slope = self.scalar.inverse(y, self.conditioner(x, context))
            x = torch.where(place == i, found, x)
        return x, slope.sum(-1)
