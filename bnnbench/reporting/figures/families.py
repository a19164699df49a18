"""Many methods in one figure: a column a family, so that no panel holds more lines than the eye can follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnnbench.reporting.averages import Line, Lines
from bnnbench.reporting.comparison import method_of
from bnnbench.reporting.figures.palette import family
from bnnbench.reporting.figures.style import GREY, Style
from bnnbench.reporting.figures.text import headline, name_lines
from bnnbench.reporting.statistics import Frame

PLAIN = "map"  # the network without a posterior, which others are seen beside
REST = "Optimised, averaged, dropout"
COLUMNS = {"Variational": "Variational", "Multiplicative": "Variational", "Laplace": "Laplace", "Sampling": "Sampling"}
PLAIN_COLOR = "#555555"  # of the plain network where it stands beside others for comparison


@dataclass(frozen=True)
class Panels:
    """What a figure of families shows.

    Attributes:
        quantities: key -> label of the y axis, one row of panels each, top down.
        points: values plotted as open markers without a line; `points_label` says what they are.
        behind: lines plotted thin and grey, for reference; `behind_label` says what they are.
        markers: whether lines carry the method's markers at each value, or a few along the way.
        zero: whether y axes begin at zero.
    """

    title: str
    xlabel: str
    quantities: dict[str, str]
    lines: Lines
    points: Lines = field(default_factory=dict)
    points_label: str = ""
    behind: Lines = field(default_factory=dict)
    behind_label: str = ""
    markers: bool = True
    xticks: Sequence[float] = ()
    ylim: tuple[float | None, float | None] = (0.0, None)


def families(methods: Frame, rows: Sequence[str]) -> dict[str, list[str]]:
    """Rows by the family of their method, small ones together, in the order of the rows."""
    titles = {str(r["name"]): family(r["tags"]).title for _, r in methods.iterrows()}
    found: dict[str, list[str]] = {name: [] for name in (REST, *dict.fromkeys(COLUMNS.values()))}
    for row in rows:
        found[COLUMNS.get(titles.get(method_of(row), ""), REST)].append(row)
    return {name: own for name, own in found.items() if own}


def family_figure(plot: Panels, groups: dict[str, list[str]], styles: dict[str, Style]) -> Figure:
    """Panels of quantities (down) by families (across), rows of a family as lines and the plain network in all."""
    plotted = {row for row, _ in (*plot.lines, *plot.points)}
    groups = {name: [r for r in rows if r in plotted] for name, rows in groups.items()}
    groups = {name: rows for name, rows in groups.items() if rows}
    keys = [q for q in plot.quantities if any(k == q for _, k in (*plot.lines, *plot.points))]
    longest = max(sum(1 + _named(row).count("\n") for row in rows) for rows in groups.values())
    size = (max(4.6, 1.0 + 2.55 * len(groups)), 1.2 + 1.75 * len(keys) + 0.18 * (longest + 1))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(keys), len(groups), sharex=True, sharey="row", squeeze=False)
    for column, (name, rows) in zip(panels.T, groups.items(), strict=True):
        for axes, quantity in zip(column, keys, strict=True):
            panel(axes, quantity, rows, plot, styles)
        column[0].set_title(name, loc="left", fontweight="bold")
        column[-1].set_xlabel(plot.xlabel)
        column[-1].legend(
            handles=_handles(rows, plot, styles), loc="upper left", bbox_to_anchor=(-0.08, -0.3), handlelength=3
        )
    for axes, quantity in zip(panels[:, 0], keys, strict=True):
        axes.set_ylabel(plot.quantities[quantity])
        axes.set_ylim(*plot.ylim)
    if len(plot.xticks):
        panels[0, 0].set_xticks(plot.xticks)
    headline(figure, plot.title)
    return figure


def contrast(row: str, styles: dict[str, Style]) -> str:
    """Colour of a method that stands alone beside the plain network, which is grey: their own may be the same."""
    return PLAIN_COLOR if row == PLAIN else styles[row].color


def panel(axes: Axes, quantity: str, rows: list[str], plot: Panels, styles: dict[str, Style]) -> None:
    """One quantity of these rows, the plain network behind them."""
    for row in rows:
        if (row, quantity) in plot.behind:
            axes.plot(*plot.behind[row, quantity], color=GREY, lw=0.7, alpha=0.7, zorder=1)
    if PLAIN not in rows and (PLAIN, quantity) in plot.lines:
        axes.plot(*plot.lines[PLAIN, quantity], color=PLAIN_COLOR, lw=1.6, ls=(0, (4, 2)), zorder=2)
    for row in rows:
        style = styles[row]
        fill = "white" if style.hollow else style.color
        if (row, quantity) in plot.lines:
            every = None if plot.markers else (0.07, 0.3)
            axes.plot(*plot.lines[row, quantity], color=style.color, ls=style.line, lw=1.3, marker=style.marker, ms=4,
                      mfc=fill, markevery=every, zorder=3)  # fmt: skip
        if (row, quantity) in plot.points:
            axes.plot(*plot.points[row, quantity], color=style.color, ls="", marker=style.marker, ms=7, mfc="none",
                      mew=1.2, zorder=4)  # fmt: skip


def _named(row: str) -> str:
    """In the legend under a column."""
    return name_lines(row, 1.8, 8.5)


def _handles(rows: list[str], plot: Panels, styles: dict[str, Style]) -> list[Line2D]:
    found = [
        Line2D([], [], color=styles[r].color, ls=styles[r].line, marker=styles[r].marker, ms=4, lw=1.3, label=_named(r),
               mfc="white" if styles[r].hollow else styles[r].color)
        for r in rows
    ]  # fmt: skip
    if PLAIN not in rows and any(row == PLAIN for row, _ in plot.lines):
        found.append(Line2D([], [], color=PLAIN_COLOR, lw=1.6, ls=(0, (4, 2)), label=f"{PLAIN}, to compare"))
    if plot.points and any(row in rows for row, _ in plot.points):
        found.append(Line2D([], [], color=GREY, ls="", marker="o", ms=7, mfc="none", label=plot.points_label))
    if plot.behind and any(row in rows for row, _ in plot.behind):
        found.append(Line2D([], [], color=GREY, lw=0.7, label=plot.behind_label))
    return found


def survival(curve: dict[str, np.ndarray], column: str) -> Line:
    """Share of images above a value, from quantiles at levels."""
    value = np.asarray(curve[column], dtype=float)
    level = np.asarray(curve["level"], dtype=float)
    kept = np.isfinite(value)
    return value[kept], 1 - level[kept]
