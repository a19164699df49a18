"""Dots with error bars: every method's score on every data set, test rows solid and training rows faint.

All that is drawn and printed is an entry of a table: the dot its mean, the bar its error, the ring its bold type, the
text its own.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnnbench.reporting.figures.style import GREY, INK, Look, grid, robust_limits
from bnnbench.reporting.figures.text import headline, label, panel_title
from bnnbench.reporting.statistics import Comparison, Entry
from bnnbench.reporting.tables.grid import cell, marks

RING = {"marker": "o", "ls": "", "mfc": "none", "mec": INK, "mew": 0.8, "ms": 10}
AT_BORDER = 0.015  # of the axis: the middle of what stands for a value beyond it


def score_figure(test: Comparison, train: Comparison, looks: dict[str, Look], title: str, unit: str) -> Figure:
    """One panel a data set, methods on the y axis; values far from the rest stand at the border with an arrow."""
    rows, columns = grid(len(test.tasks), 3)
    height = 0.75 + 0.2 * len(test.rows)
    figure = Figure(
        figsize=(max(5.6, 1.6 + 2.5 * columns), 0.7 + 0.2 * (columns < 3) + rows * height), layout="constrained"
    )
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, task in zip(panels.flat, test.tasks, strict=False):
        _panel(axes, task, test, train, looks)
    for axes in panels.flat[len(test.tasks) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_yticks(range(len(test.rows)), list(map(label, test.rows)))
        axes.set_ylim(len(test.rows) - 0.4, -0.6)
    arrow = {1: " (right is better)", -1: " (left is better)"}.get(test.better, "")
    headline(figure, title + arrow)
    for axes in panels.flat[max(0, len(test.tasks) - columns) : len(test.tasks)]:
        axes.set_xlabel(unit)
    handles = [
        Line2D([], [], marker="o", color=INK, ls="-", label="test rows: mean ± standard error"),
        Line2D([], [], marker="o", color=INK, ls="", alpha=0.3, ms=3.5, label="training rows"),
        Line2D([], [], **RING, label="best or not separable from it"),
        Line2D([], [], marker=">", color=INK, ls="", ms=5, label="beyond the axis; marks as in the table"),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4 if columns > 2 else 2, handletextpad=0.3, columnspacing=1.2
    )
    return figure


def _panel(axes: Axes, task: str, test: Comparison, train: Comparison, looks: dict[str, Look]) -> None:
    entries = [e for table in (test, train) for (_, t), e in table.entries.items() if t == task]
    ends = [(e.mean - se, e.mean + se) for e in entries for se in [e.se if np.isfinite(e.se) else 0.0]]
    low, high = robust_limits(np.array(ends))
    axes.set_xlim(low, high)
    panel_title(axes, task, 2.3)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    for y, row in enumerate(test.rows):
        axes.axhline(y, color="#eeeeee", lw=0.8, zorder=0)
        for table, alpha in ((train, 0.3), (test, 1.0)):
            entry = table.entries.get((row, task))
            if entry is None:
                continue
            if low <= entry.mean <= high:
                _dot(axes, y, entry, looks[row], alpha)
            elif not np.isnan(entry.mean):
                _beyond(axes, y, entry, looks[row], alpha, right=entry.mean > high)
            elif table is test:
                text, _, mark = cell(entry)
                _write(axes, 0.02, y, f"{text or 'no score'} {mark}".strip(), GREY)


def _dot(axes: Axes, y: int, entry: Entry, look: Look, alpha: float) -> None:
    size, order = (5, 3) if alpha == 1 else (3.5, 2)
    axes.errorbar(
        entry.mean, y, xerr=entry.se if np.isfinite(entry.se) else None, alpha=alpha, fmt=look.marker, ms=size, lw=1.6,
        color=look.color, mfc="white" if look.hollow else look.color, zorder=order,
    )  # fmt: skip
    if alpha < 1:
        return
    if entry.best:
        axes.plot(entry.mean, y, zorder=4, clip_on=False, **RING)
    if mark := marks(entry):
        axes.annotate(mark, (entry.mean, y), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)


def _beyond(axes: Axes, y: int, entry: Entry, look: Look, alpha: float, *, right: bool) -> None:
    """A value outside the axis: an arrow at the border, in a ring if it is the best, and the table's text beside it."""
    x, across = (1 - AT_BORDER if right else AT_BORDER), axes.get_yaxis_transform()
    axes.plot(x, y, ">" if right else "<", color=look.color, ms=5 if alpha == 1 else 3.5, alpha=alpha, transform=across)
    if alpha < 1:
        return
    if entry.best:
        axes.plot(x, y, zorder=4, clip_on=False, transform=across, **RING)
    text, _, mark = cell(entry)
    _write(axes, 0.955 if right else 0.045, y, f"{text} {mark}".strip(), look.color, "right" if right else "left")


def _write(axes: Axes, x: float, y: int, text: str, color: str, side: str = "left") -> None:
    axes.annotate(text, (x, y), xycoords=("axes fraction", "data"), va="center", ha=side, fontsize=7.5, color=color)
