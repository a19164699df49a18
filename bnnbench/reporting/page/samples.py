"""The repeated scores of methods on one data set that statistics are computed from: over splits or blocks of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnnbench import names
from bnnbench.reporting.page.scopes import Column
from bnnbench.reporting.points import blocks
from bnnbench.reporting.select import Selection
from bnnbench.reporting.statistics import Frame


@dataclass(frozen=True)
class Samples:
    """Scores of methods on the same splits, seeds averaged, or on the same blocks of test points of a single split.

    Attributes:
        scores: row -> scores [K], each in the order of all others; only rows that have all of them, finite.
        ratio: n_test / n_train of splits, 0 of blocks, which are independent.
        kind: `splits`, `blocks`, or `points` where there is nothing repeated.
    """

    scores: dict[str, np.ndarray]
    ratio: float
    kind: str

    @property
    def count(self) -> int:
        """K."""
        return len(next(iter(self.scores.values()), ()))


def samples(selection: Selection, column: Column) -> Samples:
    """Those of a metric on a data set's test rows."""
    metric, task = column.table.metric, column.task
    if column.table.splits[task] > 1:
        return Samples(_complete(_per_split(column)), column.table.ratio[task], "splits")
    stored = blocks(selection, column.section)
    by_row = {row: stored.get((row, task), {}) for row in column.section.rows}
    own = {row: metrics[metric] for row, metrics in by_row.items() if metric in metrics}
    sizes = [len(scores) for scores in own.values()]
    usual = max(sorted(set(sizes)), key=sizes.count, default=0)
    alike = {row: scores for row, scores in own.items() if len(scores) == usual}
    return Samples(alike, 0.0, "blocks" if usual > 1 else "points")


def _per_split(column: Column) -> Frame:
    """Splits x rows: means over seeds."""
    scores = column.section.scores
    wanted = (scores["task"] == column.task) & (scores["evaluation"] == names.TEST)
    own: Frame = scores[wanted & (scores["metric"] == column.table.metric)]
    means = own.groupby(["split", "row"])["value"].mean()
    return means.unstack("row").reindex(sorted(scores.loc[scores["task"] == column.task, "split"].unique()))


def _complete(frame: Frame) -> dict[str, np.ndarray]:
    finite = frame.where(np.isfinite(frame)).dropna(axis="columns")
    return {str(row): pd.Series(finite[row]).to_numpy(dtype=float) for row in finite}
