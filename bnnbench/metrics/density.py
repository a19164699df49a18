"""Scores of densities: on draws, on a grid where the truth is known, and by bounds where only those are to be had."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnnbench.metrics.base import Context, Value, mean_value, metric
from bnnbench.model.predictive import log_mean_exp

KINDS = ("density", "variational")


@metric(
    "nll",
    kinds=KINDS,
    better=-1,
    unit="nats",
    summary="minus the log-density of held-out draws, mean per point; the floor is the entropy of the truth",
    needs=("y", "log_density"),
    headline=True,
)
def nll(c: Context) -> Value:
    """-(1/N) sum_n log q(x_n)."""
    return mean_value(-_log_density(c))


@metric(
    "nll_floor",
    kinds=KINDS,
    better=0,
    unit="nats",
    summary="the same of the true density, on the same draws: an estimate of its entropy",
    needs=("y", "log_density", "density_truth"),
)
def nll_floor(c: Context) -> Value:
    """-(1/N) sum_n log p(x_n)."""
    assert c.density_truth is not None
    return mean_value(-c.density_truth.log_density)


@metric(
    "kl_forward",
    kinds=KINDS,
    better=-1,
    unit="nats",
    summary="KL(p || q) of the truth p from the flow q, on held-out draws from p",
    needs=("y", "log_density", "density_truth"),
    headline=True,
)
def kl_forward(c: Context) -> Value:
    """(1/N) sum_n log p(x_n) - log q(x_n), x_n ~ p: the nll above its floor, with the noise of both taken out."""
    assert c.density_truth is not None
    return mean_value(c.density_truth.log_density - _log_density(c))


@metric(
    "kl_reverse",
    kinds=KINDS,
    better=-1,
    unit="nats",
    summary="KL(q || p) of the flow q from the truth p, by the midpoint rule on a grid",
    needs=("log_density", "grid"),
)
def kl_reverse(c: Context) -> Value:
    """sum_g a q(x_g) (log q(x_g) - log p(x_g)), a being a cell's area; no stderr, a grid being no random sample."""
    assert c.density_truth is not None
    log_p, area = c.density_truth
    log_q = _log_density(c)
    return Value((area * torch.where(log_q > -math.inf, log_q.exp() * (log_q - log_p), 0.0)).sum().item())


@metric(
    "mass",
    kinds=KINDS,
    better=0,
    unit="",
    summary="integral of the flow's density over the grid; what is missing from 1 lies beyond it",
    needs=("log_density", "grid"),
)
def mass(c: Context) -> Value:
    """sum_g a q(x_g)."""
    assert c.grid is not None
    return Value((c.grid * _log_density(c).exp()).sum().item())


@metric(
    "elbo",
    kinds=KINDS,
    better=+1,
    unit="nats",
    summary="evidence lower bound of held-out data, mean per image",
    citation="Kingma & Welling 2014, arXiv 1312.6114",
    needs=("y", "log_weights"),
    headline=True,
)
def elbo(c: Context) -> Value:
    """(1/N) sum_n (1/S) sum_s log w_ns."""
    assert c.log_weights is not None
    return mean_value(c.log_weights.mean(0))


@metric(
    "iw_log_likelihood",
    kinds=KINDS,
    better=+1,
    unit="nats",
    summary="importance-weighted estimate of the log-likelihood by the budget's draws (500 at `full`), mean per image",
    citation="Burda et al. 2016, arXiv 1509.00519",
    needs=("y", "log_weights"),
    headline=True,
)
def iw_log_likelihood(c: Context) -> Value:
    """(1/N) sum_n log (1/S) sum_s w_ns: a lower bound, that rises with S towards log p(x)."""
    assert c.log_weights is not None
    return mean_value(log_mean_exp(c.log_weights))


def _log_density(c: Context) -> Tensor:
    """log q [N]."""
    assert c.log_density is not None
    return c.log_density
