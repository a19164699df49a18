"""Predictive distributions: of the methods of this suite always a uniform mixture of S components.

p(y | x) = (1/S) sum_s p(y | x, s), the components being weight samples, ensemble members, dropout masks or, for a
closed form, a single one. Scores are those of the mixture, never of one moment-matched distribution.
Named tuples, because those pass through `torch.func.vmap`. `predictive_forms` holds the kinds that are no such mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from bnnbench.model.predictive_forms import BinnedPredictive, QuantilePredictive, SamplePredictive

LOG_2PI = math.log(2 * math.pi)


def log_mean_exp(values: Tensor, dim: int = 0) -> Tensor:
    """log (1/S) sum_s exp(values_s), in a stable way."""
    return torch.logsumexp(values, dim) - math.log(values.shape[dim])


def normal_log_density(y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """log N(y; mean, scale^2), with its constant."""
    return -0.5 * ((y - mean) / scale) ** 2 - scale.log() - 0.5 * LOG_2PI


def entropy(log_probs: Tensor) -> Tensor:
    """H[p] = -sum_k p_k log p_k in nats, of log-probabilities [..., K]; shape [...]."""
    return torch.special.entr(log_probs.exp()).sum(-1)


class GaussianPredictive(NamedTuple):
    """Mixture of S Gaussians per test point, (1/S) sum_s N(y; mean_s, scale_s^2).

    Attributes:
        mean: means of the components, shape [S, N].
        scale: standard deviations of the components, shape [S, N], in the same unit.
    """

    mean: Tensor
    scale: Tensor

    def log_prob(self, y: Tensor) -> Tensor:
        """Log-density of the mixture at y of shape [N]; shape [N]."""
        return log_mean_exp(normal_log_density(y, self.mean, self.scale))

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Predictive mean, epistemic variance (of the means), aleatoric variance (mean of scale^2); each [N]."""
        return self.mean.mean(0), self.mean.var(0, correction=0), (self.scale**2).mean(0)

    def summary(self) -> dict[str, Tensor]:
        """What a user asks of N points: `mean`, `epistemic_std`, `aleatoric_std`, `total_std`; each [N]."""
        mean, epistemic, aleatoric = self.moments()
        return {
            "mean": mean,
            "epistemic_std": epistemic.sqrt(),
            "aleatoric_std": aleatoric.sqrt(),
            "total_std": (epistemic + aleatoric).sqrt(),
        }


class CategoricalPredictive(NamedTuple):
    """Mixture of S categorical distributions per test point.

    Attributes:
        log_probs: normalised log-probabilities of the components, shape [S, N, K].
        log_normaliser: log sum_k exp(logit_k) of the components, shape [S, N], where there are logits.
    """

    log_probs: Tensor
    log_normaliser: Tensor | None = None

    def log_prob(self, y: Tensor) -> Tensor:
        """Log-probability of the class indices y of shape [N]; shape [N]."""
        return self.mixture_log_probs().gather(-1, y.long()[:, None])[:, 0]

    @property
    def logits(self) -> Tensor | None:
        """Outputs of the networks before the softmax, [S, N, K]; None where there are none."""
        return None if self.log_normaliser is None else self.log_probs + self.log_normaliser[..., None]

    def mixture_log_probs(self) -> Tensor:
        """log (1/S) sum_s p_s, shape [N, K]."""
        return log_mean_exp(self.log_probs)

    def summary(self) -> dict[str, Tensor]:
        """What a user asks of N points: `probabilities` [N, K], `entropy_total`, `entropy_aleatoric` [N], in nats."""
        mixture = self.mixture_log_probs()
        return {
            "probabilities": mixture.exp(),
            "entropy_total": entropy(mixture),
            "entropy_aleatoric": entropy(self.log_probs).mean(0),
        }


class DensityPredictive(NamedTuple):
    """What a density task asks of a model: log-densities of points, or estimates of them.

    Attributes:
        log_weights: [S, N]. One is log q(x) itself. Several are log p(x, z_s) / q(z_s | x) of a latent variable's
            draws, whose mean is the evidence lower bound and whose log-mean-exp is the importance-weighted one (Burda
            et al. 2016, arXiv 1509.00519).
    """

    log_weights: Tensor

    def log_prob(self, y: Tensor) -> Tensor:
        """log q(x) [N], or its importance-weighted estimate; a density has no target y."""
        del y
        return log_mean_exp(self.log_weights)

    def summary(self) -> dict[str, Tensor]:
        """What a user asks of N points: `log_density` [N], or its importance-weighted estimate."""
        return {"log_density": log_mean_exp(self.log_weights)}


MixturePredictive = GaussianPredictive | CategoricalPredictive | DensityPredictive
Predictive = MixturePredictive | BinnedPredictive | QuantilePredictive | SamplePredictive
P = TypeVar("P", bound=Predictive)


def each(f: Callable[..., Tensor], *predictives: P) -> P:
    """The predictive of what f makes of each tensor of the given ones (of one kind), where there is one."""
    columns = zip(*predictives, strict=True)
    return type(predictives[0])(*(None if column[0] is None else f(*column) for column in columns))  # pyright: ignore
