r"""Microcanonical Langevin Monte Carlo: a walk of constant speed whose direction the gradient turns.

With x = w / s, s the prior's scale of each of the d weights, U(x) = -log p(data, w) / T and a unit vector u, a step of
size h on the whole data set is B(h/2) A(h) B(h/2) O(h), where e = -grad U / |grad U|, delta = h |grad U| / (d - 1) and

    A:  x <- x + h u
    B:  u <- (u + e (sinh delta + (e.u) (cosh delta - 1))) / (cosh delta + (e.u) sinh delta)
    O:  u <- (u + nu z) / |u + nu z|,   z ~ N(0, I),   nu^2 = (exp(2 h / L) - 1) / d.

The flow keeps U + (d - 1) sum log(cosh delta + (e.u) sinh delta) over its Bs, and its stationary density is exp(-U).
There is no Metropolis test: a finite step leaves a bias, which the variance of the energy's error per weight bounds and
the step size is adapted to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, Method, evenly, fraction, one_of, positive
from bnnbench.methods.hmc import HMC
from bnnbench.methods.optimise import AdamState, adam_init, adam_update, one_cycle, phase_end
from bnnbench.methods.space import PRIOR_SCALE, LogUniform, Space
from bnnbench.model import Params, Problem
from bnnbench.model.parameters import dot, mean_product, noise
from bnnbench.model.posteriors import Draws

WINDOW = 150  # steps that the step size is averaged over while it is adapted
LOST = 1000.0  # error of the energy at which a step counts as lost, in nats


class Walk(NamedTuple):
    """One chain: where it stands, U and its gradient with respect to the weights there, its direction, and its step
    size with the weighted sums that it is adapted by. `fit` is Adam's, of a chain that starts from an ensemble."""

    params: Params
    energy: Tensor
    gradient: Params
    direction: Params
    fit: AdamState
    size: Tensor
    top: Tensor
    bottom: Tensor


