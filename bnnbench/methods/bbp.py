r"""Bayes by Backprop: variational inference with a factorised Gaussian q(w) = N(mu, sigma^2) over the weights.

The objective per datum, of which one step takes a one-sample estimate by reparametrisation w = mu + sigma * eps, is

    L = -(1/n) E_q [sum_i log p(y_i | x_i, w)] + (beta / n) (E_q [-log p(w)] - T H[q]),

the negative evidence lower bound over n at beta = T = 1, where the bracket is KL(q || p). The entropy H is in closed
form, and so is the cross-entropy from Gaussian and Laplace priors; that from the mixture is estimated from the
very sample. T is the temperature (Wenzel et al. 2020, arXiv 2002.02405), beta the weight of the KL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bnnbench.methods.base import METHODS, fraction, positive
from bnnbench.methods.space import LogUniform, Space, Uniform
from bnnbench.methods.variational import Variational, moments_of
from bnnbench.model import Batch, LaplacePrior, Params, Problem, ScaleMixturePrior
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.posteriors import perturbed

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def cross_entropy_gaussian(mean: Tensor, sigma: Tensor, centre: float, scale: Tensor) -> Tensor:
    """E_q [-log N(w; centre, scale^2)], q = N(mean, sigma^2), elementwise."""
    return HALF_LOG_2PI + scale.log() + 0.5 * (((mean - centre) / scale) ** 2 + (sigma / scale) ** 2)


def cross_entropy_laplace(mean: Tensor, sigma: Tensor, scale: Tensor) -> Tensor:
    """E_q [-log Laplace(w; 0, scale)] = log(2 scale) + E_q|w| / scale, elementwise, with the folded normal's mean

    E_q|w| = sigma sqrt(2/pi) exp(-(mean/sigma)^2 / 2) + mean erf(mean / (sigma sqrt 2)).
    """
    z = mean / sigma
    folded = sigma * math.sqrt(2 / math.pi) * torch.exp(-0.5 * z**2) + mean * torch.erf(z / math.sqrt(2))
    return torch.log(2 * scale) + folded / scale


def entropy(sigma: Tensor) -> Tensor:
    """H[N(mean, sigma^2)], elementwise."""
    return 0.5 + HALF_LOG_2PI + sigma.log()


@METHODS.register
@dataclass(frozen=True)
class BBPGaussian(Variational):
    """Bayes by Backprop with sampled weights, one sample for the whole minibatch, and the task's Gaussian prior.

    Attributes:
        temperature: T; other values than 1 are another target.
    """

    name = "bbp-gaussian"
    version = 2
    citation = "Blundell et al. 2015, arXiv 1505.05424"
    tags = ("variational",)
    family = "mean-field"
    prunable = True
    temperature: float = 1.0

    def check(self) -> None:
        super().check()
        positive(self, "temperature")

    def estimate(self, key: Tensor, params: Params, batch: Batch, problem: Problem) -> tuple[Tensor, Tensor]:
        mean, sigma = moments_of(params)
        nll, sample = self.expected_nll(key, mean, sigma, batch, problem)
        cost = [self._cross_entropy(problem, name, mean[name], sigma[name], sample) for name in mean]
        temperature_term = [self.temperature * entropy(value).sum() for value in sigma.values()]
        return nll, torch.stack(cost).sum() - torch.stack(temperature_term).sum()

    def expected_nll(
        self, key: Tensor, mean: Params, sigma: Params, batch: Batch, problem: Problem
    ) -> tuple[Tensor, Params]:
        """An estimate of -(1/n) E_q sum_i log p(y_i | x_i, w), and the weight sample behind it."""
        sample = perturbed(key, mean, sigma)
        return problem.mean_nll(sample, batch), sample

    def cross_entropy(self, problem: Problem, mean: Tensor, sigma: Tensor, sample: Tensor) -> Tensor:
        """E_q [-log p(w)] of one tensor of weights, elementwise."""
        del sample
        return cross_entropy_gaussian(mean, sigma, 0.0, problem.prior.scale_of(mean))

    def _cross_entropy(self, problem: Problem, name: str, mean: Tensor, sigma: Tensor, sample: Params) -> Tensor:
        if name == LOG_NOISE:  # it has a prior of its own, N(-1, 1)
            return cross_entropy_gaussian(mean, sigma, -1.0, torch.ones_like(mean))
        return self.cross_entropy(problem, mean, sigma, sample.get(name, mean)).sum()


@METHODS.register
@dataclass(frozen=True)
class BBPLaplace(BBPGaussian):
    """Bayes by Backprop under a Laplace prior of the same variance as the task's: scale b = scale / sqrt 2."""

    name = "bbp-laplace"
    tags = ("variational", "other-target")

    def target(self, problem: Problem) -> Problem:
        factor = self.prior_scale / math.sqrt(2)
        return problem.with_prior(LaplacePrior(problem.prior.scale * factor, problem.prior.fan_in_scaled))

    def cross_entropy(self, problem: Problem, mean: Tensor, sigma: Tensor, sample: Tensor) -> Tensor:
        del sample
        return cross_entropy_laplace(mean, sigma, problem.prior.scale_of(mean))


@METHODS.register
@dataclass(frozen=True)
class BBPMixture(BBPGaussian):
    """Bayes by Backprop under the scale mixture of two Gaussians, mixed per weight (Blundell et al., equation 7).

    Attributes:
        weight: of the wide component, whose scale is that of the task's prior.
        ratio: scale of the narrow component, in units of the wide one's.
    """

    name = "bbp-mixture"
    tags = ("variational", "other-target")
    weight: float = 0.5
    ratio: float = 0.1

    @classmethod
    def space(cls) -> Space:
        return {**super().space(), "weight": Uniform(0.1, 0.9), "ratio": LogUniform(0.01, 0.9)}

    def check(self) -> None:
        super().check()
        positive(self, "weight", "ratio")
        fraction(self, "weight")

    def target(self, problem: Problem) -> Problem:
        prior = problem.prior
        wide = prior.scale * self.prior_scale
        return problem.with_prior(ScaleMixturePrior(wide, prior.fan_in_scaled, self.weight, self.ratio))

    def cross_entropy(self, problem: Problem, mean: Tensor, sigma: Tensor, sample: Tensor) -> Tensor:
        del mean, sigma
        return -problem.prior.log_density(sample, problem.prior.scale_of(sample))
