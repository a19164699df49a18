r"""Monte Carlo dropout: U(w) is minimised under random masks, and prediction averages over masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.func import vmap

from bnnbench import random
from bnnbench.layers import keyed, with_dropout
from bnnbench.methods.base import METHODS, Info, Method, fraction, positive
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.model import Predictive, Problem


@METHODS.register
@dataclass(frozen=True)
class MCDropout(Method):
    """Dropout before every linear layer but the first, in training and at test.

    Training draws a mask per example; a predictive sample is one mask for all test points, hence one function.

    Attributes:
        rate: probability of dropping a unit.
        lr: peak learning rate of the one-cycle schedule.
    """

    name = "mc-dropout"
    citation = "Gal & Ghahramani 2016, arXiv 1506.02142"
    tags = ("dropout",)
    rate: float = 0.02
    lr: float = 3e-3
    early_stopping: bool = True

    def check(self) -> None:
        positive(self, "lr")
        fraction(self, "rate")

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

    def terms(self, state: AdamState, collected: int, samples: int) -> int:
        del state, collected
        return samples

    def predict(
        self, key: Tensor, state: AdamState, draws: Any, problem: Problem, x: Tensor, samples: int | random.Span
    ) -> Predictive:
        del draws
        x = problem.standardise(x)

        def sample(k: Tensor) -> Predictive:
            with keyed(k, rate=self.rate, shared=True):
                return problem.terms(state.params, problem.apply(state.params, x))

        return vmap(sample)(random.split(key, samples))
