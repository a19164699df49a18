r"""Hamiltonian Monte Carlo on the whole data set: the gold standard of every approximation.

With u = w / s, s the prior's scale of each weight, and E(u) = -log p(data, w), trajectories follow

    H(u, r) = E(u) / T + |r|^2 / 2,    r ~ N(0, I),

by the leapfrog integrator and end in a Metropolis test. One update is one leapfrog step of all chains, that is one
gradient over the whole data set each, so that the engine's step does the same work at every call; a trajectory is as
many of them as its length needs. The step size is adapted in the first part by dual averaging and then fixed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vmap
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, Method, evenly, fraction, one_of, positive
from bnnbench.methods.diagnose import lacking
from bnnbench.methods.dual_averaging import Adaptation, adapt, fresh
from bnnbench.methods.optimise import AdamState, adam_init, adam_update, one_cycle, phase_end
from bnnbench.methods.space import PRIOR_SCALE, Space
from bnnbench.model import Params, Problem
from bnnbench.model.parameters import dot, mean_product, noise
from bnnbench.model.posteriors import Draws

DIVERGED = 1000.0  # error of the energy at which a trajectory counts as lost


class Position(NamedTuple):
    """A position of every chain, with the negative log-likelihood there [C] and its gradient."""

    params: Params
    nll: Tensor
    gradient: Params


class Chains(NamedTuple):
    """C chains: where they stand, where their trajectories are, and how the last ones ended.

    `start` is the Hamiltonian at the beginning of the trajectory [C]; chains that come from the prior see the
    likelihood to the `power`. `left` counts the trajectory's remaining leapfrog steps, of the given `size`. `fit` is
    Adam's, of the chains that come from an ensemble.
    """

    position: Position
    present: Position
    fit: AdamState
    momentum: Params
    start: Tensor
    power: Tensor
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
        num_chains: number of chains.
        start: where they start, `prior`, `ensemble` or `both`, the first half of them from the prior.
        fit: fraction of the steps that fits the ensemble, with `lr` as the peak of a one-cycle rate.
        steps_multiplier: leapfrog steps of each chain, in multiples of the budget's number of updates.
        length: length of a trajectory in u; pi / 2 is a quarter of the prior's period.
        max_leapfrog_steps: most steps of a trajectory; where step sizes are small, it is shorter than `length`.
        burn_in: fraction of the steps before the first draw is kept, in which the step size is adapted; its first half
            makes short trajectories, to come near the typical set with many Metropolis tests.
        step: step size at the start.
        samples: draws kept of each chain.
        temperature: 1 samples the posterior. prior_scale: factor of the prior's scale.
    """

    name = "hmc"
    version = 2
    citation = "Neal 2011, arXiv 1206.1901; Izmailov et al. 2021, arXiv 2104.14421"
    tags = ("references", "sampling")
    family = "exact"
    prunable = True
    num_chains: int = 8
    start: str = "both"
    fit: float = 0.02
    lr: float = 1e-2
    steps_multiplier: int = 20
    length: float = math.pi / 2
    max_leapfrog_steps: int = 300
    burn_in: float = 0.5
    step: float = 0.01
    samples: int = 100
    temperature: float = 1.0
    prior_scale: float = 1.0

    @classmethod
    def space(cls) -> Space:
        return {"prior_scale": PRIOR_SCALE}

    @property
    def num_networks(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.num_chains

    def check(self) -> None:
        positive(
            self,
            "num_chains",
            "steps_multiplier",
            "length",
            "max_leapfrog_steps",
            "step",
            "samples",
            "temperature",
            "prior_scale",
            "lr",
        )
        fraction(self, "burn_in", "fit")
        one_of(self, "start", ("prior", "ensemble", "both"))

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> Chains:
        params = vmap(problem.init_params)(random.split(key, self.num_chains))
        here, one = self._point(params, problem), torch.ones_like(problem.n)
        momentum = self._momentum(key, params)
        size = one * self.step
        adaptation = fresh(size.log())
        start = self._hamiltonian(here, momentum, 0 * one, problem)
        still = torch.zeros_like(start)
        return Chains(here, here, adam_init(params), momentum, start, 0 * one, one, size, adaptation, still, still)

    def update(self, key: Tensor, state: Chains, problem: Problem) -> tuple[Chains, Info]:
        end = phase_end(self.fit, torch.full_like(problem.t, problem.steps))
        fitting = problem.t < end
        moved, momentum, fit = self._moved(state, fitting, problem)
        present = self._point(moved, problem)
        gradient = self._gradient(present, state.power, problem)
        momentum = self._kick(momentum, gradient, state.size, problem)
        energy = self._hamiltonian(present, momentum, state.power, problem)
        going = state._replace(present=present, fit=fit, momentum=momentum, left=state.left - 1)
        lost = (energy - state.start < DIVERGED).logical_not().all()  # NaN is lost, too
        over = torch.where(fitting, problem.t + 1 >= end, (state.left <= 1) | lost)
        ended = self._end(key, going, energy, fitting, problem)
        state = tree_map(lambda a, b: torch.where(over, a, b), ended, going)
        return state, {
            "loss": state.position.nll.mean() / problem.n,
            "acceptance": state.acceptance.mean(),
            "divergent": state.divergent.mean(),
            "step_size": state.adaptation.log_step.exp(),
            "temperature_kinetic": self.temperature * mean_product(momentum, momentum),
            "temperature_configurational": self.temperature * mean_product(present.params, gradient),
        }

    def _moved(self, state: Chains, fitting: Tensor, problem: Problem) -> tuple[Params, Params, AdamState]:
        """Where one step takes the weights, with the momentum half a step on: a leapfrog step, or while the ensemble is
        fitted, a step of Adam for its chains and none for the others."""
        gradient = self._gradient(state.present, state.power, problem)
        half = self._kick(state.momentum, gradient, state.size, problem)
        rate = one_cycle(problem.t / self.fit, problem.steps, self.lr)
        fit = adam_update(state.fit._replace(params=state.present.params), gradient, problem.t, rate)
        chosen, moved = self._from_ensemble(state.start), {}
        for name, w in state.present.params.items():
            flown = w + state.size * problem.scale_of(name, w[0]) * half[name]
            moved[name] = torch.where(fitting, _choose(chosen, fit.params[name], w), flown)
        # Afterwards Adam rests: what it would learn on lost trajectories is not finite.
        return moved, half, tree_map(lambda new, old: torch.where(fitting, new, old), fit, state.fit)

    def _kick(self, momentum: Params, gradient: Params, size: Tensor, problem: Problem) -> Params:
        """The momentum half a step later."""
        scale = {name: problem.scale_of(name, r[0]) for name, r in momentum.items()}
        return {name: r - 0.5 * size * scale[name] * gradient[name] for name, r in momentum.items()}

    def _from_ensemble(self, like: Tensor) -> Tensor:
        """Which of the chains start from an ensemble, [C]."""
        first = {"prior": self.num_chains, "both": self.num_chains // 2, "ensemble": 0}[self.start]
        return torch.arange(self.num_chains, device=like.device) >= first

    def _point(self, params: Params, problem: Problem) -> Position:
        def nll(w: Params) -> Tensor:
            return problem.over_data(lambda batch: -(batch.weight * problem.log_likelihood(w, batch)).sum())

        gradient, value = vmap(grad_and_value(nll))(params)
        return Position(params, value, gradient)

    def _powers(self, power: Tensor, like: Tensor) -> Tensor:
        """The power of the likelihood of every chain, [C]: tempering is for those that start from the prior."""
        return torch.where(self._from_ensemble(like), torch.ones_like(like), power)

    def _gradient(self, point: Position, power: Tensor, problem: Problem) -> Params:
        """Of E / T, the likelihood to this power where a chain is tempered."""
        pull = vmap(grad(problem.log_prior))(point.params)
        powers = self._powers(power, point.nll)
        return {
            name: (_along(powers, gradient) * gradient - pull[name]) / self.temperature
            for name, gradient in point.gradient.items()
        }

    def _hamiltonian(self, point: Position, momentum: Params, power: Tensor, problem: Problem) -> Tensor:
        energy = self._powers(power, point.nll) * point.nll - vmap(problem.log_prior)(point.params)
        return energy / self.temperature + 0.5 * vmap(dot)(momentum, momentum)

    def _momentum(self, key: Tensor, like: Params) -> Params:
        return tree_map(lambda r, w: r.to(w), vmap(noise)(random.split(key, self.num_chains), like), like)

    def _end(self, key: Tensor, state: Chains, energy: Tensor, fitting: Tensor, problem: Problem) -> Chains:
        """The Metropolis test of the finished trajectories, and the start of new ones; a fitted ensemble is taken as
        it is."""
        change = torch.nan_to_num(state.start - energy, nan=-torch.inf)
        probability = change.clamp(max=0.0).exp()
        accepted = fitting | (random.uniform(key, (self.num_chains,)).to(probability) < probability)
        position = tree_map(lambda new, old: _choose(accepted, new, old), state.present, state.position)
        now = problem.t / problem.steps
        adapting = (now < self.burn_in) & fitting.logical_not()
        power = (now / (self.burn_in / 2)).clamp(max=1.0) ** 3
        adaptation = adapt(state.adaptation, probability.mean(), adapting)
        arrived = (power >= 1) & (state.power < 1)  # from here on trajectories are long: the past misleads
        again = fresh(adaptation.log_step)
        adaptation = tree_map(lambda a, b: torch.where(arrived, a, b), again, adaptation)
        step = torch.where(now < self.burn_in, adaptation.log_step, adaptation.log_average).exp()
        adaptation = adaptation._replace(log_step=step.log())
        # Steps of +-10 %, since a trajectory that closes on itself would never leave its orbit (Neal 2011, 3.2).
        size = step * (0.9 + 0.2 * random.bernoulli(key, 0.5, ()).to(step))
        most = torch.where(now < self.burn_in / 2, min(25, self.max_leapfrog_steps), self.max_leapfrog_steps)
        left = torch.ceil(self.length / size).clamp(min=1.0).minimum(most)
        momentum = self._momentum(key, state.momentum)
        start = self._hamiltonian(position, momentum, power, problem)
        divergent = torch.where(fitting, 0.0, (change < -DIVERGED).to(change))
        return state._replace(
            position=position, present=position, momentum=momentum, start=start, power=power, left=left, size=size,
            adaptation=adaptation, acceptance=probability, divergent=divergent,
        )  # fmt: skip

    def schedule(self, steps: int) -> Sequence[int]:
        return evenly(int(float(self.burn_in) * steps), steps, self.samples)

    def finish(self, key: Tensor, state: Chains, problem: Problem) -> Chains:
        """Without the trajectory under way, in which a chain may be lost that is sound."""
        del key, problem
        return state._replace(present=state.position, momentum=tree_map(torch.zeros_like, state.momentum))

    def collect(self, state: Chains) -> Params:
        return state.position.params

    def posterior(self, state: Chains, draws: Params | None, problem: Problem) -> Draws:
        del problem
        if draws is None:
            return Draws(state.position.params, thinned=False)
        chain_after_chain = {name: value.transpose(0, 1).flatten(0, 1) for name, value in draws.items()}
        return Draws(chain_after_chain, thinned=False)

    def diagnose(self, scores: Mapping[str, float]) -> str:
        """Why the run is no gold standard: what its certificate lacks."""
        lacks = lacking(scores) if "certified" in scores else ""
        return f"not certified: {lacks}" if lacks else super().diagnose(scores)


def _choose(condition: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(_along(condition, new), new, old)


def _along(values: Tensor, like: Tensor) -> Tensor:
    """Values of the chains [C] in a shape that multiplies [C, ...]."""
    return values.reshape(values.shape + (1,) * (like.dim() - 1))
