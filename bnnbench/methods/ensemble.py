"""Deep ensembles: an inner vmap over members, each of them a whole MAP network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.func import vmap

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, Method, positive
from bnnbench.methods.map import MAP
from bnnbench.methods.optimise import Fit
from bnnbench.model import Predictive, Problem


@METHODS.register
@dataclass(frozen=True)
class DeepEnsemble(Method):
    """Mixture of MAP networks from independent starts and minibatches, each with the full number of gradients.

    Early stopping judges the mixture, not each member alone.

    Attributes:
        members: number of networks.
        lr: peak learning rate of each.
    """

    name = "ensemble-deep"
    reference = "Lakshminarayanan et al. 2017, arXiv 1612.01474"
    tags = ("ensembles",)
    members: int = 5
    lr: float = 1e-2
    early_stopping: bool = True

    @property
    def networks(self) -> int:
        return self.members

    def check(self) -> None:
        positive(self, "lr", "members")

    def init(self, key: Tensor, problem: Problem) -> Fit:
        return vmap(lambda k: MAP(self.lr).init(k, problem))(random.split(key, self.members))

    def update(self, key: Tensor, state: Fit, problem: Problem) -> tuple[Fit, Info]:
        keys = random.split(key, self.members)
        state, info = vmap(lambda k, member: MAP(self.lr).update(k, member, problem))(keys, state)
        return state, {"loss": info["loss"].mean()}

    def predict(self, key: Tensor, state: Fit, draws: Any, problem: Problem, x: Tensor, samples: int) -> Predictive:
        del key, draws, samples
        return problem.predict(state.params, x)
