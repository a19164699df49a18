"""Metrics of quantiles, 90 % intervals and 90 % sets of classes: do they hold the target, and how large are they?"""

from __future__ import annotations

import torch

from bnnbench.metrics.base import LEVELS, Context, Value, mean_value, metric
from bnnbench.model.regions import LEVEL, Interval

GNEITING = "Gneiting & Raftery 2007, doi:10.1198/016214506000001437"


@metric(
    "pinball",
    kinds=("regression",),
    better=-1,
    unit="target",
    summary="pinball loss of the mixture's quantiles, mean over the levels 0.05, 0.10 ... 0.95",
    citation=f"Koenker & Bassett 1978, doi:10.2307/1913643; {GNEITING}",
    reads=("quantiles",),
)
def pinball(c: Context) -> Value:
    """(1/N) sum_n (1/19) sum_t max(t (y_n - q_nt), (t - 1) (y_n - q_nt)), q_nt the mixture's quantile at level t.

    The mean over all levels in (0, 1) would be half of the `crps`.
    """
    assert c.quantiles is not None
    gap, level = c.targets - c.quantiles, torch.tensor(LEVELS, dtype=torch.float64)[:, None]
    return mean_value(torch.maximum(level * gap, (level - 1) * gap).mean(0))


@metric(
    "interval_score_90",
    kinds=("regression",),
    better=-1,
    unit="target",
    summary="interval score of the central 90 % interval: its width, and 20 times the target's distance from it",
    citation=f"{GNEITING}, section 6.2",
    reads=("region",),
)
def interval_score_90(c: Context) -> Value:
    """(1/N) sum_n (u_n - l_n) + (2/a) (l_n - y_n) 1{y_n < l_n} + (2/a) (y_n - u_n) 1{y_n > u_n}, a = 0.1.

    The width of an empty interval, as conformal ones may be, is 0.
    """
    region, y = c.region, c.targets
    assert isinstance(region, Interval)
    outside = (region.low - y).clamp_min(0) + (y - region.high).clamp_min(0)
    return mean_value(region.size() + 2 / (1 - LEVEL) * outside)


@metric(
    "coverage_90",
    kinds=("regression", "classification"),
    better=0,
    unit="",
    summary="share of targets in the central 90 % interval (0.90 is right), or in the fewest classes that hold 90 % of "
    "the probability (which hold more)",
    reads=("region",),
)
def coverage_90(c: Context) -> Value:
    """(1/N) sum_n 1{y_n in R_n}."""
    assert c.region is not None
    return mean_value(c.region.holds(c.targets).double())


@metric(
    "width_90",
    kinds=("regression",),
    better=0,
    unit="target",
    summary="width of the central 90 % interval, mean over points; narrow is good where the coverage is right",
    needs=(),
    reads=("region",),
)
def width_90(c: Context) -> Value:
    """(1/N) sum_n u_n - l_n."""
    assert c.region is not None
    return mean_value(c.region.size())


@metric(
    "set_size_90",
    kinds=("classification",),
    better=0,
    unit="",
    summary="number of the fewest classes that hold 90 % of the probability, mean over points",
    needs=(),
    reads=("region",),
)
def set_size_90(c: Context) -> Value:
    """(1/N) sum_n |R_n|."""
    assert c.region is not None
    return mean_value(c.region.size().double())
