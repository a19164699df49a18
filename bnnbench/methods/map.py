r"""Maximum a posteriori: one step down U(w) = -(1/n) [sum_i log p(y_i | x_i, w) + log p(w)], by Adam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bnnbench.methods.base import METHODS, Info, Method, positive
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.methods.space import PRIOR_SCALE, RATE, Space
from bnnbench.model import Problem
from bnnbench.model.posteriors import Point, Posterior


@METHODS.register
@dataclass(frozen=True)
class MAP(Method):
    """Maximum a posteriori, by default under the task's prior.

    Attributes:
        lr: peak learning rate of the one-cycle schedule.
        prior_scale: factor of the prior's scale.
    """

    name = "map"
    citation = "Adam: Kingma & Ba 2015, arXiv 1412.6980"
    tags = ("optimisation",)
    family = "point"
    takes_rounded_products = True
    lr: float = 1e-2
    early_stopping: bool = True
    prior_scale: float = 1.0

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "prior_scale": PRIOR_SCALE}

    def check(self) -> None:
        positive(self, "lr", "prior_scale")

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        return adam_init(problem.init_params(key))

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        batch = problem.minibatch(key)
        return adam_step(lambda params: problem.energy(params, batch), state, problem, self.lr)

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> Posterior:
        del draws, problem
        return Point(state.params)
