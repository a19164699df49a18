"""What a sampler's own diagnostics say against its draws, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping

COLD, HOT = 0.5, 2.0  # of the configured temperature
# What makes a run of several chains a gold standard: limit, whether a value may be higher, and its name in a sentence.
LIMITS = {
    "rhat_95": (1.01, False, "R-hat of 95 % of the predictions is {:.3f}, more than {}"),
    "rhat_all": (1.05, False, "the largest R-hat of a prediction is {:.3f}, more than {}"),
    "rhat_log_joint": (1.05, False, "R-hat of the log joint density is {:.3f}, more than {}"),
    "ess_median": (400, True, "the median effective sample size is {:.0f}, less than {}"),
    "trajectories_divergent": (0.001, False, "{:.2%} of the trajectories diverged, more than {:.1%}"),
}


def lacking(scores: Mapping[str, float]) -> str:
    """What keeps a run from being certified, in a sentence; nothing if all numbers are within `LIMITS`.

    Args:
        scores: of the evaluation `certificate`; a number that is missing or NaN counts as beyond its limit.
    """
    found = []
    for name, (limit, more, sentence) in LIMITS.items():
        value = scores.get(name, math.nan)
        if not (value >= limit if more else value <= limit):
            found.append(sentence.format(value, limit))
    return "; ".join(found)


def diagnose_draws(scores: Mapping[str, float], temperature: float, smaller: str) -> str:
    """A sentence on exploded draws, or on an interval of the temperature that lies outside [1/2, 2] T; else nothing.

    The configurational temperature n E[w grad U] is T in equilibrium (Wenzel et al. 2020, arXiv 2002.02405, appendix on
    diagnostics). What counts is its whole 99 % interval, so that a short or a noisy run is not accused.

    Args:
        scores: of the evaluation `sampler`; what a method does not report is not doubted.
        temperature: T. smaller: how to make the step smaller, in words.
    """
    exploded = scores.get("draws_exploded", 0.0)
    if exploded > 0:
        return f"{exploded:.0%} of the draws have exploded: on most validation rows worse than a guess; {smaller}"
    low, high = scores.get("temperature_low", temperature), scores.get("temperature_high", temperature)
    found = f"the configurational temperature is {low:.3g} to {high:.3g}, not {temperature:.3g}"
    if low > HOT * temperature:
        return f"{found}: the step is too large; {smaller}"
    if high < COLD * temperature:
        return f"{found}: the chain has not warmed up or has not arrived; train longer"
    return ""
