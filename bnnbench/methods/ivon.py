r"""Improved variational online Newton: mean-field variational inference at about the cost of Adam.

q(w) = N(m, sigma^2) over all weights is fitted to the objective of Bayes by Backprop, the negative evidence lower
bound over n,

    L = E_q[l(w)] + (1/n) KL(q || p),    l(w) = -(1/n) sum_i log p(y_i | x_i, w),    p = N(c, s^2),

by natural-gradient descent, one gradient at a weight sample a step (Shen et al. 2024, algorithm 1):

    w = m + sigma * eps,    sigma^2 = T / (n (h + delta)),    delta = 1 / (n s^2),
    g <- b1 g + (1 - b1) grad l(w),
    h' = grad l(w) * (w - m) / sigma^2,
    h <- b2 h + (1 - b2) h' + (1 - b2)^2 (h - h')^2 / (2 (h + delta)),
    m <- m - a clip[(g / (1 - b1^t) + delta (m - c)) / (h + delta)].

h' estimates the diagonal of E_q[Hessian of l] (Price's theorem), and the last term of the third line keeps h + delta
positive. delta is the paper's weight decay: that of the task's prior, in every layer its own. As in the authors'
package (`ivon-opt`), a = lr (h_0 + delta), so that a first step is one of gradient descent at the rate lr.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.methods.base import METHODS, Info, Method, fraction, positive
from bnnbench.methods.bbp import cross_entropy_gaussian, entropy
from bnnbench.methods.optimise import held, one_cycle
from bnnbench.methods.space import PRIOR_SCALE, LogUniform, Space
from bnnbench.model import GaussianPrior, Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.parameters import noise
from bnnbench.model.posteriors import FactorisedGaussian, Posterior


class IVONState(NamedTuple):
    """Means m, running gradient g, and h + delta, by parameter; and n, of which a stored posterior is told no more."""

    mean: Params
    momentum: Params
    precision: Params
    n: Tensor


@METHODS.register
@dataclass(frozen=True)
class IVON(Method):
    """IVON under the task's Gaussian prior.

    Attributes:
        lr: peak of the one-cycle learning rate.
        hess_init: h before the first step; larger values begin with a narrower q.
        beta1: decay of the running gradient. beta2: decay of h.
        clip: largest |(g + delta (m - c)) / (h + delta)| of a weight; the authors' clip radius.
        samples: weight samples of a step, among which the minibatch is divided: each has a part of its rows, so that
            a step remains one minibatch gradient.
        temperature: T; other values than 1 are another target.
        prior_scale: factor of the prior's scale.
    """

    name = "ivon"
    citation = "Shen et al. 2024, arXiv 2402.17641"
    tags = ("variational",)
    family = "mean-field"
    prunable = True
    lr: float = 0.1
    hess_init: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.9995
    clip: float = 0.1
    samples: int = 4
    temperature: float = 1.0
    prior_scale: float = 1.0
    early_stopping: bool = False

    @classmethod
    def space(cls) -> Space:
        return {"lr": LogUniform(0.01, 1.0), "hess_init": LogUniform(0.1, 10.0), "prior_scale": PRIOR_SCALE}

    def check(self) -> None:
        positive(self, "lr", "hess_init", "clip", "samples", "temperature", "prior_scale")
        fraction(self, "beta1", "beta2")

    def prepare(self, problem: Problem) -> Problem:
        if not isinstance(problem.prior, GaussianPrior):
            raise UserError(f"ivon needs a Gaussian prior, and this task has a {type(problem.prior).__name__}.")
        if problem.batch_size % self.samples:
            raise UserError(
                f"ivon.samples must divide the task's minibatches of {problem.batch_size} rows, not be {self.samples}."
            )
        return problem

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> IVONState:
        mean = problem.init_params(key)
        start = {name: torch.zeros_like(v) + self.hess_init + self.decay(problem, name, v) for name, v in mean.items()}
        return IVONState(mean, {name: torch.zeros_like(value) for name, value in mean.items()}, start, problem.n + 0)

    def decay(self, problem: Problem, name: str, value: Tensor) -> Tensor:
        """delta of one parameter, 0-dim."""
        return 1 / (problem.n * problem.scale_of(name, value) ** 2)

    def sd(self, state: IVONState) -> Params:
        """sigma of every parameter."""
        scale = (self.temperature / state.n) ** 0.5
        return {name: scale * value.rsqrt() for name, value in state.precision.items()}

    def update(self, key: Tensor, state: IVONState, problem: Problem) -> tuple[IVONState, Info]:
        sigma = self.sd(state)
        nll, gradient, product = self._gradients(key, state.mean, sigma, problem)
        rate = one_cycle(problem.t, problem.steps, self.lr)
        correction = 1 - self.beta1 ** (problem.t + 1)
        mean, momentum, precision, divergence = {}, {}, {}, []
        for name, m in state.mean.items():
            delta = held(self.decay(problem, name, m))
            centre = -1.0 if name == LOG_NOISE else 0.0
            p = state.precision[name]
            momentum[name] = torch.lerp(gradient[name], state.momentum[name], self.beta1)
            # With r = (1 - b2) (h' - h) / (h + delta), h + delta becomes (h + delta) (1 + r + r^2 / 2).
            r = (1 - self.beta2) * (product[name] / sigma[name] - (p - delta)) / p
            precision[name] = p * (1 + r + 0.5 * r**2)
            step = held(rate * (self.hess_init + delta))
            direction = momentum[name] / correction + delta * (m - centre)
            mean[name] = m - step * (direction / precision[name]).clamp(-self.clip, self.clip)
            scale = problem.scale_of(name, m)
            divergence.append((cross_entropy_gaussian(m, sigma[name], centre, scale) - entropy(sigma[name])).sum())
        kl = torch.stack(divergence).sum() / problem.n
        return IVONState(mean, momentum, precision, state.n), {"loss": nll + kl, "nll": nll, "kl": kl}

    def _gradients(self, key: Tensor, mean: Params, sigma: Params, problem: Problem) -> tuple[Tensor, Params, Params]:
        """Means over the weight samples of l, of its gradient, and of gradient * eps."""
        count = self.samples
        batch = tree_map(lambda leaf: leaf.unflatten(0, (count, -1)), problem.minibatch(key))

        def one(key: Tensor, part: Any) -> tuple[Tensor, Params, Params]:
            eps = {name: value.to(mean[name]) for name, value in noise(key, mean).items()}
            sample = {name: m + sigma[name] * eps[name] for name, m in mean.items()}
            gradient, nll = grad_and_value(problem.mean_nll)(sample, part)
            return nll, gradient, {name: g * eps[name] for name, g in gradient.items()}

        keys = random.split(key, count)
        return tree_map(lambda leaf: leaf.mean(0), vmap(one)(keys, batch))

    def posterior(self, state: IVONState, draws: Any, problem: Problem) -> Posterior:
        del draws, problem
        return FactorisedGaussian(state.mean, self.sd(state))