@METHODS.register
@dataclass(frozen=True)
class MCLMC(Method):
    """Microcanonical Langevin Monte Carlo, several chains in a cell.

    Attributes:
        num_chains: number of chains.
        start: where they start: from `initial` weights of the network, or from the members of a deep `ensemble`.
        fit: fraction of the steps that fits the ensemble by Adam, with `lr` as the peak of a one-cycle rate.
        steps_multiplier: steps of each chain, in multiples of the budget's number of updates.
        burn_in: fraction of the steps before the first draw is kept, in which the step size is adapted.
        step: step size at the start, in units of the square root of the number of weights.
        energy_variance: variance of a step's energy error per weight that the step size is adapted to.
        length: distance L over which the direction is forgotten, in units of the square root of the number of weights.
        samples: draws kept of each chain.
        temperature: 1 samples the posterior. prior_scale: factor of the prior's scale.
    """

    name = "mclmc"
    citation = "Robnik & Seljak 2023, arXiv 2303.18221"
    tags = ("references", "full-batch")
    family = "exact"
    step_field = "energy_variance"
    prunable = True
    num_chains: int = 4
    start: str = "initial"
    fit: float = 0.1
    lr: float = 1e-2
    steps_multiplier: int = 4
    burn_in: float = 0.5
    step: float = 1e-3
    energy_variance: float = 5e-4
    length: float = 1.0
    samples: int = 100
    temperature: float = 1.0
    prior_scale: float = 1.0

    @classmethod
    def space(cls) -> Space:
        return {"energy_variance": LogUniform(5e-05, 0.005), "prior_scale": PRIOR_SCALE}

    @property
    def num_networks(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.num_chains

    def check(self) -> None:
        positive(self, "num_chains", "steps_multiplier", "step", "energy_variance", "length", "samples", "temperature")
        positive(self, "prior_scale", "lr")
        fraction(self, "burn_in", "fit")
        one_of(self, "start", ("initial", "ensemble"))

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> Walk:
        return vmap(lambda k: self._begin(k, problem))(random.split(key, self.num_chains))

    def _begin(self, key: Tensor, problem: Problem) -> Walk:
        params = problem.init_params(key)
        gradient, energy = grad_and_value(self._energy)(params, problem)
        direction = _unit(_like(noise(random.fold_in(key, 1), params), params))
        size = self.step * _count(params).sqrt()
        return Walk(params, energy, gradient, direction, adam_init(params), size, 0 * size, 0 * size)

    def update(self, key: Tensor, state: Walk, problem: Problem) -> tuple[Walk, Info]:
        end = phase_end(self.fit, torch.full_like(problem.t, problem.steps)) if self.start == "ensemble" else 0

        def one(k: Tensor, walk: Walk) -> tuple[Walk, Tensor]:
            moved, direction, kinetic = self._move(walk, problem)
            climbed = self._descend(walk, problem)
            fitting = problem.t < end
            params = tree_map(lambda a, b: torch.where(fitting, a, b), climbed.params, moved)
            gradient, energy = grad_and_value(self._energy)(params, problem)
            there = walk._replace(params=params, gradient=gradient, energy=energy)
            walked, error = self._arrive(k, walk, there, direction, kinetic, problem)
            fitted = there._replace(direction=walk.direction, fit=climbed)
            return tree_map(lambda a, b: torch.where(fitting, a, b), fitted, walked), torch.where(fitting, 0.0, error)

        new, error = vmap(one)(random.split(key, self.num_chains), state)
        return new, {
            "loss": new.energy.mean() * self.temperature / problem.n,
            "step_size": new.size.mean(),
            "energy_error": error.square().mean(),
            "temperature_configurational": self.temperature * mean_product(new.params, new.gradient),
        }

    def _energy(self, params: Params, problem: Problem) -> Tensor:
        """U of weights, 0-dim."""
        nll = problem.over_data(lambda batch: -(batch.weight * problem.log_likelihood(params, batch)).sum())
        return (nll - problem.log_prior(params)) / self.temperature

    def _descend(self, walk: Walk, problem: Problem) -> AdamState:
        """A step of Adam down U."""
        rate = one_cycle(problem.t / self.fit, problem.steps, self.lr)
        return adam_update(walk.fit._replace(params=walk.params), walk.gradient, problem.t, rate)

    def _move(self, walk: Walk, problem: Problem) -> tuple[Params, Params, Tensor]:
        """B(h/2) A(h): where the step leads to, the direction and the change of the kinetic energy."""
        scale = scales(walk.params, problem)
        direction, kinetic = turn(walk.direction, walk.gradient, scale, walk.size / 2)
        moved = {name: w + walk.size * scale[name] * direction[name] for name, w in walk.params.items()}
        return moved, direction, kinetic

    def _arrive(
        self, key: Tensor, walk: Walk, there: Walk, direction: Params, kinetic: Tensor, problem: Problem
    ) -> tuple[Walk, Tensor]:
        """B(h/2) O(h) at the new point, with the energy's error, by which the step is adapted; a step whose energy is
        lost is not made and the direction drawn anew."""
        direction, more = turn(direction, there.gradient, scales(there.params, problem), walk.size / 2)
        error = there.energy - walk.energy + kinetic + more
        sound = error.abs() < LOST  # NaN is not
        error = torch.where(sound, error, LOST)
        d = _count(walk.params)
        nu = torch.where(sound, (torch.expm1(2 * walk.size / (self.length * d.sqrt())) / d).sqrt(), 1e6)
        fresh = _like(noise(key, direction), direction)
        direction = {name: torch.where(sound, u, 0.0) + nu * fresh[name] for name, u in direction.items()}
        reached = tree_map(lambda a, b: torch.where(sound, a, b), there, walk)
        reached = reached._replace(direction=_unit(direction))
        return self._adapted(reached, error, problem), error

    def _adapted(self, walk: Walk, error: Tensor, problem: Problem) -> Walk:
        """The step size that the last steps speak for, which scale their error by its sixth power: errors near the
        wanted one count more (Robnik & Seljak 2023, section 5, and appendix)."""
        excess = error.square() / (_count(walk.params) * self.energy_variance) + 1e-8
        weight = torch.exp(-0.5 * (excess.log() / (6 * 1.5)) ** 2)
        decay = (WINDOW - 1) / (WINDOW + 1)
        top = decay * walk.top + weight * excess / walk.size**6
        bottom = decay * walk.bottom + weight
        size = torch.where(problem.t < self.burn_in * problem.steps, (top / bottom) ** (-1 / 6), walk.size)
        return walk._replace(size=size, top=top, bottom=bottom)

    def schedule(self, steps: int) -> Sequence[int]:
        return evenly(int(float(self.burn_in) * steps), steps, self.samples)

    def collect(self, state: Walk) -> Params:
        return state.params

    def posterior(self, state: Walk, draws: Params | None, problem: Problem) -> Draws:
        del problem
        if draws is None:
            return Draws(state.params, thinned=False)
        chain_after_chain = {name: value.transpose(0, 1).flatten(0, 1) for name, value in draws.items()}
        return Draws(chain_after_chain, thinned=False)


@METHODS.register
@dataclass(frozen=True)
class EnsembleMCLMC(MCLMC):
    """Microcanonical Langevin chains that start from the members of a deep ensemble, one each."""

    name = "ensemble-mclmc"
    citation = "Sommer et al. 2025, arXiv 2502.06335"
    num_chains: int = 8
    start: str = "ensemble"


@METHODS.register
@dataclass(frozen=True)
class EnsembleMCMC(HMC):
    """Hamiltonian chains that start from the members of a deep ensemble, one each; few and short trajectories.

    The paper adapts the length of a trajectory by NUTS; here it is fixed.
    """

    name = "ensemble-mcmc"
    version = 1
    citation = "Sommer et al. 2024, arXiv 2402.01484"
    tags = ("references", "full-batch")
    start: str = "ensemble"
    fit: float = 0.1
    steps_multiplier: int = 4
    max_leapfrog_steps: int = 100

    def diagnose(self, scores: Mapping[str, float]) -> str:
        """As of any sampler: chains that stay near their members are what the method is, not a failure."""
        return Method.diagnose(self, scores)


def scales(params: Params, problem: Problem) -> Params:
    """Scale of the prior of every tensor of weights, 0-dim each."""
    return {name: problem.scale_of(name, value) for name, value in params.items()}


def turn(direction: Params, gradient: Params, scale: Params, h: Tensor) -> tuple[Params, Tensor]:
    """B(h): the direction that the gradient turns to, and the change of the kinetic energy, 0-dim.

    With zeta = exp(-delta) in place of the hyperbolic functions, which overflow.

    Args:
        direction: u, of length 1. gradient: of U with respect to the weights. scale: s, 0-dim tensors.
    """
    slope = {name: -scale[name] * g for name, g in gradient.items()}
    length = dot(slope, slope).sqrt().clamp(min=1e-30)
    rest = _count(direction) - 1
    delta = h * length / rest.clamp(min=1.0)
    # A cosine, also where so short a slope has no length that float32 could tell: at the bottom of a valley.
    zeta, along = torch.exp(-delta), (dot(slope, direction) / length).clamp(-1, 1)
    ahead = (1 - zeta) * (1 + zeta + along * (1 - zeta)) / length
    turned = _unit({name: ahead * slope[name] + 2 * zeta * u for name, u in direction.items()})
    kinetic = rest * (delta - math.log(2) + torch.log(1 + along + (1 - along) * zeta**2))
    return turned, kinetic


def _count(params: Params) -> Tensor:
    """Number of weights as a tensor, 0-dim."""
    ones = {name: torch.ones_like(value) for name, value in params.items()}
    return dot(ones, ones)


def _unit(vector: Params) -> Params:
    length = dot(vector, vector).sqrt()
    return {name: value / length for name, value in vector.items()}


def _like(values: Params, like: Params) -> Params:
    return {name: value.to(like[name]) for name, value in values.items()}
