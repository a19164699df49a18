"""How near a predictive comes to that of Hamiltonian Monte Carlo on the same posterior, in units of its spread.

Distances, gaps and `log_sd_ratio` are of the mixtures as they are. `log_epistemic_ratio` compares posteriors: S
components drawn from one have, on average, (S - 1) / S of its variance around their own mean, which is made good.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnnbench.metrics.base import Context, Value, mean_value, metric
from bnnbench.metrics.calibration import pit
from bnnbench.metrics.classification import mutual_information
from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive

REACH = 8.0  # standard deviations to either side of a component; beyond lies 1e-15
NODES = 200  # of each of the two halves of a grid: good for three digits
CHUNK = 2**24  # cdf values alive at once


def reference(c: Context) -> GaussianPredictive:
    """The reference's predictive."""
    if not isinstance(c.reference, GaussianPredictive):
        raise TypeError(f"a regression metric needs a GaussianPredictive, got {type(c.reference).__name__}")
    return c.reference


def reference_classes(c: Context) -> CategoricalPredictive:
    """The reference's predictive of classes."""
    if not isinstance(c.reference, CategoricalPredictive):
        raise TypeError(f"a classification metric needs a CategoricalPredictive, got {type(c.reference).__name__}")
    return c.reference


def total_std(predictive: GaussianPredictive) -> Tensor:
    """Standard deviation of the mixture, [N]."""
    _, epistemic, aleatoric = predictive.moments()
    return (epistemic + aleatoric).sqrt()


