"""Metrics of regression, beside the log-likelihoods; all in the target's original unit."""

from __future__ import annotations

import math

from bnnbench.metrics.base import Context, Value, mean_stderr, mean_value, metric, root_mean_value
from bnnbench.metrics.calibration import levels

REGRESSION = ("regression",)


@metric(
    "rmse",
    kinds=REGRESSION,
    better=-1,
    unit="target",
    summary="root mean squared error of the mixture's mean",
    headline=True,
    reads=("centre",),
)
def rmse(c: Context) -> Value:
    """sqrt((1/N) sum_n (y_n - m_n)^2)."""
    assert c.centre is not None
    return root_mean_value((c.targets - c.centre) ** 2)


@metric(
    "crps",
    kinds=REGRESSION,
    better=-1,
    unit="target",
    summary="continuous ranked probability score of the mixture, in closed form",
    citation="Gneiting & Raftery 2007, doi:10.1198/016214506000001437; Grimit et al. 2006, doi:10.1256/qj.05.235",
    headline=True,
    reads=("crps",),
)
def crps(c: Context) -> Value:
    """Mean over points of E|X - y| - 1/2 E|X - X'|; of draws its fair estimate (`ensembles.fair_crps`)."""
    assert c.crps is not None
    return mean_value(c.crps)


@metric(
    "calibration_error",
    kinds=REGRESSION,
    better=-1,
    unit="",
    summary="mean distance of the PIT's empirical distribution from the uniform one over the levels 0.01 ... 0.99",
    citation="Gneiting et al. 2007, doi:10.1111/j.1467-9868.2007.00587.x; Kuleshov et al. 2018, arXiv:1807.00263",
    headline=True,
    reads=("reached",),
)
def calibration_error(c: Context) -> Value:
    """(1/99) sum_p |share of PIT <= p - p|; 0 is perfect, 0.5 has every target beyond the same end.

    stderr by the delta method: the error is the mean over points of (1/99) sum_p sign_p (1{PIT_n <= p} - p), the signs
    held fixed. With few points even a perfect predictive has an error of order 1/sqrt(N).
    """
    assert c.reached is not None
    at = levels(c.targets)
    gap = c.reached.to(at.dtype).mean(0) - at
    pull = c.reached.to(at.dtype) @ gap.sign() / len(at)
    return Value(gap.abs().mean().item(), mean_stderr(pull))


@metric(
    "coverage_95",
    kinds=REGRESSION,
    better=0,
    unit="",
    summary="share of targets inside the mixture's central 95 % interval (PIT from 0.025 to 0.975); 0.95 is right",
    reads=("central_95",),
)
def coverage_95(c: Context) -> Value:
    """(1/N) sum_n 1{0.025 <= PIT_n <= 0.975}, with binomial standard error sqrt(c (1 - c) / N)."""
    assert c.central_95 is not None
    share = c.central_95.double().mean().item()
    return Value(share, math.sqrt(share * (1 - share) / c.n) if c.n > 1 else None)


@metric(
    "epistemic_std",
    kinds=REGRESSION,
    better=0,
    unit="target",
    summary="spread of the components' means, root mean square over points",
    citation="Kendall & Gal 2017, arXiv:1703.04977",
    needs=(),
    reads=("moments",),
)
def epistemic_std(c: Context) -> Value:
    """sqrt((1/N) sum_n Var_s mean_sn)."""
    assert c.moments is not None
    return root_mean_value(c.moments[1])


@metric(
    "aleatoric_std",
    kinds=REGRESSION,
    better=0,
    unit="target",
    summary="standard deviation of the components' noise, root mean square over points",
    citation="Kendall & Gal 2017, arXiv:1703.04977",
    needs=(),
    reads=("moments",),
)
def aleatoric_std(c: Context) -> Value:
    """sqrt((1/N) sum_n (1/S) sum_s scale_sn^2)."""
    assert c.moments is not None
    return root_mean_value(c.moments[2])
