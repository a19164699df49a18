"""Ensembles: an inner vmap over members, each of them a whole MAP network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.methods.base import METHODS, Info, Method, positive
from bnnbench.methods.map import MAP
from bnnbench.methods.optimise import AdamState
from bnnbench.methods.space import PRIOR_SCALE, RATE, Space, Uniform
from bnnbench.model import Problem
from bnnbench.model.posteriors import Draws


@METHODS.register
@dataclass(frozen=True)
class DeepEnsemble(Method):
    """Mixture of MAP networks from independent starts and minibatches, each with the full number of gradients.

    Early stopping judges each member alone, as it would a MAP network: a mixture hides a member that has exploded.

    Attributes:
        members: number of networks.
        lr: peak learning rate of each.
        prior_scale: factor of the prior's scale.
    """

    name = "ensemble-deep"
    version = 2
    citation = "Lakshminarayanan et al. 2017, arXiv 1612.01474"
    tags = ("ensembles",)
    family = "point"
    takes_rounded_products = True
    members: int = 5
    lr: float = 1e-2
    early_stopping: bool = True
    prior_scale: float = 1.0

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "prior_scale": PRIOR_SCALE}

    @property
    def num_networks(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.members

    def check(self) -> None:
        positive(self, "lr", "members", "prior_scale")

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        return vmap(lambda k: MAP(self.lr).init(k, problem))(random.split(key, self.members))

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        keys = random.split(key, self.members)
        state, info = vmap(lambda k, member: MAP(self.lr).update(k, member, problem))(keys, state)
        return state, {"loss": info["loss"].mean()}

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> Draws:
        del draws, problem
        return Draws(state.params, thinned=False)


class Resampled(NamedTuple):
    """Members, and how often each has every train row [members, M]; empty once they are trained."""

    fit: AdamState
    counts: Tensor


@METHODS.register
@dataclass(frozen=True)
class BootstrapEnsemble(DeepEnsemble):
    """Mixture of MAP networks, each trained on its own sample of the train rows.

    Attributes:
        subset_fraction: rows of a sample, as a fraction of the train rows.
        replacement: whether a row may be drawn several times.
    """

    name = "ensemble-bootstrap"
    version = 2
    citation = "Breiman 1996; Osband et al. 2016, arXiv 1602.04621"
    family = ""
    subset_fraction: float = 0.9
    replacement: bool = False

    @classmethod
    def space(cls) -> Space:
        return {**super().space(), "subset_fraction": Uniform(0.5, 1.0)}

    def check(self) -> None:
        super().check()
        if not 0 < self.subset_fraction <= 1:
            raise UserError(f"{self.name}.subset_fraction must lie in (0, 1], not {self.subset_fraction}.")

    def init(self, key: Tensor, problem: Problem) -> Resampled:
        draw = resample if self.replacement else subsample
        keys = random.split(random.fold_in(key, 1), self.members)
        counts = vmap(lambda k: draw(k, problem.rows.index, problem.rows.count, self.subset_fraction))(keys)
        return Resampled(super().init(key, problem), counts.to(problem.n))

    def update(self, key: Tensor, state: Resampled, problem: Problem) -> tuple[Resampled, Info]:
        def one(k: Tensor, member: AdamState, counts: Tensor) -> tuple[AdamState, Info]:
            return MAP(self.lr).update(k, member, problem.subset(counts))

        fit, info = vmap(one)(random.split(key, self.members), state.fit, state.counts)
        return state._replace(fit=fit), {"loss": info["loss"].mean()}

    def finish(self, key: Tensor, state: Resampled, problem: Problem) -> Resampled:
        del key, problem
        return state._replace(counts=state.counts[:, :0])

    def posterior(self, state: Resampled, draws: Any, problem: Problem) -> Draws:
        return super().posterior(state.fit, draws, problem)


def resample(key: Tensor, index: Tensor, count: Tensor, fraction: Tensor | float) -> Tensor:
    """How often each of `count` rows is among floor(fraction * count) draws with replacement; int64 [len(index)].

    Each draw has a key of its own, and none falls on a padding row: the length of the padding changes nothing.
    """
    number = torch.arange(index.shape[0], device=index.device)
    place = random.randint(random.fold_in(key, number), (), count)
    return torch.zeros_like(index).scatter_add(0, place, (number < torch.floor(fraction * count)).long())


def subsample(key: Tensor, index: Tensor, count: Tensor, fraction: Tensor | float) -> Tensor:
    """1 for floor(fraction * count) of the rows, drawn without replacement, else 0; int64 [len(index)].

    Each row has a key of its own; padding rows come last in the order of the draws.
    """
    number = torch.arange(index.shape[0], device=index.device)
    order = torch.where(number < count, random.uniform(random.fold_in(key, index), (), torch.float64), 2.0).argsort()
    return torch.zeros_like(index).scatter(0, order, (number < torch.floor(fraction * count)).long())
