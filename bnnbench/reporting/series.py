"""Stored series of several cells as one: what figures and the page draw of a method on a data set."""

from __future__ import annotations

import numpy as np

from bnnbench.reporting.gather import Arrays


def pit_deviation(cells: list[Arrays]) -> tuple[np.ndarray, np.ndarray]:
    """Levels, and how far the ECDF of the probability integral transform, mean over cells, is above the uniform one."""
    level = np.asarray(cells[0]["level"], dtype=float)
    return level, np.mean([np.interp(level, c["level"], c["ecdf"]) for c in cells], axis=0) - level


def pool_bins(cells: list[Arrays]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean confidence and accuracy of each bin over all cells; empty bins are NaN."""
    counts = np.array([c["count"] for c in cells], dtype=float)
    total = counts.sum(axis=0)
    sums = [np.nansum(counts * np.array([c[k] for c in cells], float), axis=0) for k in ("confidence", "accuracy")]
    safe = np.where(total > 0, total, np.nan)
    return total, sums[0] / safe, sums[1] / safe


def mean_curve(cells: list[Arrays], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over cells at the steps of the longest; a cell counts as far as it got, and holes (NaN) are bridged."""
    step = np.asarray(max((c["step"] for c in cells), key=len), dtype=float)
    values = np.full((len(cells), len(step)), np.nan)
    for i, c in enumerate(cells):
        x, y = np.asarray(c["step"], dtype=float), np.asarray(c[column], dtype=float)
        known = np.isfinite(y)
        if known.any():
            values[i] = np.interp(step, x[known], y[known], left=np.nan, right=np.nan)
    seen = np.isfinite(values).any(axis=0)
    return step[seen], np.nanmean(values[:, seen], axis=0)
