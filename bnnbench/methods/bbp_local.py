"""Bayes by Backprop with noise of its own for every example: local reparametrisation and flipout."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bnnbench import random
from bnnbench.layers import keyed, with_flipout, with_local_noise
from bnnbench.methods.base import METHODS
from bnnbench.methods.bbp import BBPGaussian
from bnnbench.model import Batch, Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE


@METHODS.register
@dataclass(frozen=True)
class BBPLocal(BBPGaussian):
    """Bayes by Backprop with local reparametrisation: activations are sampled, for every example separately.

    Under q a linear layer's activation is N(x mu, x^2 sigma^2), so its noise is uncorrelated between the examples of
    a minibatch, and the gradient's variance falls with the batch size. Prediction draws weights.
    """

    name = "bbp-local"
    citation = "Kingma et al. 2015, arXiv 1506.02557"
    lr: float = 2e-2

    def expected_nll(
        self, key: Tensor, mean: Params, sigma: Params, batch: Batch, problem: Problem
    ) -> tuple[Tensor, Params]:
        with keyed(key, sigma=sigma):
            return problem.mean_nll(sampled_noise_level(key, mean, sigma), batch), {}

    def prepare(self, problem: Problem) -> Problem:
        return problem.with_network(with_local_noise(problem.network))


@METHODS.register
@dataclass(frozen=True)
class BBPFlipout(BBPLocal):
    """Bayes by Backprop with flipout: one weight perturbation a minibatch, its signs flipped for every example.

    An example sees mu + (sigma eps) o (r s^T) with random signs r, s, distributed as sigma eps, and nearly uncorrelated
    between examples. Prediction draws weights.
    """

    name = "bbp-flipout"
    citation = "Wen et al. 2018, arXiv 1803.04386"
    lr: float = 1e-2

    def prepare(self, problem: Problem) -> Problem:
        return problem.with_network(with_flipout(problem.network))


def sampled_noise_level(key: Tensor, mean: Params, sigma: Params) -> Params:
    """The means, with a draw of the likelihood's `log_noise`, which no layer of the network holds."""
    if LOG_NOISE not in mean:
        return mean
    eps = random.normal(random.fold_in(key, 0), ()).to(mean[LOG_NOISE])
    return mean | {LOG_NOISE: mean[LOG_NOISE] + sigma[LOG_NOISE] * eps}
