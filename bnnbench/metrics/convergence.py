"""Whether Markov chains agree on what they predict: split R-hat and effective sample size, point by point.

Both are those of Vehtari et al. 2021 (arXiv 1903.08008, sections 3 and 4): of the values themselves in the metrics, of
normalised ranks in `rank_rhat` and `bulk_size`. Looked at is what a prediction is made of, which different weights of
one function share.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnnbench.metrics.base import Context, Value, double, metric
from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive, Predictive

CONVERGED = 1.05
SOURCE = "Vehtari et al. 2021, arXiv:1903.08008"


def main_series(c: Context) -> Tensor:
    """The components' means, or their class probabilities: [chains, draws, quantities, N]."""
    assert c.chains is not None
    p = c.predictive
    categorical = isinstance(p, CategoricalPredictive)
    return _by_chain(p.log_probs.exp().movedim(-1, 1) if categorical else c.gaussian.mean[:, None], c.chains)


def series_of(predictive: Predictive, chains: int) -> Tensor:
    """What a prediction is made of: class probabilities, or means and logarithms of scales of the components, in
    float64; [chains, draws, quantities, N]."""
    p = double(predictive)
    if isinstance(p, CategoricalPredictive):
        return _by_chain(p.log_probs.exp().movedim(-1, 1), chains)
    assert isinstance(p, GaussianPredictive)
    return _by_chain(torch.stack([p.mean, p.scale.log()], 1), chains)


def _by_chain(values: Tensor, chains: int) -> Tensor:
    if len(values) % chains:
        raise ValueError(f"{len(values)} components cannot be {chains} chains of the same length")
    values = values.unflatten(0, (chains, -1))
    return values - values[:1, :1]  # what never moves is now 0, without a rounding error for a variance


def halves(series: Tensor) -> Tensor:
    """Each chain cut into two; [chains, draws, ...] -> [2 * chains, draws // 2, ...], a middle draw left out."""
    n = series.shape[1] // 2
    return torch.cat([series[:, :n], series[:, series.shape[1] - n :]])


def variances(parts: Tensor) -> tuple[Tensor, Tensor]:
    """W, the mean variance within a chain, and var+ = (n - 1) / n W + B / n, from chains [M, n, ...]."""
    within = parts.var(1).mean(0)
    n = parts.shape[1]
    return within, (n - 1) / n * within + parts.mean(1).var(0)


def split_rhat(series: Tensor, halved: bool = False) -> Tensor:
    """sqrt(var+ / W) of halved chains [chains, draws, ...]; shape [...].

    1 of what never moves; NaN of fewer than four draws a chain.

    Args:
        halved: whether the chains are halves already.
    """
    if series.shape[1] < (2 if halved else 4):
        return series.new_full(series.shape[2:], math.nan)
    within, total = variances(series if halved else halves(series))
    return torch.where(total == 0, 1.0, (total / within).sqrt())


def effective_size(series: Tensor) -> Tensor:
    """S / tau of series [chains, draws, ...], S = chains * draws; shape [...].

    tau = -1 + 2 sum_k P_k over the pairs P_k = rho_2k + rho_2k+1 as long as they are positive, each lowered to the
    smallest before it (Geyer 1992, doi:10.1214/ss/1177011137), rho_t = 1 - (W - mean_m s_m^2 rho_mt) / var+ over halved
    chains. At most S log10(S), for chains that swing from side to side. S of what never moves; NaN of fewer than four
    draws a chain.
    """
    size = series.shape[0] * series.shape[1]
    if series.shape[1] < 4:
        return series.new_full(series.shape[2:], math.nan)
    parts = halves(series)
    within, total = variances(parts)
    rho = 1 - (within - autocovariance(parts)) / total
    pairs = rho[: len(rho) // 2 * 2].unflatten(0, (-1, 2)).sum(1)
    initial = (pairs > 0).to(pairs).cumprod(0)
    tau = -1 + 2 * (pairs.cummin(0).values * initial).sum(0)
    sizes = size / tau.clamp(min=1 / math.log10(size))
    return torch.where(total == 0, float(size), torch.where(total.isfinite(), sizes, math.nan))


def rank_rhat(series: Tensor) -> Tensor:
    """The larger split R-hat of the normalised ranks of the values, and of their distances from the median, of series
    [chains, draws, ...]; shape [...].

    The first finds chains of different location, the second those of different scale (Vehtari et al. 2021, 4.1).
    """
    parts = halves(series)
    folded = (parts - parts.flatten(0, 1).quantile(0.5, 0)).abs()
    return torch.maximum(*(split_rhat(rank_normalised(values), halved=True) for values in (parts, folded)))


def bulk_size(series: Tensor) -> Tensor:
    """Bulk effective sample size, that of the normalised ranks, of series [chains, draws, ...]; shape [...]."""
    return effective_size(rank_normalised(series))


def rank_normalised(series: Tensor) -> Tensor:
    """Phi^-1((r - 3/8) / (S + 1/4)) of the ranks r among all S = chains * draws values, equal ones their mean rank.

    Vehtari et al. 2021, equation 14.
    """
    values = series.flatten(0, 1).movedim(0, -1).contiguous()
    ordered = values.sort(-1).values
    below, upto = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    rank = 0.5 * (below + upto + 1).to(values)
    z = torch.special.ndtri((rank - 0.375) / (values.shape[-1] + 0.25))
    return z.movedim(-1, 0).reshape(series.shape)


def autocovariance(parts: Tensor) -> Tensor:
    """mean_m s_m^2 rho_mt at the lags t = 0 ... n - 1 of chains [M, n, ...], by the Fourier transform; [n, ...]."""
    n = parts.shape[1]
    spectrum = torch.fft.rfft(parts - parts.mean(1, keepdim=True), 2 * n, dim=1)
    power = (spectrum.real**2 + spectrum.imag**2).mean(0)
    return torch.fft.irfft(power, 2 * n, dim=0)[:n] / (n - 1)


@metric(
    "rhat",
    kinds=("regression", "classification"),
    better=-1,
    unit="",
    summary="split R-hat of the components' means (or class probabilities) over the chains, the largest over points",
    citation=SOURCE,
    needs=("chains",),
)
def rhat(c: Context) -> Value:
    """max_n sqrt(var+ / W); 1 is agreement. No stderr: it is no mean over points."""
    return Value(split_rhat(main_series(c)).max().item())


@metric(
    "ess",
    kinds=("regression", "classification"),
    better=1,
    unit="draws",
    summary="effective sample size of the components' means (or class probabilities), the smallest over points",
    citation=SOURCE,
    needs=("chains",),
)
def ess(c: Context) -> Value:
    """min_n S / tau_n. No stderr: it is no mean over points."""
    return Value(effective_size(main_series(c)).min().item())


@metric(
    "share_converged",
    kinds=("regression", "classification"),
    better=1,
    unit="",
    summary="share of points with a split R-hat below 1.05, of means and log scales (or of class probabilities)",
    citation=SOURCE,
    needs=("chains",),
)
def share_converged(c: Context) -> Value:
    """(1/N) sum_n 1{R-hat_n < 1.05}. No stderr: the points share their chains."""
    assert c.chains is not None
    worst = split_rhat(series_of(c.predictive, c.chains)).amax(0)
    share = torch.where(worst.isnan(), math.nan, (worst < CONVERGED).to(worst))
    return Value(share.mean().item())
