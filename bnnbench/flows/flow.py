"""A density: a bijection of data to standard normal noise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bnnbench import random
from bnnbench.flows.bijection import Bijection, Chain, Inverse, required
from bnnbench.flows.count import numbers_per_example
from bnnbench.flows.inputs import check_context, check_draws, check_vectors


class Flow(nn.Module):
    """The density p(x | c) = N(f(x; c); 0, 1) |det df/dx| of a bijection f.

    Args:
        bijection: f, from data to noise; `Inverse(g)` for a g from noise to data.

    Raises, here and from what takes vectors, contexts or keys:
        UserError: f is no bijection; vectors or contexts are no tensors of the flow's length and precision; a context
            is missing, not wanted, or for another number of vectors; there is no key, or less than no draw.
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = required(bijection)

    @property
    def dim(self) -> int:
        """Length of an event."""
        return self.bijection.dim

    @property
    def layers(self) -> list[Bijection]:
        """Its bijections in the order from data to noise."""
        if isinstance(self.bijection, Inverse) and isinstance(self.bijection.bijection, Chain):
            return [Inverse(part) for part in reversed(self.bijection.bijection.parts)]  # type: ignore[arg-type, call-overload]
        if isinstance(self.bijection, Chain):
            return list(self.bijection.parts)  # type: ignore[arg-type]
        return [self.bijection]

    def numbers_per_example(self) -> int:
        """Numbers that a fit computes and keeps for one example; most are no layer's output."""
        return numbers_per_example(self.bijection)

    def forward(self, *arguments: Any, call: str = "log_prob") -> Any:
        """`log_prob`, or another method by its name, for `torch.func.functional_call` knows this one alone."""
        return getattr(self, call)(*arguments)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x | context) [...] in nats of vectors x [..., dim]."""
        self._check(x, context)
        noise, logdet = self.bijection(x, context)
        return normal_log_prob(noise) + logdet

    def sample(self, key: Tensor, n: int, context: Tensor | None = None) -> Tensor:
        """n draws [n, dim] (`key = bnnbench.random.key(seed)`), given one context [context] or one for each draw."""
        return self.sample_and_log_prob(key, n, context)[0]

    def sample_and_log_prob(self, key: Tensor, n: int, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """n draws [n, dim] and log p of each [n], at the cost of the draws alone; differentiable in the parameters."""
        check_draws(key, n)
        like = next(self.parameters(), torch.empty(0))
        noise = random.normal(key.to(like.device), (n, self.dim), like.dtype)
        self._check(noise, context)
        x, logdet = self.bijection.inverse(noise, context)
        return x, normal_log_prob(noise) - logdet

    def path(self, noise: Tensor, context: Tensor | None = None) -> list[Tensor]:
        """The way of noise [..., dim] through the layers: itself first, the draws that it gives last."""
        self._check(noise, context)
        found = [noise]
        for layer in reversed(self.layers):
            found.append(layer.inverse(found[-1], context)[0])
        return found

    def fitted(self, x: Tensor, context: Tensor | None = None) -> dict[str, Tensor]:
        """Parameters by name that start from data x [N, dim] (ActNorm)."""
        return {f"bijection.{name}": value for name, value in self.bijection.fitted(x, context).items()}

    @torch.no_grad()
    def fit_start(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start what starts from data (ActNorm) by x [N, dim], once and before training."""
        self._check(x, context)
        self.bijection.fit_start(x, context)

    def _check(self, x: Tensor, context: Tensor | None) -> None:
        first = next(self.parameters(), None)  # without parameters a flow is of no precision
        check_vectors(x, self.dim, None if first is None else first.dtype)
        check_context(context, self.bijection.context, x)


def normal_log_prob(x: Tensor) -> Tensor:
    """log N(x; 0, 1) [...] of vectors x [..., dim]."""
    return -0.5 * (x * x).sum(-1) - 0.5 * x.shape[-1] * math.log(2 * math.pi)
