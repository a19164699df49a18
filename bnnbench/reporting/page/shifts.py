"""What methods do as inputs move away from the training data: rotation, attacks, corruptions of growing severity."""

from __future__ import annotations

from typing import Any

from bnnbench import names
from bnnbench.reporting.averages import Lines, averages, sweeps
from bnnbench.reporting.corruptions import by_severity
from bnnbench.reporting.page.compact import numbers
from bnnbench.reporting.select import Section

SWEEPS = {
    "rotation": "angle (degrees)",
    "fgsm": "FGSM: largest change of a pixel",
    "pgd": "PGD: largest change of a pixel",
}
SEVERITY = "severity of corruptions"
METRICS = ("error", "log_likelihood", "ece", "brier", "entropy_total", "entropy_aleatoric", "entropy_epistemic")
UNMOVED = {names.TEST, names.TRAIN, names.VALIDATION}


def shifts_of(section: Section) -> dict[str, dict[str, Any]]:
    """By task and family: the title of its axis, and by metric and row the levels and the values there."""
    found: dict[str, dict[str, Any]] = {}
    for task in section.tasks:
        frame = averages(section, task)
        if not set(frame["evaluation"]) - UNMOVED:
            continue
        families = {family: (title, sweeps(frame, family, METRICS)) for family, title in SWEEPS.items()}
        families["corruption"] = (SEVERITY, by_severity(frame, METRICS))
        own = {family: _columns(title, lines) for family, (title, lines) in families.items() if lines}
        if own:
            found[task] = own
    return found


def _columns(title: str, lines: Lines) -> dict[str, Any]:
    metrics: dict[str, dict[str, Any]] = {}
    for (row, metric), (x, y) in lines.items():
        metrics.setdefault(metric, {})[row] = {"x": numbers(x), "y": numbers(y, 4)}
    return {"title": title, "metrics": {metric: metrics[metric] for metric in METRICS if metric in metrics}}
