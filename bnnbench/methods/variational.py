r"""Variational methods: a distribution q(w) of the weights, fitted by the negative evidence lower bound over n

    L = -(1/n) E_q [sum_i log p(y_i | x_i, w)] + (beta / n) KL(q || p)

at beta = 1, of which one step takes an estimate by reparametrisation. Parameters of q are, by parameter name of the
network, `mean.` and `rho.`, with sigma = softplus(rho).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bnnbench.methods.base import Info, Method, fraction, positive
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.methods.space import PRIOR_SCALE, RATE, LogUniform, Space, Uniform
from bnnbench.model import Batch, GaussianPrior, Params, Problem
from bnnbench.model.posteriors import FactorisedGaussian, Posterior


@dataclass(frozen=True)
class Variational(Method):
    """A method that fits q by Adam, by default under the task's Gaussian prior.

    Attributes:
        lr: peak learning rate of the one-cycle schedule.
        anneal: fraction of the steps over which the weight of the KL rises to beta, linearly from 0 (Bowman et al.
            2016, arXiv 1511.06349). With the whole KL from the start, weights that have not learned anything yet fall
            back to the prior and stay there: an optimum of the bound, and a poor one.
        sigma: standard deviation of q at the start, in units of the prior's scale.
        beta: weight of the KL; other values than 1 are another target.
        prior_scale: factor of the prior's scale.
    """

    takes_rounded_products = True
    lr: float = 1e-2
    anneal: float = 0.5
    sigma: float = 0.02
    beta: float = 1.0
    prior_scale: float = 1.0
    early_stopping: bool = False

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "anneal": Uniform(0.0, 1.0), "sigma": LogUniform(0.001, 0.2), "prior_scale": PRIOR_SCALE}

    def check(self) -> None:
        positive(self, "lr", "sigma", "beta", "prior_scale")
        fraction(self, "anneal")

    def target(self, problem: Problem) -> Problem:
        if not isinstance(problem.prior, GaussianPrior):
            raise TypeError(f"{self.name} needs a Gaussian prior, not {type(problem.prior).__name__}")
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        return adam_init(self.around(problem.init_params(key), problem))

    def around(self, mean: Params, problem: Problem) -> Params:
        """The parameters of q at the start, around these means."""
        return join(mean, {k: (self.sigma * problem.scale_of(k, v)).expand_as(v).clone() for k, v in mean.items()})

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        batch = problem.minibatch(key)

        def objective(params: Params) -> tuple[Tensor, Info]:
            nll, kl = self.estimate(key, params, batch, problem)
            kl = kl / problem.n
            # What is told is the bound itself, also while the KL has not its whole weight yet.
            return nll + weight * kl, {"loss": nll + self.beta * kl, "nll": nll, "kl": kl}

        rising = torch.as_tensor(self.anneal * problem.steps).to(problem.t).clamp(min=1.0)
        weight = self.beta * ((problem.t + 1) / rising).clamp(max=1.0)
        return adam_step(objective, state, problem, self.lr)

    @abstractmethod
    def estimate(self, key: Tensor, params: Params, batch: Batch, problem: Problem) -> tuple[Tensor, Tensor]:
        """Estimates of -(1/n) E_q sum_i log p(y_i | x_i, w) and of KL(q || p)."""

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> Posterior:
        del draws, problem
        return FactorisedGaussian(*moments_of(state.params))


def join(mean: Params, sigma: Params) -> Params:
    """Joint parameters of q, with sigma = softplus(rho)."""
    return {f"mean.{name}": v for name, v in mean.items()} | {
        f"rho.{name}": torch.log(torch.expm1(v)) for name, v in sigma.items()
    }


def moments_of(params: Params) -> tuple[Params, Params]:
    """Means and standard deviations from the joint parameters."""
    mean = {name[5:]: value for name, value in params.items() if name.startswith("mean.")}
    return mean, {name[4:]: F.softplus(value) for name, value in params.items() if name.startswith("rho.")}
