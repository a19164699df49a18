"""Comparison of samples with known moments: within Monte Carlo error, and within a stated allowance for bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

ALPHA = 1e-4  # false alarms of one comparison, when the method's bias is within the allowance
MEAN_BIAS, SD_BIAS = 0.15, 0.15  # allowed: of the true sd, and of log(sd); step sizes are finite


@dataclass(frozen=True)
class Verdict:
    """One line of the table.

    Attributes:
        name: what was checked. figure: what was measured. limit: up to where it passes.
        passed: True, False, or None where it does not apply. note: expected and found, or why it does not apply.
    """

    name: str
    figure: float | None
    limit: float | None
    passed: bool | None
    note: str = ""


def not_applicable(name: str, why: str) -> Verdict:
    """A check that says nothing about this method."""
    return Verdict(name, None, None, None, why)


def compare_means(name: str, samples: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> Verdict:
    """Largest |estimate - mean| in units of the true sd, over weights; samples [R, S, d] of R independent seeds.

    The estimate's error is that of a mean of R independent numbers: Student's t, Bonferroni over the weights.
    """
    each = samples.mean(1)
    error = each.std(0, ddof=1) / np.sqrt(len(each)) * _quantile(len(each), len(mean))
    excess = (np.abs(each.mean(0) - mean)) / sd
    limit = MEAN_BIAS + error / sd
    worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess - limit)))
    return _verdict(name, excess[worst], limit[worst], f"mean {each.mean(0)[worst]:.3f}, true {mean[worst]:.3f}")


def compare_spread(name: str, samples: np.ndarray, sd: np.ndarray, pooled: bool = True) -> Verdict:
    """Largest |log(estimated sd / sd)| over weights.

    Args:
        pooled: whether all seeds' samples are of one distribution, whose spread is about the mean of all (chains); else
            about
            each seed's own mean, for a fitted q, whose place scatters with the optimiser's noise.
    """
    centre = samples.mean((0, 1)) if pooled else samples.mean(1, keepdims=True)
    each = ((samples - centre) ** 2).mean(1)  # variances by seed [R, d]
    variance = each.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = each.std(0, ddof=1) / np.sqrt(len(each)) / variance
        ratio = 0.5 * np.log(variance / sd**2)
    limit = SD_BIAS + 0.5 * np.nan_to_num(relative, nan=0.0) * _quantile(len(each), len(sd))
    worst = int(np.argmax(np.where(np.isnan(ratio), np.inf, np.abs(ratio) - limit)))
    return _verdict(name, abs(ratio[worst]), limit[worst], f"sd {np.sqrt(variance[worst]):.3f}, true {sd[worst]:.3f}")


def compare_temperature(name: str, samples: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> Verdict:
    """Mean over draws of (w - mean)' precision (w - mean) / d, which is 1 at temperature 1; |log| of it."""
    deviation = samples - mean
    each = np.einsum("rsi,ij,rsj->rs", deviation, precision, deviation).mean(1) / len(mean)
    temperature = each.mean()
    error = each.std(ddof=1) / np.sqrt(len(each)) / temperature * _quantile(len(each), 1)
    found = abs(np.log(temperature)) if temperature > 0 else np.inf
    return _verdict(name, found, 2 * SD_BIAS + error, f"temperature {temperature:.3f}, true 1")


def _verdict(name: str, figure: float, limit: float, note: str) -> Verdict:
    return Verdict(name, float(figure), float(limit), bool(figure <= limit), note)


def _quantile(seeds: int, comparisons: int) -> float:
    return float(stdtrit(seeds - 1, 1 - ALPHA / (2 * comparisons)))
