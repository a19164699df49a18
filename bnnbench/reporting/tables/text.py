"""Numbers and names as they stand in tables and figures: rounded by their standard error, with the marks of a cell."""

from __future__ import annotations

import math
from typing import TypeAlias

from bnnbench.reporting.statistics import Entry

NAMES = {"log_likelihood": "log-likelihood", "rmse": "RMSE", "crps": "CRPS", "ece": "ECE", "brier": "Brier score"}
NAMES |= {
    "kl_reverse": "KL(q ∥ p)",
    "kl_forward": "KL(p ∥ q)",
    "nll": "NLL",
    "elbo": "ELBO",
    "iw_log_likelihood": "importance-weighted log-likelihood",
}
EMPTY, INCOMPLETE, UNCONVERGED, OTHER_TARGET, WORSE, OLD = "–", "†", "‡", "§", "¶", "°"
Text: TypeAlias = tuple[str, bool, str]  # text, bold or not, marks


def number(value: float, decimals: int) -> str:
    """A number with a true minus sign; infinities and NaN in words that align."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if text.strip("-0.") else text.lstrip("-")


def mean_and_error(mean: float, se: float) -> str:
    """`−2.391 ± 0.012`: two significant digits of the standard error; four of the mean where there is no error."""
    exact = not (math.isfinite(se) and se > 1e-12 * abs(mean))  # below it is rounding of equal values
    if not math.isfinite(mean):
        return number(mean, 0)
    scale, digits = (abs(mean), 4) if exact else (se, 2)
    if scale == 0:
        return "0"
    if not exact:
        scale = float(f"{se:.1e}")  # 0.0996 rounds to 0.10: one decimal fewer
    decimals = digits - 1 - math.floor(math.log10(scale))
    if decimals > 8 or (decimals < -4):
        return f"{mean:.3g}".replace("-", "−") + ("" if exact else f" ± {se:.2g}".replace("-", "−"))
    decimals = max(0, decimals)
    return number(mean, decimals) + ("" if exact else f" ± {number(se, decimals)}")


def significant(value: float) -> str:
    """Three significant digits of a number that has no standard error; whole ones from 100 to 100,000."""
    if math.isnan(value):
        return EMPTY
    if not math.isfinite(value) or value == 0:
        return number(value, 0)
    places = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.2e}".replace("-", "−") if not -2 <= places <= 5 else number(value, max(0, places))


def measured(value: float, se: float) -> str:
    """With its standard error where there is one."""
    return significant(value) if math.isnan(se) else mean_and_error(value, se)


def marks(entry: Entry) -> str:
    """Daggers of an entry, the sign of another target, and the splits on which a baseline is better: `¶3/10`."""
    signs = INCOMPLETE * (not entry.complete) + UNCONVERGED * entry.unconverged + OTHER_TARGET * entry.other_target
    return signs + f"{WORSE}{entry.worse}/{entry.judged}" * bool(entry.worse)


def cell(entry: Entry | None) -> Text:
    """Text, bold flag and marks of one cell."""
    if entry is None:
        return EMPTY, False, ""
    text = mean_and_error(entry.mean, entry.se) if entry.n else ""
    return text + f" (median {significant(entry.median)})" * entry.skewed, entry.best, marks(entry)


def words(metric: str) -> str:
    """A metric's name in words."""
    return NAMES.get(metric, metric.replace("_", " "))
