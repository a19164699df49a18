"""Dots with error bars: every method's score on every data set, test rows solid and training rows faint."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnnbench.report.figures.style import GREY, INK, Look, grid, robust_limits
from bnnbench.report.statistics import Comparison, Entry
from bnnbench.report.tables import number


def score_figure(test: Comparison, train: Comparison, looks: dict[str, Look], title: str, label: str) -> Figure:
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
        axes.set_yticks(range(len(test.rows)), test.rows)
        axes.set_ylim(len(test.rows) - 0.4, -0.6)
    arrow = {1: " (right is better)", -1: " (left is better)"}.get(test.better, "")
    figure.suptitle(title + arrow, x=0.01, ha="left", fontsize=11)
    for axes in panels.flat[max(0, len(test.tasks) - columns) : len(test.tasks)]:
        axes.set_xlabel(label)
    handles = [
        Line2D([], [], marker="o", color=INK, ls="-", label="test rows: mean ± standard error"),
        Line2D([], [], marker="o", color=INK, ls="", alpha=0.3, ms=3.5, label="training rows"),
        Line2D([], [], marker="o", color=INK, ls="", mfc="none", ms=9, mew=0.8, label="best or not separable from it"),
        Line2D([], [], marker="$†$", color=INK, ls="", label="cells failed or missing"),
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
    axes.set_title(task, loc="left", fontweight="bold")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    for y, row in enumerate(test.rows):
        axes.axhline(y, color="#eeeeee", lw=0.8, zorder=0)
        faint, solid = train.entries.get((row, task)), test.entries.get((row, task))
        if faint and np.isfinite(faint.mean) and low <= faint.mean <= high:
            _dot(axes, y, faint, looks[row], alpha=0.3)
        if solid is None:
            continue
        if np.isnan(solid.mean):
            text, where = "NaN" if solid.n else "† no score", ("axes fraction", "data")
            axes.annotate(text, (0.02, y), xycoords=where, va="center", fontsize=7.5, color=GREY)
        elif low <= solid.mean <= high:
            _dot(axes, y, solid, looks[row])
        else:
            _arrow(axes, y, solid, looks[row], to_right=solid.mean > high)


def _dot(axes: Axes, y: int, entry: Entry, look: Look, alpha: float = 1.0) -> None:
    fill = "white" if look.hollow else look.color
    error = entry.se if np.isfinite(entry.se) else None
    style = {
        "fmt": look.marker,
        "color": look.color,
        "mfc": fill,
        "ms": 5 if alpha == 1 else 3.5,
        "lw": 1.6,
        "zorder": 3 if alpha == 1 else 2,
    }
    axes.errorbar(entry.mean, y, xerr=error, alpha=alpha, **style)
    if alpha == 1 and entry.best:
        axes.plot(entry.mean, y, "o", mfc="none", mec=INK, mew=0.8, ms=10, zorder=4, clip_on=False)
    if alpha == 1 and not entry.complete:
        axes.annotate("†", (entry.mean, y), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)


def _arrow(axes: Axes, y: int, entry: Entry, look: Look, to_right: bool) -> None:
    """A value outside the axis: arrow at the border and the value beside it."""
    mark = "" if entry.complete else " †"
    decimals = 0 if abs(entry.mean) >= 100 else 1 if abs(entry.mean) >= 10 else 2
    text, x = number(entry.mean, decimals) + mark, 1.0 if to_right else 0.0
    axes.annotate(
        "", (x, y), xytext=(-14 if to_right else 14, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        arrowprops={"arrowstyle": "-|>", "color": look.color, "lw": 1.4, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    axes.annotate(
        text, (x, y), xytext=(-17 if to_right else 17, 0), xycoords=("axes fraction", "data"), va="center",
        textcoords="offset points", ha="right" if to_right else "left", fontsize=7.5, color=look.color,
    )  # fmt: skip
