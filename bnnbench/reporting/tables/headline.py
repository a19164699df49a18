"""The main tables: methods x data sets for every metric that the database has as a headline."""

from __future__ import annotations

from collections.abc import Container, Iterator

import pandas as pd

from bnnbench.reporting.captions import caption
from bnnbench.reporting.comparison import Comparison, comparison, rules
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import EMPTY, cell, words

CSV = {name: name for name in ("mean", "se", "median", "n_splits", "best", "complete", "unconverged", "other_target")}
CSV |= {"n_splits": "n", "splits_worse_than_baseline": "worse", "splits_judged": "judged"}  # column -> field of Entry


def headline_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table a headline metric, on the test rows."""
    for metric in section.metrics:
        table = compared(selection, section, metric)
        name, title = f"{section.name}-{metric}", f"{section.group}: {words(metric)}"
        numbers = comparison_numbers(table, selection.superseded.names)
        yield Table(name, title, comparison_grid(table), caption(selection, section, table), numbers)


def comparison_grid(table: Comparison) -> Grid:
    """Methods x data sets as texts; best entries bold."""
    lines = [{"method": row, "task": task, "entry": entry} for (row, task), entry in table.entries.items()]
    columns = {task: task for task in table.tasks}
    frame = pd.DataFrame(lines, columns=["method", "task", "entry"])
    return Grid.from_long(frame, table.rows, columns, ("method", "task"), lambda line: cell(line["entry"]))


def comparison_numbers(table: Comparison, old: Container[str] = ()) -> Frame:
    """Long numeric form; `old` are names of methods and tasks of superseded versions."""
    records = [
        (task, row, *(getattr(entry, field) for field in CSV.values()), task in old or row.partition(" ")[0] in old)
        for task in table.tasks
        for row in table.rows
        if (entry := table.entries.get((row, task)))
    ]
    return pd.DataFrame(records, columns=["task", "method", *CSV, "superseded"])


def summary_table(frame: Frame, metric: str, better: int) -> Frame:
    """Plain-text table of a metric on the test rows: methods x data sets, `*` for the best and those not separable.

    Data sets under several split rules or budgets get one column each, named after what differs.
    """
    frame = frame.assign(rule=rules(frame))
    columns: dict[str, Frame] = {}
    for (rule, budget), part in frame.groupby(["rule", "budget"], sort=False):
        table = comparison(part, metric, better=better)
        for task in table.tasks:
            own = frame[frame["task"] == task]
            extra = [str(v) for v, c in ((rule, "rule"), (budget, "budget")) if own[c].nunique() > 1]
            texts = {row: cell(table.entries.get((row, task))) for row in table.rows}
            shown = {
                row: text + (" *" * best + f" {mark}" * bool(mark)).ljust(2)
                for row, (text, best, mark) in texts.items()
            }
            columns[f"{task} [{', '.join(extra)}]" if extra else task] = pd.Series(shown, dtype=object)
    return pd.DataFrame(columns).fillna(EMPTY).rename_axis("method")