def wasserstein(p: GaussianPredictive, q: GaussianPredictive) -> Tensor:
    """1-Wasserstein distance of two mixtures at each of N points, integral |F(y) - G(y)| dy; [N].

    The cdfs are exact, the integral goes by the trapezoidal rule on `grid` (Vallender 1974, doi:10.1137/1118101).
    """
    components = p.mean.shape[0] + q.mean.shape[0]
    size = max(1, CHUNK // (2 * NODES * components))
    parts = zip(*(part.split(size, 1) for part in (*p, *q)), strict=True)
    return torch.cat([_distance(GaussianPredictive(*part[:2]), GaussianPredictive(*part[2:])) for part in parts])


def grid(p: GaussianPredictive, q: GaussianPredictive) -> Tensor:
    """Ordered nodes [2 * NODES, N] from below the lowest to above the highest component.

    One half lies as densely as the components do, so that sharp ones are resolved; the other at equal distances, so
    that few wide ones among many are.
    """
    both = GaussianPredictive(*(torch.cat(parts) for parts in zip(p, q, strict=True)))
    steps = max(17, math.ceil(NODES / len(both.mean)))
    z = torch.linspace(-REACH, REACH, steps, dtype=both.mean.dtype, device=both.mean.device)
    around = (both.mean + z[:, None, None] * both.scale).flatten(0, 1).sort(0).values
    rank = torch.linspace(0, len(around) - 1, NODES, device=z.device).round().long()
    share = torch.linspace(0, 1, NODES, dtype=z.dtype, device=z.device)[:, None]
    return torch.cat([around[rank], torch.lerp(around[:1], around[-1:], share)]).sort(0).values


def _distance(p: GaussianPredictive, q: GaussianPredictive) -> Tensor:
    nodes = grid(p, q)
    return torch.trapezoid((_cdf(p, nodes) - _cdf(q, nodes)).abs(), nodes, dim=0)


def _cdf(predictive: GaussianPredictive, nodes: Tensor) -> Tensor:
    """The mixture's cdf at nodes [K, N] of each point; [K, N]."""
    return pit(GaussianPredictive(*(part[:, None] for part in predictive)), nodes)


@metric(
    "w1_to_hmc",
    kinds=("regression",),
    better=-1,
    unit="sd of hmc",
    summary="1-Wasserstein distance of the predictive mixture from that of HMC over the latter's sd, mean over points",
    needs=("reference",),
)
def w1_to_hmc(c: Context) -> Value:
    """(1/N) sum_n W1(mixture_n, hmc_n) / sd(hmc_n)."""
    return mean_value(wasserstein(c.gaussian, reference(c)) / total_std(reference(c)))


@metric(
    "tv_to_hmc",
    kinds=("classification",),
    better=-1,
    unit="",
    summary="total variation distance of the predictive probabilities from those of HMC, mean over points",
    citation="Izmailov et al. 2021, arXiv:2104.14421",
    needs=("reference",),
)
def tv_to_hmc(c: Context) -> Value:
    """(1/N) sum_n (1/2) sum_k |p_nk - p(hmc)_nk|."""
    own, gold = (p.mixture_log_probs().exp() for p in (c.categorical, reference_classes(c)))
    return mean_value(0.5 * (own - gold).abs().sum(-1))


@metric(
    "agreement_with_hmc",
    kinds=("classification",),
    better=1,
    unit="",
    summary="share of points at which the most probable class is that of HMC",
    citation="Izmailov et al. 2021, arXiv:2104.14421",
    needs=("reference",),
)
def agreement_with_hmc(c: Context) -> Value:
    """(1/N) sum_n 1{argmax_k p_nk = argmax_k p(hmc)_nk}."""
    own, gold = (p.mixture_log_probs().argmax(-1) for p in (c.categorical, reference_classes(c)))
    return mean_value((own == gold).double())


@metric(
    "log_information_ratio",
    kinds=("classification",),
    better=0,
    unit="",
    summary="log of the mean epistemic entropy (mutual information) over that of HMC; -inf for a point estimate",
    needs=("reference",),
)
def log_information_ratio(c: Context) -> Value:
    """log(sum_n I_n / sum_n I(hmc)_n), I the entropy of the mean less the mean entropy. No stderr: it is a ratio."""
    own, gold = (_information(p).mean() for p in (c.categorical, reference_classes(c)))
    return Value((own.clamp(min=0) / gold).log().item())


def _information(predictive: CategoricalPredictive) -> Tensor:
    """Mutual information of class and weights at each point, [N], in nats; 0 of one component."""
    if len(predictive.log_probs) == 1:  # exactly, so that its logarithm is -inf
        return predictive.log_probs.new_zeros(predictive.log_probs.shape[1])
    return mutual_information(predictive.log_probs, predictive.mixture_log_probs())


@metric(
    "mean_gap",
    kinds=("regression",),
    better=-1,
    unit="sd of hmc",
    summary="distance of the predictive mean from that of HMC over the latter's sd, mean over points",
    needs=("reference",),
)
def mean_gap(c: Context) -> Value:
    """(1/N) sum_n |m_n - m(hmc_n)| / sd(hmc_n); never above w1_to_hmc."""
    gap = (c.gaussian.mean.mean(0) - reference(c).mean.mean(0)).abs()
    return mean_value(gap / total_std(reference(c)))


@metric(
    "log_sd_ratio",
    kinds=("regression",),
    better=0,
    unit="",
    summary="log of the predictive sd over that of HMC, mean over points; negative is overconfident",
    needs=("reference",),
)
def log_sd_ratio(c: Context) -> Value:
    """(1/N) sum_n log(sd_n / sd(hmc_n)), sd being that of the whole mixture."""
    return mean_value((total_std(c.gaussian) / total_std(reference(c))).log())


@metric(
    "log_epistemic_ratio",
    kinds=("regression",),
    better=0,
    unit="",
    summary="log of the posterior sd of the mean over that of HMC, mean over points; -inf for a point estimate",
    needs=("reference",),
)
def log_epistemic_ratio(c: Context) -> Value:
    """(1/N) sum_n log(sd_s(mean_sn) / sd_s(mean of hmc_sn)), each sd^2 being S / (S - 1) times that of the mixture.

    The variance is without bias, its logarithm is not: of S normal components it is lower by about 1 / (S - 1) in the
    mean.
    """
    return mean_value(0.5 * (_posterior_variance(c.gaussian) / _posterior_variance(reference(c))).log())


def _posterior_variance(predictive: GaussianPredictive) -> Tensor:
    """Unbiased estimate, from the components' means, of the variance that the posterior gives to the mean, [N]; 0 of
    one."""
    return predictive.mean.var(0, correction=min(1, len(predictive.mean) - 1))
