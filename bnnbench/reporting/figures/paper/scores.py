"""Scores as dots, the best on top, beside the line of a reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnnbench.reporting.comparison import Comparison
from bnnbench.reporting.figures.families import PLAIN, PLAIN_COLOR
from bnnbench.reporting.figures.paper.asked import Asked, Found, found
from bnnbench.reporting.figures.paper.sheet import Sheet, grid_of, laid_out, panels, titled
from bnnbench.reporting.figures.paper.words import capital, conditions, counted, named, spread
from bnnbench.reporting.figures.scores import RING, panel
from bnnbench.reporting.figures.style import INK
from bnnbench.reporting.figures.text import label
from bnnbench.reporting.points import compared
from bnnbench.reporting.separable import ranked
from bnnbench.reporting.statistics import Entry
from bnnbench.reporting.tables.text import INCOMPLETE, OTHER_TARGET, UNCONVERGED, words

SIGNS = {  # in a caption
    INCOMPLETE: ("complete", False, "cells failed or are missing"),
    UNCONVERGED: ("unconverged", True, "unconverged by the method's own diagnostics"),
    OTHER_TARGET: ("other_target", True, "another prior or model than the task's"),
}


def find(asked: Asked) -> Found:
    """Entries of the metric's table."""
    tables = [compared(asked.selection, section, metric_of(asked)) for section in asked.sections]
    data = {key: entry for table in tables for key, entry in table.entries.items()}
    return found(asked, data)


def metric_of(asked: Asked) -> str:
    """That asked for among those with scores on test rows; else the first headline metric."""
    own = (s.scores.loc[s.scores["evaluation"] == "test", "metric"].unique() for s in asked.sections)
    return asked.metric_of(asked.metrics, [str(metric) for metrics in own for metric in metrics if metric])


def draw(asked: Asked, there: Found) -> Sheet:
    """One panel a data set, methods in one order, by their mean rank over all."""
    metric, size = metric_of(asked), asked.size
    definition = asked.selection.metric(metric)
    rows = in_order(there, definition.better)
    down, across = grid_of(size, len(there.tasks))
    wide = (size.width - 1.1 * size.font / 8) / across
    ticks = max(2, int(wide / (0.07 * size.small)))
    figure, lines = panels(size, down, across, 0.42 + 0.135 * len(rows), 0.1, sharey=True)
    for (axes, _, lowest), task in zip(laid_out(lines, len(there.tasks)), there.tasks, strict=False):
        table = _table(there, task, rows, metric, definition.better)
        panel(axes, task, table, replace(table, entries={}), asked.styles)
        titled(axes, task, size, wide)
        axes.tick_params(axis="x", labelbottom=True)
        axes.xaxis.set_major_locator(MaxNLocator(ticks))
        if lowest:
            axes.set_xlabel(named(metric, definition.unit) if across < 3 else words(metric))
        entry = there.data.get((_reference(asked, rows), task))
        if entry is not None and np.isfinite(entry.mean):
            axes.axvline(entry.mean, color=PLAIN_COLOR, lw=0.9, ls=(0, (4, 2)), zorder=1)
    lines[0][0].set_yticks(range(len(rows)), [_named(there, row) for row in rows])
    lines[0][0].set_ylim(len(rows) - 0.4, -0.6)
    return Sheet(figure, _caption(asked, there, metric), _handles(asked, there, rows))


def _named(there: Found, row: str) -> str:
    """With the signs that any of its entries has."""
    own = [entry for (name, _), entry in there.data.items() if name == row]
    signs = [sign for sign, (name, value, _) in SIGNS.items() if any(getattr(entry, name) == value for entry in own)]
    return f"{label(row)} {''.join(signs)}".strip()


def _reference(asked: Asked, rows: list[str]) -> str:
    return asked.reference or (PLAIN if PLAIN in rows else "")


def in_order(there: Found, better: int) -> list[str]:
    """Rows by their mean rank over the data sets that they have a score on, the best first."""
    sign = -better or 1
    values = np.array([[_value(there.data.get((row, task)), sign) for row in there.rows] for task in there.tasks])
    ranks = np.where(np.isnan(values), np.nan, ranked(np.nan_to_num(values, nan=np.inf, posinf=np.inf)))
    mean = np.nanmean(ranks, axis=0)
    return [there.rows[i] for i in np.argsort(mean, kind="stable")]


def _value(entry: Entry | None, sign: int) -> float:
    """Lower is better; without a score last, NaN where it was not run."""
    if entry is None:
        return np.nan
    return np.inf if np.isnan(entry.mean) else sign * entry.mean


def _table(there: Found, task: str, rows: list[str], metric: str, better: int) -> Comparison:
    """One data set, its rows in this order, without marks at the dots: they stand at the names."""
    plain = {"behind": (), "skewed": False, "complete": True, "unconverged": False, "other_target": False}
    own = {(row, task): replace(there.data[row, task], **plain) for row in rows if (row, task) in there.data}
    return Comparison(metric, "test", better, tuple(rows), (task,), own, {}, {}, {})


def _handles(asked: Asked, there: Found, rows: list[str]) -> list[Line2D]:
    made = [Line2D([], [], marker="o", color=INK, ls="-", ms=5, lw=1.6, label="mean ± standard error")]
    if any(entry.best for entry in there.data.values()):
        made.append(Line2D([], [], **RING, label="best, or not told apart from it"))
    if reference := _reference(asked, rows):
        made.append(Line2D([], [], color=PLAIN_COLOR, lw=0.9, ls=(0, (4, 2)), label=label(reference)))
    return made


def _caption(asked: Asked, there: Found, metric: str) -> str:
    better = {1: "right is better", -1: "left is better"}.get(asked.selection.metric(metric).better, "")
    signs = [f"{sign} {what}" for sign, (name, value, what) in SIGNS.items()
             if any(getattr(entry, name) == value for entry in there.data.values())]  # fmt: skip
    told = f"{capital(words(metric))} on the test rows of {counted(len(there.tasks), 'data set')}"
    told += f" ({better})" * bool(better) + ", methods by their mean rank; "
    told += f"mean and standard error over {spread(asked.sections)}."
    told += " A triangle at the border stands for a value beyond the axis."
    return f"{told} {conditions(asked.sections)}" + f" {'; '.join(signs)}." * bool(signs)
