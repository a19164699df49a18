"""Dots with error bars: every method's score on every data set, test rows solid and training rows faint.

All that is plotted and printed is an entry of a table: the dot its mean, the bar its error, the ring its bold type, the
text its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnnbench.names import TRAIN
from bnnbench.reporting.comparison import Comparison
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import GREY, INK, Style, grid, robust_limits
from bnnbench.reporting.figures.text import headline, label, panel_title
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Entry
from bnnbench.reporting.tables.text import cell, marks, words

RING = {"marker": "o", "ls": "", "mfc": "none", "mec": INK, "mew": 0.8, "ms": 10}
QUESTIONS = {  # what a metric's figure asks, and what to see in it
    "log_likelihood": (
        "How probable are the test targets? Log-likelihood",
        "Right is better: a method should lie right of map, the plain network.",
    ),
    "rmse": (
        "How far off is the mean? Root mean squared error",
        "Left is better; differences within the bars say nothing.",
    ),
    "error": (
        "How often is the class wrong? Error",
        "Left is better; differences within the bars say nothing.",
    ),
    "calibration_error": (
        "How far are predicted probabilities from shares observed? Calibration error",
        "Left is better: where a probability is as often right as it says.",
    ),
    "ece": (
        "How far is confidence from accuracy? Expected calibration error",
        "Left is better: where confidence is as often right as it says.",
    ),
}
AT_BORDER = 0.015  # of the axis: the middle of what stands for a value beyond it


def score_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """One figure for each metric that asks a question here."""
    asked = [metric for metric in QUESTIONS if metric in section.metrics]
    for metric in asked:
        test = compared(selection, section, metric)
        train = compared(selection, section, metric, TRAIN)
        unit = selection.metric(metric).unit
        axis = f"{words(metric)} ({unit})" if unit else words(metric)
        alt = _leaders(test, words(metric))
        title, text = QUESTIONS[metric]
        figure = partial(score_figure, test, train, styles, title, axis)
        yield Plot(metric.replace("_", "-"), alt, text, figure)


def _leaders(table: Comparison, name: str) -> str:
    """The best methods of each data set in words."""
    best = []
    for task in table.tasks:
        names = [row for row in table.rows if (e := table.entries.get((row, task))) and e.best]
        best.append(f"{task}: {', '.join(names) if len(names) <= 4 else f'{len(names)} methods tie'}" if names else "")
    told = "; ".join(filter(None, best))
    return f"Test {name} of {len(table.rows)} methods per data set with error bars. Best or tied: {told or 'none'}."


def score_figure(test: Comparison, train: Comparison, styles: dict[str, Style], title: str, unit: str) -> Figure:
    """One panel a data set, methods on the y axis; values far from the rest stand at the border with an arrow."""
    rows, columns = grid(len(test.tasks), 3)
    height = 0.75 + 0.2 * len(test.rows)
    figure = Figure(
        figsize=(max(5.6, 1.6 + 2.5 * columns), 0.7 + 0.2 * (columns < 3) + rows * height), layout="constrained"
    )
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, task in zip(panels.flat, test.tasks, strict=False):
        panel(axes, task, test, train, styles)
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


def panel(axes: Axes, task: str, test: Comparison, train: Comparison, styles: dict[str, Style]) -> None:
    """One data set, rows of `test` down."""
    entries = [e for table in (test, train) for (_, t), e in table.entries.items() if t == task]
    ends = [(e.mean - se, e.mean + se) for e in entries for se in [e.se if np.isfinite(e.se) else 0.0]]
    low, high = robust_limits(np.array(ends))
    axes.set_xlim(low, high)
    panel_title(axes, task, 2.3)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.hlines(range(len(test.rows)), 0, 1, color="#eeeeee", lw=0.8, zorder=0, transform=axes.get_yaxis_transform())
    for y, row in enumerate(test.rows):
        for table, alpha in ((train, 0.3), (test, 1.0)):
            entry = table.entries.get((row, task))
            if entry is None:
                continue
            if low <= entry.mean <= high:
                _dot(axes, y, entry, styles[row], alpha)
            elif not np.isnan(entry.mean):
                _beyond(axes, y, entry, styles[row], alpha, right=entry.mean > high)
            elif table is test:
                text, _, mark = cell(entry)
                _write(axes, 0.02, y, f"{text or 'no score'} {mark}".strip(), GREY)


def _dot(axes: Axes, y: int, entry: Entry, style: Style, alpha: float) -> None:
    size, order = (5, 3) if alpha == 1 else (3.5, 2)
    look = {"color": style.color, "alpha": alpha, "zorder": order}
    if np.isfinite(entry.se):
        axes.plot([entry.mean - entry.se, entry.mean + entry.se], [y, y], lw=1.6, solid_capstyle="butt", **look)
    axes.plot(entry.mean, y, style.marker, ms=size, mfc="white" if style.hollow else style.color, **look)
    if alpha < 1:
        return
    if entry.best:
        axes.plot(entry.mean, y, zorder=4, clip_on=False, **RING)
    if mark := marks(entry):
        axes.annotate(mark, (entry.mean, y), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)


def _beyond(axes: Axes, y: int, entry: Entry, style: Style, alpha: float, *, right: bool) -> None:
    """A value outside the axis: an arrow at the border, in a ring if it is the best, and the table's text beside it."""
    x, across = (1 - AT_BORDER if right else AT_BORDER), axes.get_yaxis_transform()
    axes.plot(
        x, y, ">" if right else "<", color=style.color, ms=5 if alpha == 1 else 3.5, alpha=alpha, transform=across
    )
    if alpha < 1:
        return
    if entry.best:
        axes.plot(x, y, zorder=4, clip_on=False, transform=across, **RING)
    text, _, mark = cell(entry)
    _write(axes, 0.955 if right else 0.045, y, f"{text} {mark}".strip(), style.color, "right" if right else "left")


def _write(axes: Axes, x: float, y: int, text: str, color: str, side: str = "left") -> None:
    axes.annotate(text, (x, y), xycoords=("axes fraction", "data"), va="center", ha=side, fontsize=7.5, color=color)
