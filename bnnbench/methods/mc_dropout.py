r"""Monte Carlo dropout: a network is trained under random masks, and prediction averages over masks.

A layer whose inputs are kept with probability p and scaled by 1/p has the random weights W m / p, m ~ Bernoulli(p) for
each input. Of their distribution q, the KL from the prior comes, but for a constant, to -E_q log p(w), so that

    L = -(1/n) E_q sum_i log p(y_i | x_i, w) - (1/n) sum_j p log p(W_j / p)

is minimised, p being 1 of biases and of the first layer. Under N(0, s^2) a weight costs W^2 / (2 p s^2). Gal &
Ghahramani 2016 (appendix, arXiv 1506.02157) have p l^2 M^2 / 2, which is the same: their M = W / p is a weight whose
input is kept, and l = 1 / s. The code of that paper multiplies W^2 by p although its layers scale by 1/p, too; that of
Gal et al. 2017 (arXiv 1705.07832) divides, as here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from bnnbench.layers import dropped, keyed, with_dropout
from bnnbench.methods.base import METHODS, Info, Method, fraction, positive
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.methods.space import PRIOR_SCALE, RATE, LogUniform, Space
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
    version = 2
    citation = "Gal & Ghahramani 2016, arXiv 1506.02142"
    tags = ("dropout",)
    family = "point"
    takes_rounded_products = True
    rate: float = 0.01
    lr: float = 1e-2
    early_stopping: bool = True
    prior_scale: float = 1.0

    @classmethod
    def space(cls) -> Space:
        return {"rate": LogUniform(0.001, 0.7), "lr": RATE, "prior_scale": PRIOR_SCALE}

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

        def loss(params: Params) -> Tensor:
            with keyed(key, rate=self.rate):
                nll = problem.mean_nll(params, batch)
            return nll - self.log_prior(params, problem) / problem.n

        return adam_step(loss, state, problem, self.lr)

    def log_prior(self, params: Params, problem: Problem) -> Tensor:
        """E log p(w) over masks, 0-dim, without the share of the weights that are dropped: a constant."""
        names = dropped(problem.network)
        if not names:  # a single layer
            return problem.log_prior(params)
        keep = 1 - torch.as_tensor(self.rate).to(problem.t)
        kept = {name: value / keep for name, value in params.items() if name in names}
        others = {name: value for name, value in params.items() if name not in names}
        return keep * problem.prior.log_prob(kept) + problem.log_prior(others)

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> Masked:
        del draws
        return Masked(state.params, torch.as_tensor(self.rate).to(problem.t))
