"""Likelihoods: what the outputs of a network mean, p(y | network(x)).

A likelihood is written for one network; targets are standardised for regression. Log-likelihoods always hold
their constants. Parameters of a likelihood (the learned noise) live among the weights, under their own name.
"""

from __future__ import annotations

import functools
import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive, Predictive, normal_log_density
from bnnbench.nets import Params

LOG_NOISE = "log_noise"
SCALE_FLOOR = 1e-3  # of the standardised target: keeps a density finite where the data hold exact repetitions
MOST_QUADRATURE = 3  # outputs that are integrated over by a product of rules


@functools.cache
def _gauss_hermite(count: int) -> tuple[list[float], list[float]]:
    """Nodes and weights of the rule for expectations under a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes.tolist(), (weights / weights.sum()).tolist()


class Likelihood(ABC):
    """p(y | out, params) for network outputs `out` of shape [B, outputs]."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of network outputs this likelihood reads."""

    def init_params(self, like: Tensor) -> Params:
        """The likelihood's own parameters at their start, on the device and in the dtype of `like`."""
        del like
        return {}

    def log_prior(self, params: Params) -> Tensor | float:
        """Log-density of the likelihood's own parameters."""
        del params
        return 0.0

    @abstractmethod
    def log_prob(self, params: Params, out: Tensor, y: Tensor) -> Tensor:
        """Log-likelihood per example, shape [B]."""

    def expected_log_prob(self, params: Params, mean: Tensor, variance: Tensor, y: Tensor) -> Tensor:
        """E[log p(y | out)] over independent outputs out ~ N(mean, variance), each [B, K]; shape [B], or a lower bound.

        By Gauss-Hermite quadrature with 8 nodes an output, which is exact where the log-likelihood is a polynomial.
        """
        if self.outputs > MOST_QUADRATURE:
            raise NotImplementedError(f"{type(self).__name__} must define expected_log_prob(), having many outputs")
        grid = list(itertools.product(zip(*_gauss_hermite(8), strict=True), repeat=self.outputs))
        nodes = torch.tensor([[node for node, _ in point] for point in grid], dtype=mean.dtype).to(mean.device)
        weights = torch.tensor([math.prod(w for _, w in point) for point in grid], dtype=mean.dtype).to(mean.device)
        sd = variance.clamp(min=1e-12).sqrt()  # at 0 the root has no gradient
        return weights @ vmap(lambda node: self.log_prob(params, mean + sd * node, y))(nodes)

    def fisher_root(self, params: Params, out: Tensor) -> Tensor:
        """L [B, K, K] with L L^T = E_y[-d^2 log p(y | out) / d out^2], the Fisher information of the K outputs."""
        raise NotImplementedError(f"{type(self).__name__} must define fisher_root() for methods that use curvature")

    def noise_fisher(self, params: Params) -> Tensor | float:
        """Fisher information of `log_noise` in one example, 0-dim; it shares none with the outputs."""
        del params
        return 0.0

    @abstractmethod
    def predictive(self, params: Params, out: Tensor, shift: Tensor, scale: Tensor) -> Predictive:
        """A component in original units from outputs [B, outputs], y = shift + scale * standardised y; S is absent.

        A large shift leaves a float32 no digits: the components of a regression have the dtype of shift and scale,
        float64.
        """


@dataclass(frozen=True)
class _Gaussian(Likelihood):
    floor: float = SCALE_FLOOR

    @abstractmethod
    def moments(self, params: Params, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the standardised target, each [B]."""

    def log_prob(self, params: Params, out: Tensor, y: Tensor) -> Tensor:
        return normal_log_density(y, *self.moments(params, out))

    def predictive(self, params: Params, out: Tensor, shift: Tensor, scale: Tensor) -> GaussianPredictive:
        mean, sd = (value.to(scale.dtype) for value in self.moments(params, out))
        return GaussianPredictive(shift + scale * mean, (scale * sd).expand_as(mean))


@dataclass(frozen=True)
class Heteroscedastic(_Gaussian):
    """N(y; out_0, (floor + softplus(out_1))^2): the network learns the noise of every input."""

    @property
    def outputs(self) -> int:
        return 2

    def moments(self, params: Params, out: Tensor) -> tuple[Tensor, Tensor]:
        del params
        return out[..., 0], self.floor + F.softplus(out[..., 1])

    def fisher_root(self, params: Params, out: Tensor) -> Tensor:
        """diag(1 / sd, sqrt(2) sd' / sd), sd' = sigmoid(out_1)."""
        _, sd = self.moments(params, out)
        return torch.diag_embed(torch.stack([1 / sd, math.sqrt(2) * out[..., 1].sigmoid() / sd], -1))


@dataclass(frozen=True)
class Homoscedastic(_Gaussian):
    """N(y; out_0, (floor + exp(log_noise))^2), log_noise one learned number with prior N(-1, 1)."""

    @property
    def outputs(self) -> int:
        return 1

    def init_params(self, like: Tensor) -> Params:
        return {LOG_NOISE: torch.full((), -1.0, dtype=like.dtype, device=like.device)}

    def log_prior(self, params: Params) -> Tensor:
        noise = params[LOG_NOISE]
        return normal_log_density(noise, torch.full_like(noise, -1.0), torch.ones_like(noise))

    def moments(self, params: Params, out: Tensor) -> tuple[Tensor, Tensor]:
        return out[..., 0], self.floor + params[LOG_NOISE].exp().expand_as(out[..., 0])

    def fisher_root(self, params: Params, out: Tensor) -> Tensor:
        """1 / sd."""
        return (1 / self.moments(params, out)[1])[..., None, None]

    def noise_fisher(self, params: Params) -> Tensor:
        """2 (sd' / sd)^2, sd' = exp(log_noise)."""
        slope = params[LOG_NOISE].exp()
        return 2 * (slope / (self.floor + slope)) ** 2


@dataclass(frozen=True)
class Categorical(Likelihood):
    """Softmax over `classes` outputs; y holds class indices."""

    classes: int

    @property
    def outputs(self) -> int:
        return self.classes

    def log_prob(self, params: Params, out: Tensor, y: Tensor) -> Tensor:
        del params
        return F.log_softmax(out, -1).gather(-1, y.long()[..., None])[..., 0]

    def expected_log_prob(self, params: Params, mean: Tensor, variance: Tensor, y: Tensor) -> Tensor:
        """Lower bound mean_y - log sum_k exp(mean_k + variance_k / 2), by Jensen's inequality for the normaliser."""
        normaliser = torch.logsumexp(mean + 0.5 * variance, -1)
        return mean.gather(-1, y.long()[..., None])[..., 0] - normaliser

    def fisher_root(self, params: Params, out: Tensor) -> Tensor:
        """diag(sqrt p) - p sqrt(p)^T, whose square is diag(p) - p p^T."""
        del params
        p = out.softmax(-1)
        return torch.diag_embed(p.sqrt()) - p[..., :, None] * p.sqrt()[..., None, :]

    def predictive(self, params: Params, out: Tensor, shift: Tensor, scale: Tensor) -> CategoricalPredictive:
        del params, shift, scale
        return CategoricalPredictive(F.log_softmax(out, -1), out.logsumexp(-1))
