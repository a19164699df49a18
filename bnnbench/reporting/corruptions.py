"""Scores under corruption, and their means over corruptions: of all, and of each severity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnnbench import names
from bnnbench.reporting.averages import Lines
from bnnbench.reporting.statistics import Frame

ALL = "mean"  # the test set that stands for all of them


def corrupted(frame: Frame) -> Frame:
    """The lines of `averages` that are of corrupted test sets, with `corruption` and `severity` (1 where there is but
    one), of rows that were scored on all that any row was."""
    parts = {name: names.corruption(name) for name in frame["evaluation"].unique()}
    kinds = {name: part[0] for name, part in parts.items() if part}
    levels = {name: part[1] or 1 for name, part in parts.items() if part}
    own = frame[frame["evaluation"].isin(list(kinds))]
    own = own.assign(corruption=own["evaluation"].map(kinds), severity=own["evaluation"].map(levels))
    sets = own.groupby("method")["evaluation"].nunique()
    return own[own["method"].map(sets) == sets.max()] if len(own) else own


def means(own: Frame, by: Sequence[str] = ()) -> Frame:
    """Means of `corrupted` over corruptions and severities, for each method and metric, and for each of `by`.

    The standard error is the mean of those of the test sets, as if all erred alike: they are of the same images, so
    that it is too large rather than too small.
    """
    keys = ["method", "metric", *by]
    columns = {"value": ("value", "mean"), "stderr": ("stderr", "mean"), "unconverged": ("unconverged", "any")}
    return own.groupby(keys, sort=False).agg(**columns, competes=("competes", "all")).reset_index()


def by_severity(frame: Frame, metrics: Sequence[str]) -> Lines:
    """Each row's metrics, mean over corruptions, against the severity; the test set stands at 0.

    Args:
        frame: of `averages`. Nothing where corruptions have one severity.
    """
    own = corrupted(frame)
    if own.empty or own["severity"].max() == 1:
        return {}
    found = means(own[own["metric"].isin(list(metrics))], ["severity"])
    clean = frame[(frame["evaluation"] == names.TEST) & frame["metric"].isin(list(metrics))]
    at_zero = {(m, q): v for m, q, v in zip(clean["method"], clean["metric"], clean["value"], strict=True)}
    lines: Lines = {}
    for (row, metric), part in found.groupby(["method", "metric"], sort=False):
        part = part.sort_values("severity")
        x, y = part["severity"].to_numpy(dtype=float), part["value"].to_numpy(dtype=float)
        if (start := at_zero.get((row, metric))) is not None:
            x, y = np.insert(x, 0, 0.0), np.insert(y, 0, start)
        if np.isfinite(y).all():
            lines[str(row), str(metric)] = x, y
    return lines
