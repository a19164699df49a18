"""Exact Gaussian process regression: what a prior over functions says without a network's approximations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad

from bnnbench.methods.base import METHODS, Method, one_of, positive
from bnnbench.methods.optimise import adam_init, adam_update
from bnnbench.methods.space import OneOf, Space
from bnnbench.model import GaussianPredictive, Problem
from bnnbench.model.posteriors import FunctionSpace, structure, tree

JITTER = 1e-6  # part of the noise's variance, on the standardised target: no matrix comes near to singular
RATE, BETA1, BETA2 = 0.1, 0.9, 0.99  # of Adam, its rate falling along half a cosine


class GPState(NamedTuple):
    """Hyperparameters and standardised rows, all in float64; the matrices are computed from them.

    Attributes:
        theta: log lengthscales [d], log amplitude, log standard deviation of the noise: [d + 2].
        x, y: inputs [n, d] and targets [n]; 0 for padding.
        mask: 1 for rows, 0 for padding, [n].
    """

    theta: Tensor
    x: Tensor
    y: Tensor
    mask: Tensor


@tree
class Process(FunctionSpace):
    """The Gaussian process given its hyperparameters and all rows.

    Mean k_*n K^-1 y, variance k_** - k_*n K^-1 k_n* + noise; one component (Rasmussen & Williams, algorithm 2.1).
    """

    state: GPState
    kernel: str = structure()

    def predict(self, sample: Any, problem: Problem, x: Tensor) -> GaussianPredictive:
        del sample
        state, kernel = self.state, KERNELS[self.kernel]
        lengthscale, amplitude, noise = scales(state.theta)
        at = problem.standardise(x, torch.float64) / lengthscale
        across = amplitude**2 * kernel.matrix(state.x / lengthscale, at) * state.mask[:, None]
        factor = cholesky(covariance(kernel, state))
        solved = torch.linalg.solve_triangular(factor, torch.cat([state.y[:, None], across], 1), upper=False)
        mean = solved[:, 1:].T @ solved[:, 0]
        variance = (amplitude**2 * kernel.diagonal(at) - (solved[:, 1:] ** 2).sum(0)).clamp(min=0.0) + noise
        mean, scale = problem.rows.y_shift + problem.rows.y_scale * mean, problem.rows.y_scale * variance.sqrt()
        return GaussianPredictive(mean[None], scale[None])


@METHODS.register
@dataclass(frozen=True)
class GP(Method):
    """f ~ GP(0, amplitude^2 k(x / lengthscales, x' / lengthscales)), y = f(x) + noise, of one size everywhere.

    The hyperparameters maximise the log marginal likelihood; the posterior given them is exact, on all rows.

    Attributes:
        kernel: `rbf`, or `arccos`, the arc-cosine kernel of order 1 (Cho & Saul 2009), which is a network with one
            infinite hidden layer of ReLU.
        rows: the hyperparameters are fitted to at most so many rows, evenly spaced; on larger tasks one split is run.
        iterations: steps of Adam on the log marginal likelihood.
    """

    name = "gp"
    citation = "Rasmussen & Williams 2006, doi:10.7551/mitpress/3206.001.0001; Cho & Saul 2009"
    tags = ("references", "other-target")
    supports = ("regression",)
    num_networks = 0
    vmappable = False
    kernel: str = "rbf"
    rows: int = 2000
    iterations: int = 200

    @property
    def most_rows(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.rows

    @classmethod
    def space(cls) -> Space:
        return {"kernel": OneOf(tuple(KERNELS))}

    def check(self) -> None:
        positive(self, "rows", "iterations")
        one_of(self, "kernel", tuple(KERNELS))

    def init(self, key: Tensor, problem: Problem) -> GPState:
        del key
        rows, mask = problem.rows, (problem.rows.weight > 0).double()
        x = problem.standardise(problem.table.x[rows.index], torch.float64) * mask[:, None]
        y = problem.standardise_target(problem.table.y[rows.index]).double() * mask
        d = x.shape[1]
        theta = torch.tensor([0.5 * math.log(d)] * d + [0.0, math.log(0.3)]).to(x)
        return GPState(theta, x, y, mask)

    def finish(self, key: Tensor, state: GPState, problem: Problem) -> GPState:
        del key
        some, kernel = thinned(state, problem.rows.count, self.rows), KERNELS[self.kernel]
        gradient = grad(lambda theta: -surrogate(kernel, some._replace(theta=theta)))
        fit = adam_init({"theta": state.theta})
        for t in range(self.iterations):
            rate = 0.5 * RATE * (1 + math.cos(math.pi * (t + 1) / self.iterations))
            downhill = {"theta": gradient(fit.params["theta"])}
            fit = adam_update(fit, downhill, torch.full_like(state.theta[0], t), rate, BETA1, BETA2)
        return state._replace(theta=fit.params["theta"])

    def posterior(self, state: GPState, draws: Any, problem: Problem) -> Process:
        del draws, problem
        return Process(state, self.kernel)


class Kernel(NamedTuple):
    """k as a matrix of inputs [n, d], [m, d] -> [n, m], and its diagonal [n, d] -> [n]."""

    matrix: Any
    diagonal: Any


def rbf(a: Tensor, b: Tensor) -> Tensor:
    """exp(-|a_i - b_j|^2 / 2)."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return torch.exp(-0.5 * squares.clamp(min=0.0))


def arccos(a: Tensor, b: Tensor) -> Tensor:
    """2 E[relu(w . a_i) relu(w . b_j)], w ~ N(0, I) (Cho & Saul 2009, equation 6), the inputs with a bias of 1.

    = |a| |b| (sin t + (pi - t) cos t) / pi, t the angle between a and b.
    """
    norms = arccos_diagonal(a).sqrt()[:, None] * arccos_diagonal(b).sqrt()
    # At t = 0 the parts have infinite derivatives that cancel; the cosine's own derivative is 0 there.
    cosine = ((a @ b.T + 1) / norms).clamp(-1 + 1e-12, 1 - 1e-12)
    return norms * ((1 - cosine**2).sqrt() + (math.pi - torch.acos(cosine)) * cosine) / math.pi


def arccos_diagonal(a: Tensor) -> Tensor:
    """|a|^2 with a bias of 1."""
    return (a**2).sum(1) + 1


KERNELS = {"rbf": Kernel(rbf, lambda a: torch.ones_like(a[:, 0])), "arccos": Kernel(arccos, arccos_diagonal)}


def scales(theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lengthscales [d], amplitude, and variance of the noise."""
    return theta[:-2].exp(), theta[-2].exp(), (2 * theta[-1]).exp() + JITTER


def covariance(kernel: Kernel, state: GPState) -> Tensor:
    """K = amplitude^2 k + noise I of y, [n, n]; padding is independent of variance 1, so that it adds nothing."""
    lengthscale, amplitude, noise = scales(state.theta)
    x, mask = state.x / lengthscale, state.mask
    values = amplitude**2 * kernel.matrix(x, x) * mask[:, None] * mask
    return values + torch.diag(noise * mask + 1 - mask)


def cholesky(matrix: Tensor) -> Tensor:
    """Lower factor, NaN where there is none."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    return torch.where(failed == 0, factor, torch.nan)


def log_marginal(kernel: Kernel, state: GPState) -> Tensor:
    """log p(y) = -y K^-1 y / 2 - log|K| / 2 - n log(2 pi) / 2 on the standardised target, 0-dim."""
    factor = cholesky(covariance(kernel, state))
    z = torch.linalg.solve_triangular(factor, state.y[:, None], upper=False)[:, 0]
    n = state.mask.sum()
    return -0.5 * (z @ z) - factor.diagonal().log().sum() - 0.5 * n * math.log(2 * math.pi)


def surrogate(kernel: Kernel, state: GPState) -> Tensor:
    """A function with the gradient of `log_marginal`, sum(G K) with G = (K^-1 y y' K^-1 - K^-1) / 2 held fixed.

    Three times cheaper than differentiating the factorisation (Rasmussen & Williams, equation 5.9).
    """
    matrix = covariance(kernel, state)
    inverse = torch.cholesky_solve(torch.eye(len(matrix)).to(matrix), cholesky(matrix.detach()))
    weights = inverse @ state.y
    return 0.5 * (weights @ matrix @ weights - (inverse * matrix).sum())


def thinned(state: GPState, count: Tensor, rows: int) -> GPState:
    """At most `rows` of the first `count` rows, evenly spaced whatever the padding behind them."""
    if len(state.x) <= rows:
        return state
    place = torch.arange(rows, device=state.x.device) * count // rows
    fresh = torch.cat([torch.ones_like(place[:1]), (place[1:] != place[:-1]).to(place)])  # fewer than `rows` repeat
    mask = state.mask[place] * fresh
    return GPState(state.theta, state.x[place] * mask[:, None], state.y[place] * mask, mask)
