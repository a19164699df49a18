r"""Hamiltonian Monte Carlo on the whole data set: the yardstick of every approximation.

With u = w / s, s the prior's scale of each weight, and E(u) = -log p(data, w), trajectories follow

    H(u, r) = E(u) / T + |r|^2 / 2,    r ~ N(0, I),

by the leapfrog integrator and end in a Metropolis test. One update is one leapfrog step of all chains, that is one
gradient over the whole data set each, so that the engine's step does the same work at every call; a trajectory is as
many of them as its length needs. The step size is adapted in the first part by dual averaging and then fixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, Method, fraction, positive
from bnnbench.methods.parameters import dot, mean_product, noise
from bnnbench.model import Params, Predictive, Problem

TARGET = 0.8  # acceptance that the step size is adapted to
DIVERGED = 1000.0  # error of the energy at which a trajectory counts as lost


class Point(NamedTuple):
    """A position of every chain, with the energy E / T there [C] and its gradient."""

    params: Params
    energy: Tensor
    gradient: Params


class Adaptation(NamedTuple):
    """Dual averaging (Hoffman & Gelman 2014, arXiv 1111.4246, section 3.2) of log(step size)."""

    log_step: Tensor
    log_average: Tensor
    error: Tensor
    count: Tensor


class Chains(NamedTuple):
    """C chains: where they stand, where their trajectories are, and how the last ones ended.

    `start` is the Hamiltonian at the beginning of the trajectory [C]; `left` counts its remaining leapfrog steps.
    """

    position: Point
    present: Point
    momentum: Params
    start: Tensor
    left: Tensor
    size: Tensor
    adaptation: Adaptation
    acceptance: Tensor
    divergent: Tensor


@METHODS.register
@dataclass(frozen=True)
class HMC(Method):
    """Full-batch Hamiltonian Monte Carlo, several chains in a cell, from independent starts.

    Attributes:
        parallel: number of chains.
        multiple: leapfrog steps of each chain, in multiples of the budget's number of updates.
        length: length of a trajectory in u; pi / 2 is a quarter of the prior's period.
        leapfrogs: most steps of a trajectory; where step sizes are small, trajectories are shorter than `length`.
        burn: share of the steps before the first draw is kept, in which the step size is adapted; its first half
            makes short trajectories, to come near the typical set with many looks at the acceptance.
        step: step size at the start.
        samples: draws kept of each chain.
        temperature: 1 samples the posterior. prior_scale: factor of the prior's scale.
    """

    name = "hmc"
    reference = "Neal 2011, arXiv 1206.1901; Izmailov et al. 2021, arXiv 2104.14421"
    tags = ("references", "sampling")
    family = "exact"
    parallel: int = 4
    multiple: int = 10
    length: float = math.pi / 2
    leapfrogs: int = 1000
    burn: float = 0.3
    step: float = 0.01
    samples: int = 100
    temperature: float = 1.0
    prior_scale: float = 1.0

    @property
    def networks(self) -> int:
        return self.parallel

    @property
    def chains(self) -> int:
        return self.parallel

    def updates(self, steps: int) -> int:
        return steps * self.multiple

    def check(self) -> None:
        positive(self, "parallel", "multiple", "length", "leapfrogs", "step", "samples", "temperature", "prior_scale")
        fraction(self, "burn")

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> Chains:
        problem = self.target(problem)
        params = vmap(problem.init_params)(random.split(key, self.parallel))
        here = self._point(params, problem)
        momentum = vmap(lambda k, value: noise(k, value))(random.split(key, self.parallel), params)
        one = torch.ones_like(problem.n)
        size = one * self.step
        adaptation = Adaptation(size.log(), size.log(), 0 * one, 0 * one)
        still = torch.zeros_like(here.energy)
        return Chains(here, here, momentum, _hamiltonian(here, momentum), one, size, adaptation, still, still)

    def update(self, key: Tensor, state: Chains, problem: Problem) -> tuple[Chains, Info]:
        problem = self.target(problem)
        scale = {name: problem.scale_of(name, value[0]) for name, value in state.momentum.items()}
        half = {k: r - 0.5 * state.size * scale[k] * state.present.gradient[k] for k, r in state.momentum.items()}
        moved = {k: w + state.size * scale[k] * half[k] for k, w in state.present.params.items()}
        present = self._point(moved, problem)
        momentum = {k: r - 0.5 * state.size * scale[k] * present.gradient[k] for k, r in half.items()}
        ended = self._end(key, state, present, momentum, problem)
        going = state._replace(present=present, momentum=momentum, left=state.left - 1)
        lost = (_hamiltonian(present, momentum) - state.start < DIVERGED).logical_not().all()  # NaN is lost, too
        over = (state.left <= 1) | lost
        state = tree_map(lambda a, b: torch.where(over, a, b), ended, going)
        return state, {
            "loss": state.position.energy.mean() * self.temperature / problem.n,
            "acceptance": state.acceptance.mean(),
            "divergent": state.divergent.mean(),
            "step_size": state.adaptation.log_step.exp(),
            "temperature_kinetic": mean_product(momentum, momentum),
            "temperature_configurational": self.temperature * mean_product(present.params, present.gradient),
        }

    def _point(self, params: Params, problem: Problem) -> Point:
        def energy(w: Params) -> Tensor:
            total = problem.over_data(lambda batch: -(batch.weight * problem.log_likelihood(w, batch)).sum())
            return (total - problem.log_prior(w)) / self.temperature

        gradient, value = vmap(grad_and_value(energy))(params)
        return Point(params, value, gradient)

    def _end(self, key: Tensor, state: Chains, present: Point, momentum: Params, problem: Problem) -> Chains:
        """The Metropolis test of the finished trajectories, and the start of new ones."""
        change = torch.nan_to_num(state.start - _hamiltonian(present, momentum), nan=-torch.inf)
        probability = change.clamp(max=0.0).exp()
        accepted = random.uniform(key, (self.parallel,)).to(probability) < probability
        position = tree_map(lambda new, old: _choose(accepted, new, old), present, state.position)
        now = problem.t / problem.steps
        adaptation = _adapt(state.adaptation, probability.mean(), self.step, now < self.burn)
        step = torch.where(now < self.burn, adaptation.log_step, adaptation.log_average).exp()
        adaptation = adaptation._replace(log_step=step.log())
        # Steps of +-10 %, since a trajectory that closes on itself would never leave its orbit (Neal 2011, 3.2).
        size = step * (0.9 + 0.2 * random.bernoulli(key, 0.5, ()).to(step))
        momentum = vmap(lambda k, value: noise(k, value))(random.split(key, self.parallel), momentum)
        start = _hamiltonian(position, momentum)
        most = torch.where(now < self.burn / 2, min(25, self.leapfrogs), self.leapfrogs)
        left = torch.ceil(self.length / size).clamp(min=1.0).minimum(most)
        divergent = (change < -DIVERGED).to(change)
        return Chains(position, position, momentum, start, left, size, adaptation, probability, divergent)

    def schedule(self, steps: int) -> Sequence[int]:
        first = int(float(self.burn) * steps)
        kept = min(self.samples, steps - first)
        return [first + (i + 1) * (steps - first) // kept - 1 for i in range(kept)]

    def collect(self, state: Chains) -> Params:
        return state.position.params

    def weights(self, key: Tensor, state: Chains, draws: Any, problem: Problem, samples: int) -> Params:
        del key, problem, samples
        if draws is None:
            return state.position.params
        return {name: value.transpose(0, 1).flatten(0, 1) for name, value in draws.items()}  # chain after chain

    def predict(self, key: Tensor, state: Any, draws: Any, problem: Problem, x: Tensor, samples: int) -> Predictive:
        return problem.predict(self.weights(key, state, draws, problem, samples), x)


def _hamiltonian(point: Point, momentum: Params) -> Tensor:
    return point.energy + 0.5 * vmap(dot)(momentum, momentum)


def _choose(condition: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(condition.reshape(condition.shape + (1,) * (new.dim() - 1)), new, old)


def _adapt(state: Adaptation, acceptance: Tensor, first: float | Tensor, active: Tensor) -> Adaptation:
    """One step of dual averaging, gamma = 0.05, t0 = 10, kappa = 0.75, pulled towards ten times the first step."""
    count = state.count + 1
    error = (1 - 1 / (count + 10)) * state.error + (TARGET - acceptance) / (count + 10)
    centre = torch.log(10 * torch.as_tensor(first).to(count))
    log_step = centre - count.sqrt() / 0.05 * error
    weight = count**-0.75
    new = Adaptation(log_step, weight * log_step + (1 - weight) * state.log_average, error, count)
    return tree_map(lambda a, b: torch.where(active, a, b), new, state)
