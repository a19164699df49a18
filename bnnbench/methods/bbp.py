r"""Bayes by Backprop: variational inference with a factorised Gaussian q over the weights.

The objective per datum, of which one step takes a one-sample estimate by reparametrisation w = mu + sigma * eps, is

    L = -(1/n) E_q [sum_i log p(y_i | x_i, w)] + beta * KL(q || p) / n,    sigma = softplus(rho),

beta = 1 being the evidence lower bound. KL is in closed form for the Gaussian prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, Method, positive
from bnnbench.methods.optimise import Fit, descend, start
from bnnbench.model import GaussianPrior, Predictive, Problem
from bnnbench.model.likelihoods import LOG_NOISE

Params = dict[str, Tensor]


def kl_gaussian(mean: Tensor, sigma: Tensor, prior_mean: float, prior_sigma: Tensor) -> Tensor:
    """KL(N(mean, sigma^2) || N(prior_mean, prior_sigma^2)) summed over all entries."""
    ratio = sigma / prior_sigma
    return (0.5 * (ratio**2 + ((mean - prior_mean) / prior_sigma) ** 2 - 1) - ratio.log()).sum()


def perturb(key: Tensor, mean: Params, sigma: Params) -> Params:
    """One reparametrised draw mean + sigma * eps of all parameters; one call draws all the noise."""
    noise = random.normal(key, (sum(value.numel() for value in mean.values()),))
    sizes = [value.numel() for value in mean.values()]
    pieces = zip(mean, torch.split(noise, sizes), strict=True)
    return {name: mean[name] + sigma[name] * eps.reshape(mean[name].shape) for name, eps in pieces}


@METHODS.register
@dataclass(frozen=True)
class BBPGaussian(Method):
    """Bayes by Backprop with sampled weights and the task's Gaussian prior.

    Attributes:
        lr: peak learning rate of the one-cycle schedule.
        sigma: standard deviation of q at the start, in units of the prior's.
        beta: weight of the KL; other values than 1 are another target.
    """

    name = "bbp-gaussian"
    reference = "Blundell et al. 2015, arXiv 1505.05424"
    tags = ("variational",)
    lr: float = 1e-3
    sigma: float = 0.05
    beta: float = 1.0
    early_stopping: bool = True

    def check(self) -> None:
        positive(self, "lr", "sigma", "beta")

    def init(self, key: Tensor, problem: Problem) -> Fit:
        mean = problem.init_params(key)
        rho = {name: torch.log(torch.expm1(self.sigma * self._prior(problem, name, v)[1])) for name, v in mean.items()}
        return start(_join(mean, {name: r.expand_as(mean[name]).clone() for name, r in rho.items()}))

    def update(self, key: Tensor, state: Fit, problem: Problem) -> tuple[Fit, Info]:
        batch = problem.minibatch(key)

        def objective(params: Params) -> Tensor:
            mean, sigma = _parts(params)
            nll = problem.mean_nll(perturb(key, mean, sigma), batch)
            kl = [kl_gaussian(mean[name], sigma[name], *self._prior(problem, name, mean[name])) for name in mean]
            return nll + self.beta * torch.stack(kl).sum() / problem.n

        return descend(objective, state, problem, self.lr)

    def predict(self, key: Tensor, state: Fit, draws: Any, problem: Problem, x: Tensor, samples: int) -> Predictive:
        del draws
        mean, sigma = _parts(state.params)
        return problem.predict(vmap(lambda k: perturb(k, mean, sigma))(random.split(key, samples)), x)

    @staticmethod
    def _prior(problem: Problem, name: str, value: Tensor) -> tuple[float, Tensor]:
        """Mean and standard deviation of the prior of one parameter; `log_noise` has its own, N(-1, 1)."""
        if name == LOG_NOISE:
            return -1.0, torch.ones_like(value)
        assert isinstance(problem.prior, GaussianPrior), "bbp-gaussian needs a Gaussian prior"
        return 0.0, problem.prior.scale_of(value)


def _join(mean: Params, rho: Params) -> Params:
    return {f"mean.{name}": v for name, v in mean.items()} | {f"rho.{name}": v for name, v in rho.items()}


def _parts(params: Params) -> tuple[Params, Params]:
    """Means and standard deviations from the joint parameters of the variational family."""
    mean = {name[5:]: value for name, value in params.items() if name.startswith("mean.")}
    return mean, {name[4:]: F.softplus(value) for name, value in params.items() if name.startswith("rho.")}
