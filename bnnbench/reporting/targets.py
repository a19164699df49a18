"""Which cells aim at something else than the task's posterior: by their method, or by their configuration.

Some names of hyperparameters mean the same in every method. At other values than those of `PLAIN` the posterior is
tempered, or that of another prior; also where the mean stays at the task's prior and only the covariance has another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from bnnbench.reporting.statistics import Frame

PLAIN = {"prior_scale": 1.0, "temperature": 1.0, "beta": 1.0, "precision": "task"}


def is_moved(configuration: str, names: Iterable[str] = PLAIN) -> bool:
    """Whether a configuration (JSON) moves the target, by these hyperparameters; one that cannot be read does not."""
    try:
        settings = json.loads(configuration)
    except (TypeError, ValueError):
        return False
    return isinstance(settings, dict) and any(settings.get(name, PLAIN[name]) != PLAIN[name] for name in names)


def other_targets(attempts: Frame, methods: Frame) -> set[str]:
    """Fingerprints of the cells with another target."""
    moved = {text: is_moved(text) for text in attempts["configuration"].unique()}
    own = attempts["method"].isin(methods.loc[methods["other_target"].astype(bool), "name"]) | attempts[
        "configuration"
    ].map(moved).astype(bool)
    return set(attempts.loc[own, "fingerprint"])
