r"""Stochastic gradient Langevin dynamics: plain, preconditioned and cyclical.

With the energy per datum U(w) = -(1/n) log p(data, w), a step of size h under a diagonal preconditioner G is

    w <- w - h (G grad U(w) - (T/n) Gamma) + sqrt(2 h G T / n) * xi,    xi ~ N(0, 1),

which is the textbook step (eps / 2) G grad log p(data, w) with eps = 2 h / n (Welling & Teh 2011). Gamma_i = dG_i/dw_i
keeps a preconditioner that depends on w from changing the law that is sampled; G = 1 for the plain method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, grad_and_value

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, Method, fraction, positive
from bnnbench.methods.optimise import held
from bnnbench.methods.parameters import dot, mean_product, noise, sample_moments, stacked, unflatten
from bnnbench.model import Params, Problem


@METHODS.register
@dataclass(frozen=True)
class SGLD(Method):
    """SGLD with a step that decays by a cosine from `lr` to `lr * floor`; draws are kept evenly after burn-in.

    Attributes:
        lr: step size h on the energy per datum, at the start.
        floor: share of it that is left at the end.
        burn: share of the steps before the first draw is kept.
        samples: draws kept.
        temperature: 1 samples the posterior. prior_scale: factor of the prior's scale.
    """

    name = "sgld"
    version = 2
    reference = "Welling & Teh 2011, ICML"
    tags = ("sampling",)
    family = "exact"
    lr: float = 3e-2
    floor: float = 0.1
    burn: float = 0.5
    samples: int = 50
    temperature: float = 1.0
    prior_scale: float = 1.0

    @property
    def chains(self) -> int:
        return 1

    def check(self) -> None:
        positive(self, "lr", "samples", "temperature", "prior_scale")
        fraction(self, "burn", "floor")

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> Any:
        return problem.init_params(key)

    def update(self, key: Tensor, state: Any, problem: Problem) -> tuple[Any, Info]:
        problem = self.target(problem)
        gradient, loss = grad_and_value(problem.energy)(state, problem.minibatch(key))
        h, heat = self.step_size(problem), self.heat(problem)
        xi, amount = noise(key, state), held(torch.sqrt(2 * h * heat))
        new = {name: w - h * gradient[name] + amount * xi[name] for name, w in state.items()}
        return new, _info(loss, h, state, gradient, problem)

    def step_size(self, problem: Problem) -> Tensor:
        """h at the problem's present step."""
        decay = 0.5 * (1 + torch.cos(math.pi * problem.t / problem.steps))
        return held(self.lr * (self.floor + (1 - self.floor) * decay))

    def heat(self, problem: Problem) -> Tensor:
        """T / n, the temperature on the energy per datum."""
        return self.temperature / problem.n

    def schedule(self, steps: int) -> Sequence[int]:
        return evenly(int(float(self.burn) * steps), steps, self.samples)

    def collect(self, state: Any) -> Params:
        return state

    def weights(self, key: Tensor, state: Any, draws: Any, problem: Problem, samples: int) -> Params:
        del key, problem, samples
        return stacked(self.collect(state)) if draws is None else draws

    def moments(self, state: Any, draws: Any) -> tuple[Params, Params]:
        del state
        return sample_moments(draws)


class Preconditioned(NamedTuple):
    """Parameters, and the running mean of the squared gradient of U."""

    params: Params
    square: Params


