"""Tasks on images: which sections hold them, and their scores by method, test set and metric."""

from __future__ import annotations

import re

import numpy as np

from bnnbench.reporting.select import Section
from bnnbench.reporting.statistics import Frame, within_split

SAMPLE = "images-sample"
GROUPS = ("images", SAMPLE)
GROUP_NOTES = {
    SAMPLE: "Never compare these numbers with published ones: a small sample of the images stands in for the data set.",
}  # stands over the section and in every caption, for a table may be read alone
OUTSIDE = ("kmnist", "notmnist")  # sets of images of no known class
PLAIN = "map"
EXHAUSTIVE = "-all"  # ends the names of sweeps over all test images
Value = tuple[float, float]  # mean over seeds and its standard error (NaN where there is none)
Values = dict[tuple[str, str, str], Value]  # by row, evaluation and metric
Line = tuple[np.ndarray, np.ndarray]  # where, and the values there


def values(section: Section, task: str) -> Values:
    """All scores of a task; its cells are the seeds of one split."""
    scores: Frame = section.scores[section.scores["task"] == task]
    groups = _without_repeats(scores).groupby(["row", "evaluation", "metric"])
    return {(str(row), str(evaluation), str(metric)): within_split(cells)
            for (row, evaluation, metric), cells in groups}  # fmt: skip


def _without_repeats(scores: Frame) -> Frame:
    """An exhaustive sweep (`-all`) repeats the usual one, and stands in for it where there is no other."""
    names = scores["evaluation"].fillna("")
    usual = names.str.removesuffix(EXHAUSTIVE)
    there = set(zip(scores["fingerprint"], names, strict=True))
    keep = [name == short or (cell, short) not in there
            for cell, name, short in zip(scores["fingerprint"], names, usual, strict=True)]  # fmt: skip
    return scores.assign(evaluation=usual)[keep]


def unconverged(section: Section, task: str) -> set[str]:
    """Rows of which a cell doubts its own convergence."""
    scores = section.scores
    return set(scores.loc[(scores["task"] == task) & (scores["status"] == "unconverged"), "row"])


def barred(section: Section, task: str) -> set[str]:
    """Rows that cannot be the best of a task: baselines, and those that doubt their own convergence."""
    scores = section.scores[section.scores["task"] == task]
    return set(scores.loc[scores["baseline"] | (scores["status"] == "unconverged"), "row"])


def sweep(found: Values, row: str, prefix: str, metric: str, start: str | None = "test") -> Line:
    """A metric against the number in the names `prefix`-number, `start` standing at zero."""
    named = re.compile(rf"{re.escape(prefix)}-(\d+(?:\.\d+)?)")
    points = {
        float(match.group(1)): value
        for (r, evaluation, m), (value, _) in found.items()
        if r == row and m == metric and (match := named.fullmatch(evaluation))
    }
    if points and start and (row, start, metric) in found:
        points[0.0] = found[row, start, metric][0]
    kept = sorted((x, y) for x, y in points.items() if np.isfinite(y))
    return np.array([x for x, _ in kept]), np.array([y for _, y in kept])
