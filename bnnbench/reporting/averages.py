"""All scores of a task with one split, in long form: means over seeds by method, test set and metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from bnnbench import names
from bnnbench.reporting.select import Section
from bnnbench.reporting.statistics import Frame, within_split
from bnnbench.reporting.tables.text import UNCONVERGED

ONE_SPLIT = ("fixed", "official")  # split rules
PLACE = ["method", "evaluation", "metric"]
Line = tuple[np.ndarray, np.ndarray]  # where, and the values there
Lines = dict[tuple[str, str], Line]  # by row and metric, or quantity, or task


def averages(section: Section, task: str) -> Frame:
    """A line for each row, test set and metric, in the order of rows; none where the task has several splits.

    Columns: `method` (the row), `evaluation`, `metric`, `value` and `stderr` (`within_split`), `unconverged` (a cell of
    the row is flagged by its own convergence diagnostics), `competes` (neither that nor a baseline).
    """
    return section.once(("averages", task), lambda: _averages(section, task))


def _averages(section: Section, task: str) -> Frame:
    scores: Frame = section.scores[(section.scores["task"] == task) & (section.scores["rule"].isin(ONE_SPLIT))]
    bad = set(scores.loc[scores["status"] == "unconverged", "row"])
    out = bad | set(scores.loc[scores["baseline"], "row"])
    scores = _without_repeats(scores[scores["metric"] != ""])
    values, errors = scores["value"].to_numpy(dtype=float), scores["stderr"].to_numpy(dtype=float)
    places = scores.groupby(["row", "evaluation", "metric"]).indices  # many groups of few lines
    found = [(*key, *within_split(values[own], errors[own]), key[0] in bad, key[0] not in out)
             for key, own in sorted(places.items())]  # fmt: skip
    frame: Frame = pd.DataFrame(found, columns=[*PLACE, "value", "stderr", "unconverged", "competes"])
    return ordered(frame, method=section.rows)


def _without_repeats(scores: Frame) -> Frame:
    """An exhaustive sweep repeats the usual one, and stands in for it where there is no other."""
    usual = scores["evaluation"].map(names.usual)
    there = set(zip(scores["fingerprint"], scores["evaluation"], strict=True))
    keep = [name == short or (cell, short) not in there
            for cell, name, short in zip(scores["fingerprint"], scores["evaluation"], usual, strict=True)]  # fmt: skip
    return scores.assign(evaluation=usual)[np.array(keep, dtype=bool)]


def ordered(frame: Frame, **orders: Iterable[str]) -> Frame:
    """The lines whose columns hold one of these values each, in the order of the values, the first column's first."""
    places = {column: {value: i for i, value in enumerate(order)} for column, order in orders.items()}
    for column, place in places.items():
        frame = frame[frame[column].isin(list(place))]
    return frame.sort_values(list(places), key=lambda c: c.map(places[c.name]), kind="stable", ignore_index=True)


def out_of_distribution(frame: Frame) -> list[str]:
    """Test sets of out-of-distribution inputs: those that detection is scored on."""
    return sorted(set(frame.loc[frame["metric"] == "auroc_total", "evaluation"]))


def sweeps(frame: Frame, family: str, metrics: Sequence[str], start: str = names.TEST) -> Lines:
    """Each row's metrics against the level of a sweep, finite values alone.

    Args:
        frame: of `averages`.
        family: of the sweep's test sets; those of transferred attacks are none of it.
        start: the test set that stands at level zero; empty: none.
    """
    parts = {name: names.sweep(name) for name in frame["evaluation"].unique()}
    levels = {
        name: part.level for name, part in parts.items() if part and part.family == family and not part.transferred
    }
    if not levels:
        return {}
    own = frame.assign(level=frame["evaluation"].map(levels | {start: 0.0}))
    own = own[own["level"].notna() & np.isfinite(own["value"]) & own["metric"].isin(list(metrics))]
    swept = own[own["evaluation"] != start].groupby(["method", "metric"]).size()
    found = {key: part.sort_values("level") for key, part in own.groupby(["method", "metric"]) if key in swept.index}
    return {(row, metric): (part["level"].to_numpy(), part["value"].to_numpy())
            for row in dict.fromkeys(own["method"]) for metric in metrics
            if (part := found.get((row, metric))) is not None}  # fmt: skip


def judged(frame: Frame, distance: Frame) -> Frame:
    """With `best`, the least finite distance of those that compete for a test set and metric, and the row's `mark`."""
    able = distance.where(frame["competes"]).replace([np.inf, -np.inf], np.nan)
    least = able.groupby([frame["evaluation"], frame["metric"]]).transform("min")
    return frame.assign(best=able == least, mark=np.where(frame["unconverged"], UNCONVERGED, ""))


def look_up(frame: Frame, evaluation: str, metric: str) -> dict[str, tuple[float, float]]:
    """Value and standard error of one metric by row."""
    own = frame[(frame["evaluation"] == evaluation) & (frame["metric"] == metric)]
    return dict(zip(own["method"], zip(own["value"], own["stderr"], strict=True), strict=True))