@METHODS.register
@dataclass(frozen=True)
class PSGLD(SGLD):
    """SGLD preconditioned as in RMSprop, G = 1 / (stabiliser + sqrt V), V <- decay V + (1 - decay) (grad U)^2.

    V is built from the gradient per datum, so `lr` compares with a learning rate of RMSprop: the paper's eps is
    2 h / n. Gamma, which the paper drops as small, needs the Hessian's diagonal; here it is estimated without bias by
    z o (H z) with a random sign z for each weight (Hutchinson 1990), at the cost of a second derivative.

    Attributes:
        decay: of the running mean. stabiliser: lambda.
        gamma: whether the term Gamma is kept.
    """

    name = "psgld"
    version = 1
    reference = "Li et al. 2016, arXiv 1512.07666"
    lr: float = 1e-3
    decay: float = 0.99
    stabiliser: float = 1e-2
    gamma: bool = False

    def check(self) -> None:
        super().check()
        positive(self, "stabiliser")
        fraction(self, "decay")

    def init(self, key: Tensor, problem: Problem) -> Preconditioned:
        params = problem.init_params(key)
        return Preconditioned(params, {name: torch.ones_like(value) for name, value in params.items()})

    def update(self, key: Tensor, state: Preconditioned, problem: Problem) -> tuple[Preconditioned, Info]:
        problem, params = self.target(problem), state.params
        batch = problem.minibatch(key)
        gradient, loss = grad_and_value(problem.energy)(params, batch)
        h, heat = self.step_size(problem), self.heat(problem)
        amount, xi = held(torch.sqrt(2 * h * heat)), noise(key, params)
        curvature = self._curvature(key, params, lambda w: grad_and_value(problem.energy)(w, batch)[0])
        new, square = {}, {}
        for name, w in params.items():
            g = gradient[name]
            square[name] = torch.lerp(g * g, state.square[name], self.decay)
            root = square[name].sqrt()
            scale = 1 / (self.stabiliser + root)
            # dG/dw = -G^2 dV/dw / (2 sqrt V), dV/dw = 2 (1 - decay) g dg/dw
            drift = -(scale**2) * (1 - self.decay) * g / root.clamp(min=1e-12) * curvature[name] if self.gamma else 0.0
            new[name] = w - h * (scale * g - heat * drift) + amount * scale.sqrt() * xi[name]
        return Preconditioned(new, square), _info(loss, h, params, gradient, problem)

    def _curvature(self, key: Tensor, params: Params, gradient: Any) -> Params:
        """Estimate of the diagonal of the Hessian of U; nothing where it is not needed."""
        if not self.gamma:
            return {}
        size = sum(value.numel() for value in params.values())
        z = random.bernoulli(key, 0.5, (size,)).to(next(iter(params.values()))) * 2 - 1
        signs = unflatten(z, params)
        product = grad(lambda w: dot(gradient(w), signs))(params)  # H z; torch's jvp warns
        return {name: signs[name] * value for name, value in product.items()}

    def collect(self, state: Preconditioned) -> Params:
        return state.params


@METHODS.register
@dataclass(frozen=True)
class CyclicalSGMCMC(SGLD):
    """SGLD in cycles: the step falls from `lr` to 0 by a cosine and is raised again, to find another mode.

    In the first `explore` of a cycle no noise is added; draws are kept from the rest, equally many of each cycle.

    Attributes:
        cycles: number of cycles.
        explore: share of a cycle before sampling begins.
    """

    name = "csgmcmc"
    version = 1
    reference = "Zhang et al. 2020, arXiv 1902.03932"
    cycles: int = 4
    explore: float = 0.6
    lr: float = 5e-2
    floor: float = 0.01

    def check(self) -> None:
        super().check()
        positive(self, "cycles")
        fraction(self, "explore")

    def step_size(self, problem: Problem) -> Tensor:
        decay = 0.5 * (1 + torch.cos(math.pi * self._phase(problem)))
        return held(self.lr * (self.floor + (1 - self.floor) * decay))

    def heat(self, problem: Problem) -> Tensor:
        return torch.where(self._phase(problem) < self.explore, 0.0, super().heat(problem))

    def _phase(self, problem: Problem) -> Tensor:
        """How far the present cycle has come, in [0, 1)."""
        return torch.remainder(problem.t * self.cycles / problem.steps, 1.0)

    def schedule(self, steps: int) -> Sequence[int]:
        kept: list[int] = []
        for cycle in range(self.cycles):
            start, stop = cycle * steps // self.cycles, (cycle + 1) * steps // self.cycles
            first = start + math.ceil((float(self.explore) + 0.5 * (1 - float(self.explore))) * (stop - start))
            kept += evenly(first, stop, self.samples // self.cycles + (cycle < self.samples % self.cycles))
        return kept


def evenly(first: int, stop: int, count: int) -> list[int]:
    """At most `count` steps in [first, stop), evenly spaced, the last one being stop - 1."""
    kept = min(count, stop - first)
    return [first + (i + 1) * (stop - first) // kept - 1 for i in range(kept)]


def _info(loss: Tensor, h: Tensor, params: Params, gradient: Params, problem: Problem) -> Info:
    """The configurational temperature, n E[w grad U] averaged over weights, is T in equilibrium (virial theorem)."""
    virial = problem.n * mean_product(params, gradient)
    return {"loss": loss, "step_size": h, "temperature_configurational": virial}
