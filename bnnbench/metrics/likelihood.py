"""Log-likelihood of the held-out targets: the score this suite ranks by, and its moment-matched stand-in."""

from __future__ import annotations

from bnnbench.metrics.base import Context, Value, mean_value, metric
from bnnbench.model.predictive import normal_log_density


@metric(
    "log_likelihood",
    kinds=("regression", "classification"),
    better=+1,
    unit="nats",
    summary="log of the mixture's density or probability at the target, mean per test point",
    citation="Gneiting & Raftery 2007, doi:10.1198/016214506000001437 (the logarithmic score)",
    headline=True,
    reads=("log_prob",),
)
def log_likelihood(c: Context) -> Value:
    """(1/N) sum_n log (1/S) sum_s p(y_n | x_n, s), in nats; densities are per original unit of y."""
    assert c.log_prob is not None
    return mean_value(c.log_prob)


@metric(
    "log_likelihood_moment",
    kinds=("regression",),
    better=+1,
    unit="nats",
    summary="log-density of one Gaussian with the mixture's mean and variance, mean per test point",
    citation="Lakshminarayanan et al. 2017, arXiv:1612.01474",
    reads=("moments",),
)
def log_likelihood_moment(c: Context) -> Value:
    """(1/N) sum_n log N(y_n; m_n, e_n + a_n), with mean m, epistemic variance e and aleatoric variance a.

    Many published numbers are this one. It punishes a mixture whose components disagree: it is here to be compared.
    """
    assert c.moments is not None
    mean, epistemic, aleatoric = c.moments
    return mean_value(normal_log_density(c.targets, mean, (epistemic + aleatoric).sqrt()))
