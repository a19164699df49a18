r"""Scale-adapted stochastic gradient Hamiltonian Monte Carlo.

With the energy per datum U, its gradient's running root mean square M = sqrt V, friction alpha and a step h,

    v <- (1 - alpha) v - h M^-1 grad U(w) + N(0, 2 alpha h (T/n) M^-1 - h^2 (V - g^2)+ / V),    w <- w + v,

where the last summand takes off what the minibatch's own noise adds: V - g^2 is its variance, g the running mean.
Springenberg et al. 2016 (Bayesian optimization with robust Bayesian neural networks), equation 10, with
h = eps^2 and alpha = eps C M^-1; there the whole of V counts as noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, fraction, positive, smaller_step
from bnnbench.methods.sgld import SGLD
from bnnbench.methods.space import LogUniform, Space
from bnnbench.model import Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.parameters import mean_product, noise


class Moving(NamedTuple):
    """Parameters, velocities, and running statistics of the gradient: mean g, mean square V, window tau.

    `precision` holds the prior precisions that the hyperprior draws, one a parameter tensor, in units of the task's.
    """

    params: Params
    velocity: Params
    mean: Params
    square: Params
    window: Params
    precision: Params


@METHODS.register
@dataclass(frozen=True)
class SGHMC(SGLD):
    """Scale-adapted SGHMC; statistics are adapted in the burn-in and frozen after it, as the stationary distribution
    requires.

    Attributes:
        lr: h. friction: alpha, the fraction of the velocity lost at a step.
        stabiliser: added to sqrt V.
        hyperprior: whether the prior precision of every tensor is sampled again from its conditional Gamma distribution
            every `every` steps, given a Gamma(10, 10) hyperprior of its factor; another target than the task's.
        limit: fraction of the weights whose noise may be negative before the run counts as unconverged.
    """

    name = "sghmc"
    version = 3
    citation = "Springenberg et al. 2016, NeurIPS; Chen et al. 2014, arXiv 1402.4102"
    lr: float = 1e-4
    final_lr_fraction: float = 0.5
    friction: float = 0.05
    stabiliser: float = 1e-2
    hyperprior: bool = False
    every: int = 50
    limit: float = 0.01

    @classmethod
    def space(cls) -> Space:
        return {**super().space(), "lr": LogUniform(1e-05, 0.003), "friction": LogUniform(0.005, 0.5)}

    def check(self) -> None:
        super().check()
        positive(self, "stabiliser", "friction", "every")
        fraction(self, "friction", "limit")

    def init(self, key: Tensor, problem: Problem) -> Moving:
        params = problem.init_params(key)
        zeros = {name: torch.zeros_like(value) for name, value in params.items()}
        ones = {name: torch.ones_like(value) for name, value in params.items()}
        precision = {name: torch.ones_like(problem.n) for name in params}
        return Moving(params, zeros, zeros, ones, ones, precision)

    def update(self, key: Tensor, state: Moving, problem: Problem) -> tuple[Moving, Info]:
        params = state.params
        gradient, loss = grad_and_value(problem.energy)(params, problem.minibatch(key))
        gradient = self._reweighted(gradient, state, problem)
        state = self._adapt(state, gradient, problem)
        h, temperature, xi = self.step_size(problem), self.scaled_temperature(problem), noise(key, params)
        new, velocity, deficit, kinetic = {}, {}, {}, {}
        inverses = {name: 1 / (self.stabiliser + square.sqrt()) for name, square in state.square.items()}
        step, cut = self.drift({name: h * inverses[name] * g for name, g in gradient.items()}, problem)
        for name, w in params.items():
            inverse = inverses[name]
            own = (state.square[name] - state.mean[name] ** 2).clamp(min=0.0) * (h * inverse) ** 2
            variance = 2 * self.friction * h * temperature * inverse - own
            deficit[name] = (variance < 0).to(w)
            v = (1 - self.friction) * state.velocity[name] - step[name]
            velocity[name] = v + variance.clamp(min=0.0).sqrt() * xi[name]
            kinetic[name] = velocity[name] / (h * inverse)
            new[name] = w + velocity[name]
        precision = self._draw_precision(key, new, state, problem)
        info = {
            "loss": loss,
            "step_size": h,
            "temperature_kinetic": problem.n * mean_product(velocity, kinetic),
            "temperature_configurational": problem.n * mean_product(params, gradient),
            "drift_shortened": cut,
            "noise_deficit": mean_product(deficit, deficit),
        }
        return state._replace(params=new, velocity=velocity, precision=precision), info

    def _adapt(self, state: Moving, gradient: Params, problem: Problem) -> Moving:
        """The running statistics, whose window tau follows how sure the mean is (Springenberg et al., section 4.2)."""
        burning, mean, square, window = problem.t < self.burn_in * problem.steps, {}, {}, {}
        for name, d in gradient.items():
            g, v, tau = state.mean[name], state.square[name], state.window[name]
            longer = tau + 1 - tau * g * g / (v + 1e-12)
            rate = 1 / (longer + 1e-6)
            mean[name] = torch.where(burning, g + rate * (d - g), g)
            square[name] = torch.where(burning, v + rate * (d * d - v), v)
            window[name] = torch.where(burning, longer, tau)
        return state._replace(mean=mean, square=square, window=window)

    def _reweighted(self, gradient: Params, state: Moving, problem: Problem) -> Params:
        """The gradient under the sampled prior precisions: the task's Gaussian prior pulls with w / (n s^2)."""
        if not self.hyperprior:
            return gradient
        scale = {name: problem.scale_of(name, value) for name, value in state.params.items()}
        return {
            name: g + (state.precision[name] - 1) * state.params[name] / (problem.n * scale[name] ** 2)
            for name, g in gradient.items()
        }

    def _draw_precision(self, key: Tensor, params: Params, state: Moving, problem: Problem) -> Params:
        """Gibbs: factor | w ~ Gamma(10 + size / 2, 10 + |u|^2 / 2), u = w / s; seldom, for it mixes fast."""
        if not self.hyperprior:
            return state.precision
        due, sampled = torch.remainder(problem.t, float(self.every)) == 0, {}
        for k, (name, value) in zip(random.split(key, len(params)).unbind(0), params.items(), strict=True):
            rate = 10 + 0.5 * ((value / problem.scale_of(name, value)) ** 2).sum()
            fresh = random.gamma(k, 10 + 0.5 * value.numel(), ()).to(rate) / rate
            sampled[name] = torch.where(due & (name != LOG_NOISE), fresh, state.precision[name])  # it has its own prior
        return sampled

    def diagnose(self, scores: Mapping[str, float]) -> str:
        """The minibatch's own noise exceeds what the temperature allows, or what flags any sampler."""
        negative = scores.get("noise_deficit", 0.0)
        if negative <= self.limit:
            return super().diagnose(scores)
        return f"the step is too large: {negative:.1%} of the weights would need negative noise; {smaller_step(self)}"

    def collect(self, state: Moving) -> Params:
        return state.params
