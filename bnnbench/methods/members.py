"""Several networks, each trained by another method, whose posteriors are mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.methods.base import Info, Method, State, positive
from bnnbench.model import Problem
from bnnbench.model.posteriors import Mixture


@dataclass(frozen=True)
class Members(Method):
    """A class that stands before that of a single network among the bases, and makes `members` of it.

    Each member has a start, minibatches, the full number of gradients and a posterior of its own; the predictive is
    that of the mixture with equal weights. Early stopping judges each member alone.

    Attributes:
        members: number of networks.
    """

    members: int = 5

    @property
    def num_networks(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.members

    def check(self) -> None:
        super().check()
        positive(self, "members")

    def init(self, key: Tensor, problem: Problem) -> State:
        one = super().init  # pyright: ignore[reportAbstractUsage]
        return vmap(lambda k: one(k, problem))(random.split(key, self.members))

    def update(self, key: Tensor, state: State, problem: Problem) -> tuple[State, Info]:
        one = super().update
        state, info = vmap(lambda k, own: one(k, own, problem))(random.split(key, self.members), state)
        return state, {name: value.mean() for name, value in info.items()}

    def finish(self, key: Tensor, state: State, problem: Problem) -> State:
        """One member after the other: curvature takes much memory."""
        keys = random.split(key, self.members).unbind(-2)
        done = [super(Members, self).finish(k, member(state, m), problem) for m, k in enumerate(keys)]
        return tree_map(lambda *leaves: torch.stack(leaves), *done)

    def posterior(self, state: State, draws: Any, problem: Problem) -> Mixture:
        one = super().posterior  # pyright: ignore[reportAbstractUsage]
        if draws is None:
            return Mixture(vmap(lambda own: one(own, None, problem))(state))
        return Mixture(vmap(lambda own, kept: one(own, kept, problem), in_dims=(0, 1))(state, draws))


def member(state: State, m: int) -> State:
    """The state of one member."""
    return tree_map(lambda leaf: leaf[m], state)
