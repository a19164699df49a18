"""Problems whose model is a density itself, a normalizing flow: fitted to draws, or to an unnormalised density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from bnnbench.flows import Chain, Constant, Flow
from bnnbench.model.likelihoods import Likelihood, Params
from bnnbench.model.predictive import DensityPredictive
from bnnbench.model.problem import Batch, Problem
from bnnbench.random import Span


class Unfitted(Flow):
    """The place of a flow in a task's network, where a method puts its own.

    Attributes:
        context: numbers that condition the flow.
        sampled: whether a fit samples from it, or else asks for its density: what should be in closed form.
    """

    def __init__(self, dim: int, context: int = 0, sampled: bool = False) -> None:
        super().__init__(Chain([Constant(dim)]))
        self.context, self.sampled = context, sampled


class LogDensity(Likelihood):
    """A network whose only output is log q(x): there is no target."""

    @property
    def outputs(self) -> int:
        return 1

    def log_prob(self, params: Params, out: Tensor, y: Tensor) -> Tensor:
        del params, y
        return out

    def predictive(self, params: Params, out: Tensor, shift: Tensor, scale: Tensor) -> DensityPredictive:
        del params, shift, scale
        return DensityPredictive(out)


@dataclass(frozen=True)
class DensityProblem(Problem):
    """A density from which fresh draws come at every step, to be fitted by maximum likelihood, -E_p log q(x).

    Attributes:
        draw: (key, n) -> n draws [n, dim] in original units. The table holds others, to standardise and to score by.
        sampled: whether log q(x) is estimated by samples.
    """

    sampled: ClassVar[bool] = False

    draw: Callable[[Tensor, int], Tensor] | None = None

    def draws(self, key: Tensor, n: int) -> Tensor:
        """n fresh draws [n, dim], standardised."""
        assert self.draw is not None
        return self.standardise(self.draw(key, n).to(self.rows.x_shift))

    def minibatch(self, key: Tensor) -> Batch:
        """Fresh draws."""
        x = self.draws(key, self.batch_size)
        zeros = torch.zeros_like(x[:, 0])
        return Batch(x, zeros, zeros + 1)

    def loss(self, key: Tensor, params: Params) -> Tensor:
        """An estimate, on one minibatch, of what a fit minimises; 0-dim."""
        return self.mean_nll(params, self.minibatch(key))

    def latent_noise(self, key: Tensor, span: int | Span) -> Tensor:
        """Noise [S, latent] of which log-weights are functions; of a density in closed form there is none, [S, 0]."""
        return key.new_zeros(span if isinstance(span, int) else len(span), 0)

    def log_weights(self, params: Params, x: Tensor, noise: Tensor) -> Tensor:
        """log q(x) [1, N] in original units, or a log-weight for each noise [S, N]."""
        del noise
        return (self.apply(params, self.standardise(x)) - self.rows.x_scale.log().sum())[None]


@dataclass(frozen=True)
class EnergyProblem(DensityProblem):
    """An unnormalised density to be fitted by reverse KL, E_q [log q(z) - b log p(z)], without any draw from it.

    The inverse temperature b rises linearly from 0.01 to 1 over the first half of the steps, so that no mode is lost
    (Rezende & Mohamed 2015, arXiv 1505.05770, equation 20).

    Attributes:
        log_density: z [..., dim] -> log p(z) [...] up to a constant.
    """

    log_density: Callable[[Tensor], Tensor] | None = None

    def loss(self, key: Tensor, params: Params) -> Tensor:
        assert self.log_density is not None
        z, log_q = functional_call(self.network, params, (key, self.batch_size), {"call": "sample_and_log_prob"})
        shift, scale = self.rows.x_shift.to(z), self.rows.x_scale.to(z)
        z, log_q = shift + scale * z, log_q - scale.log().sum()
        inverse_temperature = (0.01 + 2 * self.t / self.steps).clamp(max=1.0)
        return (log_q - inverse_temperature * self.log_density(z)).mean()
