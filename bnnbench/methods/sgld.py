r"""Stochastic gradient Langevin dynamics.

With the energy per datum U(w) = -(1/n) log p(data, w) and temperature T / n, a step of size h is

    w <- w - h * grad U(w) + sqrt(2 h T / n) * xi,    xi ~ N(0, 1),

which is the textbook step (eps / 2) * grad log p(data, w) with eps = 2 h / n (Welling & Teh 2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value

from bnnbench.methods.base import METHODS, Info, Method, evenly, fraction, positive
from bnnbench.methods.optimise import held
from bnnbench.methods.space import PRIOR_SCALE, LogUniform, Space
from bnnbench.model import Params, Problem
from bnnbench.model.parameters import mean_product, noise
from bnnbench.model.posteriors import Draws, Point


@METHODS.register
@dataclass(frozen=True)
class SGLD(Method):
    """SGLD with a step that decays by a cosine from `lr` to `lr * final_lr_fraction`; draws are kept evenly after
    burn-in.

    Attributes:
        lr: step size h on the energy per datum, at the start.
        final_lr_fraction: fraction of it that is left at the end.
        burn_in: fraction of the steps before the first draw is kept.
        samples: draws kept.
        temperature: 1 samples the posterior. prior_scale: factor of the prior's scale.
        reach: longest drift of a step, the root mean square of h grad U / s over weights, s the prior's scale. The
            energy of a network grows faster than a square, so that a single step that is too long for the valley that
            it starts from throws a chain out for good, unless it is cut (Roberts & Tweedie 1996).
    """

    name = "sgld"
    version = 4
    citation = "Welling & Teh 2011, ICML"
    tags = ("sampling",)
    family = "exact"
    takes_rounded_products = True
    step_field = "lr"
    num_chains = 1
    prunable = True
    lr: float = 3e-2
    final_lr_fraction: float = 0.1
    burn_in: float = 0.5
    samples: int = 50
    temperature: float = 1.0
    prior_scale: float = 1.0
    reach: float = 0.1

    @classmethod
    def space(cls) -> Space:
        return {"lr": LogUniform(0.001, 1.0), "final_lr_fraction": LogUniform(0.01, 1.0), "prior_scale": PRIOR_SCALE}

    def check(self) -> None:
        positive(self, "lr", "samples", "temperature", "prior_scale", "reach")
        fraction(self, "burn_in", "final_lr_fraction")

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> Any:
        return problem.init_params(key)

    def update(self, key: Tensor, state: Any, problem: Problem) -> tuple[Any, Info]:
        gradient, loss = grad_and_value(problem.energy)(state, problem.minibatch(key))
        h, temperature = self.step_size(problem), self.scaled_temperature(problem)
        xi, amount = noise(key, state), held(torch.sqrt(2 * h * temperature))
        drift, cut = self.drift({name: h * g for name, g in gradient.items()}, problem)
        new = {name: w - drift[name] + amount * xi[name] for name, w in state.items()}
        return new, langevin_info(loss, h, state, gradient, problem) | {"drift_shortened": cut}

    def drift(self, step: Params, problem: Problem) -> tuple[Params, Tensor]:
        """A step down the energy, cut to `reach`, and whether it was longer."""
        return shortened(step, {name: problem.scale_of(name, value) for name, value in step.items()}, self.reach)

    def step_size(self, problem: Problem) -> Tensor:
        """h at the problem's present step."""
        decay = 0.5 * (1 + torch.cos(math.pi * problem.t / problem.steps))
        return held(self.lr * (self.final_lr_fraction + (1 - self.final_lr_fraction) * decay))

    def scaled_temperature(self, problem: Problem) -> Tensor:
        """T / n, the temperature on the energy per datum."""
        return self.temperature / problem.n

    def schedule(self, steps: int) -> Sequence[int]:
        return evenly(int(float(self.burn_in) * steps), steps, self.samples)

    def collect(self, state: Any) -> Params:
        return state

    def posterior(self, state: Any, draws: Params | None, problem: Problem) -> Point | Draws:
        del problem
        return Point(self.collect(state)) if draws is None else Draws(draws)


def shortened(step: Params, scale: Params, reach: float | Tensor) -> tuple[Params, Tensor]:
    """A step whose root mean square over weights of step / scale is at most `reach`, and whether it was cut, 0 or 1.

    The truncated drift of Roberts & Tweedie 1996 (Bernoulli 2(4), 341-363, section 1.4.1): the length is cut, the
    direction stays.

    Args:
        scale: of each parameter tensor, 0-dim.
    """
    relative = {name: value / scale[name] for name, value in step.items()}
    length = mean_product(relative, relative).sqrt()
    factor = held(reach / length.clamp(min=reach))
    return {name: factor * value for name, value in step.items()}, (length > reach).to(length)


def langevin_info(loss: Tensor, h: Tensor, params: Params, gradient: Params, problem: Problem) -> Info:
    """The configurational temperature, n E[w grad U] averaged over weights, is T in equilibrium (virial theorem)."""
    virial = problem.n * mean_product(params, gradient)
    return {"loss": loss, "step_size": h, "temperature_configurational": virial}
