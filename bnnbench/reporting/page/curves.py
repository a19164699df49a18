"""Calibration and training of every method on every data set, as few enough numbers to draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnnbench.names import TEST
from bnnbench.reporting.gather import Curves, gather
from bnnbench.reporting.page.compact import numbers
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.series import mean_curve, pit_deviation, pool_bins

POINTS = 33  # of a curve: a screen shows no more
DIGITS = 3
ByTask = dict[str, dict[str, Any]]  # task -> row -> columns


def curves_of(selection: Selection, section: Section) -> dict[str, ByTask]:
    """Means over splits and seeds, by kind, task and row."""
    return {
        "pit": _pit(gather(selection, section, "pit_ecdf", TEST)),
        "reliability": _reliability(gather(selection, section, "reliability", TEST)),
        "training": _training(gather(selection, section, "training", None, "validation")),
    }


def _pit(curves: Curves) -> ByTask:
    """How far the ECDF of the PIT is above the uniform one."""
    found: ByTask = {}
    for (row, task), cells in curves.items():
        x, y = thinned(*pit_deviation(cells))
        found.setdefault(task, {})[row] = {"x": numbers(x, DIGITS), "y": numbers(y, DIGITS)}
    return found


def _reliability(curves: Curves) -> ByTask:
    """Confidence and accuracy of the bins that hold predictions, and the share of all that each holds."""
    found: ByTask = {}
    for (row, task), cells in curves.items():
        count, confidence, accuracy = pool_bins(cells)
        seen = count > 0
        columns = {"x": confidence, "y": accuracy, "share": count / max(count.sum(), 1)}
        found.setdefault(task, {})[row] = {name: numbers(own[seen], DIGITS) for name, own in columns.items()}
    return found


def _training(curves: Curves) -> ByTask:
    """Log-likelihood on the validation rows against the step."""
    found: ByTask = {}
    for (row, task), cells in curves.items():
        x, y = thinned(*mean_curve(cells, "validation"))
        found.setdefault(task, {})[row] = {"x": numbers(x), "y": numbers(y, 4)}
    return found


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve at no more than so many of its own points, the first and the last among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).round().astype(int))
    return x[kept], y[kept]
