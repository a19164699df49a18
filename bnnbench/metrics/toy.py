"""Distance of a predictive from the truth, where a toy task knows it everywhere."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bnnbench.metrics.base import Context, Value, metric
from bnnbench.model.predictive import GaussianPredictive

NODES = 64


def normal_kl(mean: Tensor, scale: Tensor, predictive: GaussianPredictive) -> Tensor:
    """KL(N(mean, scale^2) || mixture) at each of N points, in nats; [N].

    = -H[N(mean, scale^2)] - E log q, the entropy in closed form and the expectation by Gauss-Hermite quadrature,
    E f = pi^(-1/2) sum_j w_j f(mean + sqrt(2) t_j scale): exact for one term, whose log-density is quadratic.
    """
    nodes, weights = np.polynomial.hermite.hermgauss(NODES)
    # A loop over nodes, not an axis: S x N x 64 numbers at once would fill the memory for nothing.
    expected = torch.zeros_like(mean)
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        expected += weight / math.sqrt(math.pi) * predictive.log_prob(mean + math.sqrt(2) * node * scale)
    return -0.5 * (1 + math.log(2 * math.pi)) - scale.log() - expected


@metric(
    "kl_to_truth",
    kinds=("regression",),
    better=-1,
    unit="nats",
    summary="KL divergence of the predictive mixture from the true distribution of y, mean over the grid",
    needs=("truth",),
)
def kl_to_truth(c: Context) -> Value:
    """(1/G) sum_g KL(N(truth mean_g, truth sd_g^2) || mixture_g); no stderr, a grid being no random sample."""
    assert c.truth is not None
    return Value(normal_kl(*c.truth, c.gaussian).mean().item())
