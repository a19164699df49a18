"""Ours beside what was published for the stored splits, with the difference in standard errors and what explains it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from bnnbench.reporting.comparison import method_of
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Entry
from bnnbench.reporting.stored_splits import GAP, METRICS, NOISE, Published, explanation, published
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import mean_and_error, number, words

UNEXPLAINED = "not explained yet"
NOISES = {"homoscedastic": "homo", "heteroscedastic": "hetero"}
CAPTION = (
    "Networks of one hidden layer of 50 units. Difference: how much better ours is, in combined standard errors over "
    "splits; unpaired, and the splits taken for independent, which makes errors too small. Beyond {gap:g} it is bold, "
    "and the last column says what explains it. Noise: one for all inputs (homo) or one of each input (hetero), ours "
    "and theirs; where they differ, so do the models. Splits: the stored ones, or random ones of the paper's own. "
    "Standard deviations over splits were divided by the root of their number, and what is printed as 0 counts as half "
    "of its last digit. Ours validate on a tenth of the training rows. No number at first hand was found of: {without}."
)


def stored_splits_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table for a section of the stored splits, if anything there was published."""
    if section.rule not in NOISE:
        return
    records = [
        record
        for metric in dict.fromkeys(metric for metric, _ in METRICS.values())
        for record in _records(selection, section, metric)
    ]
    if not records:
        return
    order = {name: i for i, name in enumerate([*section.rows, *section.tasks])}
    records.sort(key=lambda r: (order[r["method"]], order[r["task"]]))
    numbers = pd.DataFrame(records)
    lines = [(r["method"], *_texts(r)) for r in records]
    header = ("method", "data set", "score", "ours", "theirs", "difference", "noise", "splits", "theirs is", "why")
    there = set(numbers["method"])
    without = [row for row in section.rows if row not in there]
    caption = CAPTION.format(gap=GAP, without=", ".join(without) or "none of these methods")
    grid = _with_bold(Grid.of_texts(header, lines), records)
    title = f"{section.group}: beside published numbers"
    yield Table(f"{section.name}-beside-published", title, grid, caption, numbers)


def _records(selection: Selection, section: Section, metric: str) -> Iterator[dict[str, Any]]:
    """A record for each of our entries and each number published of its method on its data set."""
    table = compared(selection, section, metric)
    better = selection.metric(metric).better
    for (row, task), entry in table.entries.items():
        method = method_of(row)
        for theirs in published():
            if entry.n and (theirs.task, theirs.metric) == (task, metric) and method in theirs.source.ours:
                yield _record(row, method, entry, theirs, better, NOISE[section.rule])


def _record(row: str, method: str, entry: Entry, theirs: Published, better: int, noise: str) -> dict[str, Any]:
    difference = theirs.difference(entry.mean, entry.se, better)
    gap = not abs(difference) <= GAP
    why = explanation(method, noise, theirs.task, theirs.name, theirs.metric) or UNEXPLAINED
    return {
        "task": theirs.task,
        "method": row,
        "metric": theirs.metric,
        "ours": entry.mean,
        "ours_se": entry.se,
        "n_splits": entry.n,
        "published": theirs.name,
        "theirs": theirs.value,
        "theirs_se": theirs.se,
        "difference_in_se": difference,
        "gap": gap,
        "noise_ours": noise,
        "noise_theirs": theirs.source.noise,
        "stored_splits": theirs.source.stored,
        "source": theirs.source.short,
        "explanation": why if gap else "",
    }


def _texts(record: dict[str, Any]) -> list[str]:
    difference = record["difference_in_se"]
    ours, theirs = (NOISES[record[f"noise_{whose}"]] for whose in ("ours", "theirs"))
    return [
        record["task"],
        words(record["metric"]),
        mean_and_error(record["ours"], record["ours_se"]),
        mean_and_error(record["theirs"], record["theirs_se"]),
        ("+" if difference > 0 else "") + number(difference, 1),
        ours if ours == theirs else f"{ours} / {theirs}",
        "stored" if record["stored_splits"] else "own",
        record["source"],
        record["explanation"],
    ]


def _with_bold(grid: Grid, records: list[dict[str, Any]]) -> Grid:
    """The differences that are to be explained in bold; what is no number is one."""
    place = grid.header.index("difference") - 1
    rows = tuple(
        (name, tuple((text, i == place and r["gap"] and not math.isnan(r["difference_in_se"]), mark)
                     for i, (text, _, mark) in enumerate(cells)))
        for (name, cells), r in zip(grid.rows, records, strict=True)
    )  # fmt: skip
    return Grid(grid.header, rows)
