"""Corrupted images: how much worse is a method there, how sure is it, and which corruptions does it bear?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bnnbench.names import TEST
from bnnbench.reporting.averages import averages, judged, ordered
from bnnbench.reporting.corruptions import ALL, corrupted, means
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import mean_and_error, number

METRICS = {"error": "error (%)", "log_likelihood": "log-likelihood", "ece": "ECE", "brier": "Brier score"}
PERCENT = ("error",)
SUMMARY = (
    "Test images as they are (test), and the mean over {sets} (mean); of the error, that is the mean corruption error, "
    "not divided by that of another network. ± is the standard error over test images: of the mean, that of a single "
    "corruption, as all are of the same images. Bold: the best of a column, baselines and unconverged methods apart. "
    "{how}"
)
EACH = (
    "Error (%) under each corruption{severities}, and the mean over all; the table of means has standard errors. Bold: "
    "the best of a column, baselines and unconverged methods apart. {how}"
)
HOW = (
    "The corruptions are computed here, with noise of their own: compare methods with each other, and with numbers on "
    "the published files with care."
)


def corruption_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """Two tables a task that was scored on corrupted images: means of several metrics, and the error of each."""
    for task in section.tasks:
        scores = averages(section, task)
        own = corrupted(scores)
        if own.empty:
            continue
        yield _summary(selection, section, task, scores, own)
        yield _each(section, task, own)


def _summary(selection: Selection, section: Section, task: str, scores: Frame, own: Frame) -> Table:
    clean = scores[(scores["evaluation"] == TEST) & scores["method"].isin(own["method"])]
    both = pd.concat([clean, means(own).assign(evaluation=ALL)])
    both = ordered(both, metric=METRICS, evaluation=(TEST, ALL), method=section.rows)
    sign = both["metric"].map(lambda metric: -selection.metric(metric).better or float("nan"))
    both = judged(both, both["value"] * sign)
    columns = {(where, metric): f"{title}: {where}" for metric, title in METRICS.items() for where in (TEST, ALL)}
    grid = Grid.from_long(_in_percent(both), section.rows, columns, ("method", "evaluation", "metric"))
    kinds, levels = own["corruption"].nunique(), own["severity"].nunique()
    sets = f"{kinds} corruptions" + f" at {levels} severities" * (levels > 1)
    numbers = [both, means(own, ["severity"]).assign(evaluation=ALL)] if levels > 1 else [both]
    kept = pd.concat(numbers).reindex(columns=["method", "metric", "evaluation", "severity", "value", "stderr", "best"])
    return Table(
        f"{section.name}-corruptions-{task}",
        f"{task}: corrupted images",
        grid,
        SUMMARY.format(sets=sets, how=HOW),
        kept[kept["metric"].isin(list(METRICS))],
    )


def _each(section: Section, task: str, own: Frame) -> Table:
    errors = own[own["metric"] == "error"]
    each = pd.concat([means(errors, ["corruption"]), means(errors).assign(corruption=ALL)])
    each = judged(each.assign(evaluation=each["corruption"]), each["value"])
    columns = {name: name for name in (*errors["corruption"].unique(), ALL)}
    short = each.assign(text=[number(100 * value, 1) for value in each["value"]])
    grid = Grid.from_long(short, section.rows, columns, ("method", "corruption"))
    severities = ", mean over severities" * (own["severity"].nunique() > 1)
    numbers = each[["method", "corruption", "value", "stderr", "best"]]
    caption = EACH.format(severities=severities, how=HOW)
    return Table(f"{section.name}-corruption-{task}", f"{task}: error by corruption", grid, caption, numbers)


def _in_percent(frame: Frame) -> Frame:
    """With texts of errors in percent."""
    texts = [
        mean_and_error(100 * value, 100 * stderr) if metric in PERCENT else None
        for metric, value, stderr in zip(frame["metric"], frame["value"], frame["stderr"], strict=True)
    ]
    return frame.assign(text=texts)
