r"""Preconditioned stochastic gradient Langevin dynamics.

With the energy per datum U(w) = -(1/n) log p(data, w), a step of size h under the diagonal preconditioner G(w) is

    w <- w - h (G grad U(w) - (T/n) Gamma) + sqrt(2 h G T / n) * xi,    xi ~ N(0, 1).

Gamma_i = dG_i/dw_i keeps a preconditioner that depends on w from changing the distribution that is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, grad_and_value

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, fraction, positive
from bnnbench.methods.optimise import held
from bnnbench.methods.sgld import SGLD, langevin_info
from bnnbench.methods.space import LogUniform, Space
from bnnbench.model import Params, Problem
from bnnbench.model.parameters import dot, noise, unflatten


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
    z o (H z) with a random sign z for each weight (Hutchinson 1990), at the cost of a second derivative. That is more
    than the one minibatch gradient of a step (docs/tuning.md has figures), and the checks see no change by it, so that
    it is off by default.

    Attributes:
        decay: of the running mean. stabiliser: lambda.
        gamma: whether Gamma is kept.
    """

    name = "psgld"
    version = 3
    citation = "Li et al. 2016, arXiv 1512.07666"
    lr: float = 3e-3
    decay: float = 0.99
    stabiliser: float = 1e-2
    gamma: bool = False

    @classmethod
    def space(cls) -> Space:
        return {**super().space(), "lr": LogUniform(0.0003, 0.1), "stabiliser": LogUniform(0.0001, 0.1)}

    def check(self) -> None:
        super().check()
        positive(self, "stabiliser")
        fraction(self, "decay")

    def init(self, key: Tensor, problem: Problem) -> Preconditioned:
        params = problem.init_params(key)
        return Preconditioned(params, {name: torch.ones_like(value) for name, value in params.items()})

    def update(self, key: Tensor, state: Preconditioned, problem: Problem) -> tuple[Preconditioned, Info]:
        params = state.params
        batch = problem.minibatch(key)
        gradient, loss = grad_and_value(problem.energy)(params, batch)
        h, temperature = self.step_size(problem), self.scaled_temperature(problem)
        amount, xi = held(torch.sqrt(2 * h * temperature)), noise(key, params)
        curvature = self._curvature(key, params, lambda w: grad(problem.energy)(w, batch))
        square, step, spread = {}, {}, {}
        for name, g in gradient.items():
            square[name] = torch.lerp(g * g, state.square[name], self.decay)
            root = square[name].sqrt()
            scale = 1 / (self.stabiliser + root)
            # dG/dw = -G^2 dV/dw / (2 sqrt V), dV/dw = 2 (1 - decay) g dg/dw
            gamma = -(scale**2) * (1 - self.decay) * g / root.clamp(min=1e-12) * curvature[name] if self.gamma else 0.0
            step[name], spread[name] = h * (scale * g - temperature * gamma), amount * scale.sqrt()
        step, cut = self.drift(step, problem)
        new = {name: w - step[name] + spread[name] * xi[name] for name, w in params.items()}
        info = langevin_info(loss, h, params, gradient, problem) | {"drift_shortened": cut}
        return Preconditioned(new, square), info

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
