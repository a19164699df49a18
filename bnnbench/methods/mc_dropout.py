r"""Monte Carlo dropout: U(w) is minimised under random masks, and prediction averages over masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from bnnbench.layers import keyed, with_dropout
from bnnbench.methods.base import METHODS, Info, Method, fraction, positive
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.model import Params, Predictive, Problem
from bnnbench.model.posteriors import FunctionSpace, tree


@tree
class Masked(FunctionSpace):
    """A network under random masks of its units: a sample is one mask for all rows, hence one function."""

    params: Params
    rate: Tensor

    def size(self, samples: int) -> int:
        return samples

    def predict(self, sample: Tensor, problem: Problem, x: Tensor) -> Predictive:
        x = problem.standardise(x)

        def component(key: Tensor) -> Predictive:
            with keyed(key, rate=self.rate, shared=True):
                return problem.component(self.params, problem.apply(self.params, x))

        return vmap(component)(sample)

    def parameters(self, key: Tensor, problem: Problem) -> Params:
        return self.params


@METHODS.register
@dataclass(frozen=True)
class MCDropout(Method):
    """Dropout before every linear layer but the first, in training and at test.

    Training draws a mask per example; a predictive sample is one mask for all test points, hence one function.

    Attributes:
        rate: probability of dropping a unit.
        lr: peak learning rate of the one-cycle schedule.
        prior_scale: factor of the prior's scale.
    """

    name = "mc-dropout"
    citation = "Gal & Ghahramani 2016, arXiv 1506.02142"
    tags = ("dropout",)
    rate: float = 0.02
    lr: float = 3e-3
    early_stopping: bool = True
    prior_scale: float = 1.0

    def check(self) -> None:
        positive(self, "lr", "prior_scale")
        fraction(self, "rate")

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def prepare(self, problem: Problem) -> Problem:
        return problem.with_network(with_dropout(problem.network))

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        return adam_init(problem.init_params(key))

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        batch = problem.minibatch(key)

        def energy(params: dict[str, Tensor]) -> Tensor:
            with keyed(key, rate=self.rate):
                return problem.energy(params, batch)

        return adam_step(energy, state, problem, self.lr)

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> Masked:
        del draws
        return Masked(state.params, torch.as_tensor(self.rate).to(problem.t))
