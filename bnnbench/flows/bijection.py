"""Invertible maps of vectors with the logarithm of their volume change, their chains and their inverses."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bnnbench.errors import UserError
from bnnbench.flows.inputs import check_data, check_whole
from bnnbench.nets import Params


class Bijection(nn.Module):
    """An invertible map of R^dim onto itself, given a context of `context` numbers where that is not 0.

    Both directions take vectors [..., dim] and contexts [..., context] and return the image [..., dim] with
    log |det d image / d argument| [...]. By convention of this library `forward` leads from data to noise.

    Raises:
        UserError: dimension or context are no whole numbers, there is no dimension, or less than no context.
    """

    def __init__(self, dim: int, context: int = 0) -> None:
        check_whole("The dimension of a flow", dim, 1)
        check_whole("The length of a flow's context", context, 0)
        super().__init__()
        self.dim, self.context = dim, context

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x -> (y, log |det dy/dx|)."""
        raise NotImplementedError

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """y -> (x, log |det dx/dy|)."""
        raise NotImplementedError

    def fitted(self, x: Tensor, context: Tensor | None = None) -> Params:
        """Parameters by name that are to start from data x [N, dim]: of most bijections, none."""
        del x, context
        return {}

    @torch.no_grad()
    def fit_start(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start those parameters from data x [N, dim], once and before training."""
        check_data(x)
        for name, value in self.fitted(x, context).items():
            self.get_parameter(name).copy_(value)


def feature_first(x: Tensor) -> Tensor:
    """The same x [..., dim], each dimension contiguous in memory over the examples, so that elementwise transforms and
    the sums of their gradients run at full width in any dimension.
    """
    return x.movedim(-1, 0).contiguous().movedim(0, -1)


def required(part: object) -> Bijection:
    """A part of a flow, if it is a bijection."""
    if not isinstance(part, Bijection):
        remedy = "; take its `bijection`" if hasattr(part, "bijection") else ""
        raise UserError(f"Flows are made of bijections, and a {type(part).__name__} is none{remedy}.")
    return part


class Chain(Bijection):
    """One bijection after the other, the first one first in the direction of `forward`. Those that take no context
    disregard it.

    Raises:
        UserError: there are none, or they are no bijections or differ in dimension, or those that take a context in its
            length.
    """

    def __init__(self, bijections: Iterable[Bijection]) -> None:
        if not isinstance(bijections, Iterable) or isinstance(bijections, Tensor):
            raise UserError(f"A Chain takes a list of bijections, not a {type(bijections).__name__}.")
        parts = [required(part) for part in bijections]
        if not parts:
            raise UserError("A flow needs one layer or more.")
        dims, contexts = {part.dim for part in parts}, {part.context for part in parts if part.context}
        for name, found in (("dimension", dims), ("length of the context", contexts)):
            if len(found) > 1:
                raise UserError(f"The layers of a flow share one {name}, but these have {sorted(found)}.")
        super().__init__(dims.pop(), max(contexts, default=0))
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total: Tensor | float = 0.0
        x = feature_first(x)
        for part in self.parts:
            x, logdet = part(x, context)
            total = total + logdet
        assert isinstance(total, Tensor)
        return x, total

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total: Tensor | float = 0.0
        y = feature_first(y)
        for part in reversed(list(self.parts)):
            y, logdet = part.inverse(y, context)  # type: ignore[operator]
            total = total + logdet
        assert isinstance(total, Tensor)
        return y, total

    def fitted(self, x: Tensor, context: Tensor | None = None) -> Params:
        found: Params = {}
        for i, part in enumerate(self.parts):
            own = part.fitted(x, context)  # type: ignore[operator]
            found |= {f"parts.{i}.{name}": value for name, value in own.items()}
            x, _ = functional_call(part, own, (x, context))
        return found


class Inverse(Bijection):
    """A bijection with its two directions exchanged.

    Raises:
        UserError: it is no bijection, or, where it is to start from data, holds an ActNorm.
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__(required(bijection).dim, bijection.context)
        self.bijection = bijection

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection(y, context)

    def fitted(self, x: Tensor, context: Tensor | None = None) -> Params:
        if self.bijection.fitted(x, context):
            raise UserError("An ActNorm within an Inverse cannot start from data: invert the other layers one by one.")
        return {}
