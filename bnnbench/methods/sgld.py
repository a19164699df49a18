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

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, Method, fraction, positive
from bnnbench.methods.optimise import held
from bnnbench.model import Predictive, Problem

Params = dict[str, Tensor]


@METHODS.register
@dataclass(frozen=True)
class SGLD(Method):
    """SGLD with a step that decays by a cosine from `lr` to `lr * floor`; draws are kept evenly after burn-in.

    Attributes:
        lr: step size h on the energy per datum, at the start.
        floor: share of it that is left at the end.
        burn: share of the steps before the first draw is kept.
        samples: draws kept.
        temperature: 1 samples the posterior.
    """

    name = "sgld"
    reference = "Welling & Teh 2011, ICML"
    tags = ("sampling",)
    lr: float = 3e-2
    floor: float = 0.1
    burn: float = 0.5
    samples: int = 50
    temperature: float = 1.0

    def check(self) -> None:
        positive(self, "lr", "samples", "temperature")
        fraction(self, "burn", "floor")

    def init(self, key: Tensor, problem: Problem) -> Params:
        return problem.init_params(key)

    def update(self, key: Tensor, state: Params, problem: Problem) -> tuple[Params, Info]:
        batch = problem.minibatch(key)
        gradient, loss = grad_and_value(problem.energy)(state, batch)
        h = held(self.lr * (self.floor + (1 - self.floor) * 0.5 * (1 + torch.cos(math.pi * problem.t / problem.steps))))
        noise = random.normal(key, (sum(value.numel() for value in state.values()),))
        noise = noise * held(torch.sqrt(2 * h * self.temperature / problem.n))
        pieces = torch.split(noise, [value.numel() for value in state.values()])
        state = {
            name: value - h * gradient[name] + xi.reshape(value.shape)
            for (name, value), xi in zip(state.items(), pieces, strict=True)
        }
        return state, {"loss": loss}

    def schedule(self, steps: int) -> Sequence[int]:
        first = int(float(self.burn) * steps)
        kept = min(self.samples, steps - first)
        return [first + (i + 1) * (steps - first) // kept - 1 for i in range(kept)]

    def collect(self, state: Params) -> Params:
        return state

    def predict(self, key: Tensor, state: Params, draws: Any, problem: Problem, x: Tensor, samples: int) -> Predictive:
        del key, samples
        if draws is None:
            draws = {name: value[None] for name, value in state.items()}
        return problem.predict(draws, x)
