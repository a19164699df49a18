"""Coupling layers: one half of a vector gives the parameters by which the other is transformed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bnnbench.errors import UserError
from bnnbench.flows.bijection import Bijection
from bnnbench.flows.conditioner import Conditioner
from bnnbench.flows.scalar import Scalar, checked


class Coupling(Bijection):
    """y = (x_a, scalar(x_b; theta(x_a))): NICE, RealNVP or a spline, by the scalar transform alone (Dinh et al. 2017,
    arXiv 1605.08803).

    Args:
        scalar: the transform of the second half.
        hidden, activation: widths of the network theta, and "relu" or "tanh".
        swap: whether the first half is transformed, given the second.

    Raises:
        UserError: a single dimension has no halves, or the transform is none.
    """

    def __init__(
        self,
        dim: int,
        scalar: Scalar | None = None,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        swap: bool = False,
        activation: str = "relu",
        seed: int = 0,
    ) -> None:
        super().__init__(dim, context)
        if dim < 2:
            raise UserError("A coupling needs two dimensions or more; take an Autoregressive flow for one.")
        self.scalar, self.swap = checked(scalar), swap
        first = dim // 2 if swap else dim - dim // 2
        self.sizes = (first, dim - first)
        kept, moved = reversed(self.sizes) if swap else self.sizes
        self.conditioner = Conditioner(kept, moved, self.scalar.parameters, hidden, context, activation, seed=seed)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, moved = self._halves(x)
        moved, slope = self.scalar.forward(moved, self.conditioner(kept, context))
        return self._joined(kept, moved), slope.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, moved = self._halves(y)
        moved, slope = self.scalar.inverse(moved, self.conditioner(kept, context))
        return self._joined(kept, moved), slope.sum(-1)

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What stays and what is transformed."""
        # split and joined along a leading axis, so that values and gradients stay feature-first
        first, second = (half.movedim(0, -1) for half in x.movedim(-1, 0).split(self.sizes))
        return (second, first) if self.swap else (first, second)

    def _joined(self, kept: Tensor, moved: Tensor) -> Tensor:
        halves = (moved, kept) if self.swap else (kept, moved)
        return torch.cat([half.movedim(-1, 0) for half in halves]).movedim(0, -1)
