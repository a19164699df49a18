"""Multiplicative normalizing flows: variational inference with weights that random multipliers correlate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import vmap

from bnnbench import random
from bnnbench.layers import keyed
from bnnbench.layers.mnf import cut, draw_weights, with_multipliers, without_multipliers
from bnnbench.layers.noisy import gaussian_kl
from bnnbench.methods.base import METHODS, MOST_LAYERS, at_most, positive
from bnnbench.methods.bbp_local import sampled_noise_level
from bnnbench.methods.optimise import AdamState, adam_init
from bnnbench.methods.space import Integer, LogUniform, Space
from bnnbench.methods.variational import Variational, moments_of
from bnnbench.model import Batch, Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.parameters import flatten
from bnnbench.model.posteriors import Posterior, tree
from bnnbench.nets import initialise

OWN = "multipliers"  # all their parameters in one vector of the state: steps and compiler are bound by small tensors


@tree
class MultiplicativeGaussian(Posterior):
    """Gaussian weights around means that random multipliers scale: z ~ q(z), w | z ~ N(z mean, sd^2).

    Attributes:
        flow: parameters of the multipliers of all layers, in one vector.
    """

    mean: Params
    sd: Params
    flow: Tensor

    def sample(self, key: Tensor, problem: Problem, span: int | random.Span) -> Params:
        flow = cut(problem.network, self.flow)

        def one(key: Tensor) -> Params:
            own = draw_weights(problem.network, flow, key, self.mean, self.sd)
            return sampled_noise_level(key, self.mean, self.sd) | own

        return vmap(one)(random.split(key, span))


@METHODS.register
@dataclass(frozen=True)
class MNF(Variational):
    """Multiplicative normalizing flows with gated couplings (masked RealNVP).

    The bound of `bnnbench.layers.multiplier` stands in place of the KL. In training every example has multipliers of
    its own; prediction draws weights.

    Attributes:
        layers: of the flow of q(z), and of that of r(z | W).
        variance: of the multipliers' distribution at the start.
    """

    name = "mnf"
    citation = "Louizos & Welling 2017, arXiv 1703.01961"
    tags = ("variational", "multiplicative")
    flow: ClassVar[str] = "masked"
    layers: int = 2
    variance: float = 0.1

    @classmethod
    def space(cls) -> Space:
        return {**super().space(), "layers": Integer(1, 4), "variance": LogUniform(0.01, 1.0)}

    def check(self) -> None:
        super().check()
        positive(self, "layers", "variance")
        at_most(self, MOST_LAYERS, "layers")

    def prepare(self, problem: Problem) -> Problem:
        return problem.with_network(with_multipliers(problem.network, self.flow, self.layers))

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        plain = problem.with_network(without_multipliers(problem.network))  # starts where other methods start
        params = initialise(problem.network, random.fold_in(key, 1))
        own = {name: value for name, value in params.items() if name not in dict(plain.network.named_parameters())}
        for name, value in own.items():
            if name.endswith("multiplier.log_scale"):
                own[name] = 0.5 * torch.log(torch.as_tensor(self.variance).to(value)).expand_as(value)
        return adam_init(self.around(plain.init_params(key), problem) | {OWN: flatten(own)})

    def estimate(self, key: Tensor, params: Params, batch: Batch, problem: Problem) -> tuple[Tensor, Tensor]:
        mean, sigma = moments_of(params)
        prior = {name: problem.scale_of(name, value).expand_as(value) for name, value in mean.items()}
        divergences: Params = {}
        with keyed(key, sigma=sigma, prior=prior, kl=divergences):
            nll = problem.mean_nll(sampled_noise_level(key, mean, sigma) | cut(problem.network, params[OWN]), batch)
        if LOG_NOISE in mean:  # it has a prior of its own, N(-1, 1)
            divergences[LOG_NOISE] = gaussian_kl(mean[LOG_NOISE] + 1, sigma[LOG_NOISE], prior[LOG_NOISE])
        return nll, torch.stack(list(divergences.values())).sum()

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> MultiplicativeGaussian:
        del draws, problem
        return MultiplicativeGaussian(*moments_of(state.params), state.params[OWN])


@METHODS.register
@dataclass(frozen=True)
class MNFPlanar(MNF):
    """Multiplicative normalizing flows with planar flows."""

    name = "mnf-planar"
    flow = "planar"


@METHODS.register
@dataclass(frozen=True)
class MNFIAF(MNF):
    """Multiplicative normalizing flows with inverse autoregressive flows."""

    name = "mnf-iaf"
    flow = "iaf"


@METHODS.register
@dataclass(frozen=True)
class MNFSpline(MNF):
    """Multiplicative normalizing flows with rational-quadratic coupling flows."""

    name = "mnf-spline"
    flow = "spline"
