r"""Stein variational gradient descent: K networks that descend together and push each other apart.

With u = w / s the weights in units of the prior's scale, and k the RBF kernel between whole networks in u, particle i
moves along

    phi(u_i) = (1/K) sum_j [k(u_j, u_i) grad_{u_j} log p(w_j | data) + grad_{u_j} k(u_j, u_i)],

the direction in the kernel's function space along which the KL divergence to the posterior falls fastest. All particles
see the same minibatch, as in the authors' code: its noise then moves them together, and not apart.

Distances of few particles in many dimensions are all alike, so that the repulsion is weaker than that of a density: K
particles have less than the posterior's spread, the less the more weights there are for a particle (Zhuo et al. 2018,
arXiv 1711.04425). In a linear model of four weights their mean is exact, and their standard deviations are 0.7 of the
posterior's at K = 10, 0.85 at 50 and 0.9 at 100.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.methods.base import METHODS, Info, Method, positive
from bnnbench.methods.kernels import Kernel, median_rbf, squared_distances
from bnnbench.methods.optimise import AdamState, adam_init, adam_update, one_cycle
from bnnbench.methods.space import PRIOR_SCALE, LogUniform, Space
from bnnbench.model import Params, Problem
from bnnbench.model.posteriors import Draws


@METHODS.register
@dataclass(frozen=True)
class SVGD(Method):
    """Stein variational gradient descent over whole networks, by Adam under a one-cycle learning rate.

    Attributes:
        particles: number of networks, K.
        lr: peak learning rate.
        prior_scale: factor of the prior's scale.
        early_stopping: whether each particle goes back to its best state on the validation rows; they are then no
            approximation of the posterior.
    """

    name = "svgd"
    citation = "Liu & Wang 2016, arXiv 1608.04471"
    tags = ("ensembles",)
    family = "point"
    particles: int = 10
    lr: float = 3e-2
    prior_scale: float = 1.0
    early_stopping: bool = False

    @classmethod
    def space(cls) -> Space:
        return {"lr": LogUniform(0.0001, 0.3), "prior_scale": PRIOR_SCALE}

    @property
    def num_networks(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.particles

    def check(self) -> None:
        positive(self, "lr", "prior_scale")
        if self.particles < 2:
            raise UserError(f"{self.name}.particles must be at least 2, not {self.particles}; one particle is `map`.")

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        return vmap(lambda k: adam_init(problem.init_params(k)))(random.split(key, self.particles))

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        batch = problem.minibatch(key)
        energy = grad_and_value(lambda params: problem.energy(params, batch))
        gradient, loss = vmap(energy)(state.params)
        rate = one_cycle(problem.t, problem.steps, self.lr)
        descent = self.descent(state.params, gradient, problem)
        return adam_update(state, descent, problem.t, rate), {"loss": loss.mean()}

    def descent(self, params: Params, gradient: Params, problem: Problem) -> Params:
        """-phi / (s n), in which a single particle would have the gradient of its energy U = -(1/n) log p(w, data)."""
        scale = {name: problem.scale_of(name, value[0]) for name, value in params.items()}
        scaled = {name: value / scale[name] for name, value in params.items()}
        kernel = median_rbf(squared_distances(scaled))
        return {
            name: (torch.tensordot(kernel.values, gradient[name], 1)
                   - self.repulsion(kernel, value) / (scale[name] * problem.n)) / self.particles
            for name, value in scaled.items()
        }  # fmt: skip

    def repulsion(self, kernel: Kernel, scaled: Tensor) -> Tensor:
        """sum_j grad_{u_j} k(u_j, u_i), of one parameter in units of the prior's scale [K, ...]."""
        return kernel.slope(scaled)

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> Draws:
        del draws, problem
        return Draws(state.params, thinned=False)
