"""Multiplicative normalizing flows: variational inference with weights that random multipliers correlate.

The methods are not registered yet: they join `all` with their reference results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from bnnbench import random
from bnnbench.layers import keyed
from bnnbench.layers.mnf import Bound, is_multipliers, with_multipliers
from bnnbench.methods.base import Info, Method, positive
from bnnbench.methods.bbp import cross_entropy_gaussian, entropy, join, parts
from bnnbench.methods.bbp_local import sampled_noise_level
from bnnbench.methods.optimise import Fit, descend, start
from bnnbench.model import GaussianPrior, Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE


@dataclass(frozen=True)
class MNF(Method):
    """Multiplicative normalizing flows with gated couplings (masked RealNVP).

    The objective is that of Bayes by Backprop, with the bound of `bnnbench.layers.multiplier` in place of the KL. In
    training every example has multipliers of its own; prediction draws weights.

    Attributes:
        lr: peak learning rate of the one-cycle schedule.
        sigma: standard deviation of q given z at the start, in units of the prior's scale.
        variance: of the multipliers' first law at the start.
        layers: of the flow of q(z), and of that of r(z | W).
        beta: weight of the KL. prior_scale: factor of the prior's scale.
    """

    name = "mnf"
    reference = "Louizos & Welling 2017, arXiv 1703.01961"
    tags = ("variational", "mnf")
    flow: ClassVar[str] = "masked"
    lr: float = 1e-3
    sigma: float = 0.05
    layers: int = 2
    variance: float = 0.1
    beta: float = 1.0
    prior_scale: float = 1.0
    early_stopping: bool = True

    def check(self) -> None:
        positive(self, "lr", "sigma", "variance", "layers", "beta", "prior_scale")

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def prepare(self, problem: Problem) -> Problem:
        if not isinstance(problem.prior, GaussianPrior):
            raise TypeError(f"{self.name} needs a Gaussian prior, not {type(problem.prior).__name__}")
        return problem.with_network(with_multipliers(problem.network, self.flow, self.layers))

    def init(self, key: Tensor, problem: Problem) -> Fit:
        problem, params = self.target(problem), problem.init_params(key)
        mean, own = split(params)
        sigma = {name: (self.sigma * problem.scale_of(name, v)).expand_as(v).clone() for name, v in mean.items()}
        for name, value in own.items():
            if name.endswith("multiplier.log_scale"):
                own[name] = value * 0 + 0.5 * torch.log(torch.as_tensor(self.variance).to(value))
        return start(join(mean, sigma) | own)

    def update(self, key: Tensor, state: Fit, problem: Problem) -> tuple[Fit, Info]:
        problem, batch = self.target(problem), problem.minibatch(key)

        def objective(params: Params) -> tuple[Tensor, Info]:
            mean, sigma = parts(params)
            own = split(params)[1]
            with keyed(key, sigma=sigma):
                nll = problem.mean_nll(sampled_noise_level(key, mean, sigma) | own, batch)
            scale = {name: problem.scale_of(name, value).expand_as(value) for name, value in mean.items()}
            kl = bound(problem, own, "kl", random.fold_in(key, 1), mean, sigma, scale)
            if LOG_NOISE in mean:  # it has a prior of its own, N(-1, 1)
                m, s = mean[LOG_NOISE], sigma[LOG_NOISE]
                kl = kl + cross_entropy_gaussian(m, s, -1.0, torch.ones_like(m)) - entropy(s)
            kl = kl / problem.n
            return nll + self.beta * kl, {"nll": nll, "kl": kl}

        return descend(objective, state, problem, self.lr)

    def terms(self, state: Fit, collected: int, samples: int) -> int:
        del state, collected
        return samples

    def weights(self, key: Tensor, state: Fit, draws: Any, problem: Problem, samples: int | random.Span) -> Params:
        del draws
        (mean, sigma), own = parts(state.params), split(state.params)[1]

        def sample(key: Tensor) -> Params:
            return sampled_noise_level(key, mean, sigma) | bound(problem, own, "weights", key, mean, sigma)

        return vmap(sample)(random.split(key, samples))


def split(params: Params) -> tuple[Params, Params]:
    """The plain network's parameters (and the likelihood's), and those of the multipliers."""
    own = {name: value for name, value in params.items() if is_multipliers(name)}
    return {name: value for name, value in params.items() if name not in own}, own


def bound(problem: Problem, own: Params, name: str, *arguments: Any) -> Any:
    """What `Bound` computes under the name, with these parameters of the multipliers."""
    params = {f"network.{key}": value for key, value in own.items()}
    return functional_call(Bound(problem.network), params, (name, *arguments))


@dataclass(frozen=True)
class MNFPlanar(MNF):
    """Multiplicative normalizing flows with planar flows."""

    name = "mnf-planar"
    flow = "planar"


@dataclass(frozen=True)
class MNFIAF(MNF):
    """Multiplicative normalizing flows with inverse autoregressive flows."""

    name = "mnf-iaf"
    flow = "iaf"


@dataclass(frozen=True)
class MNFSpline(MNF):
    """Multiplicative normalizing flows with rational-quadratic coupling flows."""

    name = "mnf-spline"
    flow = "spline"
