"""What methods do as inputs move away from the training data: rotation, attacks, corruptions of growing severity."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnnbench import names
from bnnbench.reporting.averages import Lines, averages, sweeps
from bnnbench.reporting.corruptions import by_severity
from bnnbench.reporting.page.compact import numbers
from bnnbench.reporting.select import Section, Selection

SWEEPS = {
    "rotation": "angle (degrees)",
    "fgsm": "FGSM: largest change of a pixel",
    "pgd": "PGD: largest change of a pixel",
}
SEVERITY = "severity of corruptions"
METRICS = ("error", "log_likelihood", "ece", "brier", "entropy_total", "entropy_aleatoric", "entropy_epistemic")
UNMOVED = {names.TEST, names.TRAIN, names.VALIDATION}


def shifts_of(selection: Selection, section: Section) -> dict[str, dict[str, Any]]:
    """By task and family: the title of its axis, and by metric each row's levels and values there, and a summary."""
    found: dict[str, dict[str, Any]] = {}
    for task in section.tasks:
        frame = averages(section, task)
        if not set(frame["evaluation"]) - UNMOVED:
            continue
        families = {family: (title, sweeps(frame, family, METRICS)) for family, title in SWEEPS.items()}
        families["corruption"] = (SEVERITY, by_severity(frame, METRICS))
        own = {family: _columns(selection, title, lines) for family, (title, lines) in families.items() if lines}
        if own:
            found[task] = own
    return found


def _columns(selection: Selection, title: str, lines: Lines) -> dict[str, Any]:
    there = [metric for metric in METRICS if any(metric == name for _, name in lines)]
    own = {metric: {row: line for (row, name), line in lines.items() if name == metric} for metric in there}
    return {
        "title": title,
        "metrics": {
            metric: {row: {"x": numbers(x), "y": numbers(y, 4)} for row, (x, y) in rows.items()}
            for metric, rows in own.items()
        },
        "summary": {metric: _summary(rows, selection.metric(metric).better) for metric, rows in own.items()},
    }


def _summary(rows: dict[str, tuple[np.ndarray, np.ndarray]], better: int) -> list[list[Any]]:
    """Row, value at level zero, mean over all levels beyond it (as in Ovadia et al. 2019, arXiv 1906.02530), and value
    at the last level; the best mean first, the highest where neither way is better.

    Rows that lack a level have no mean, which would be one over easier levels.
    """
    levels = max((x for x, _ in rows.values()), key=len)
    found = []
    for row, (x, y) in rows.items():
        whole = len(x) == len(levels)
        found.append(
            (row, y[0] if x[0] == 0 else np.nan, y[x > 0].mean() if whole else np.nan, y[-1] if whole else np.nan)
        )
    found.sort(key=lambda line: (np.isnan(line[2]), -line[2] if better >= 0 else line[2]))
    return [[row, *numbers(values, 4)] for row, *values in found]
