"""What a posterior's weights look like: one histogram a method, in units of the prior's scale."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from bnnbench.names import TEST
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import GREY, Style, grid, plain_decades
from bnnbench.reporting.figures.text import headline, panel_title
from bnnbench.reporting.gather import Curves, gather, shown
from bnnbench.reporting.select import Section, Selection

TEXT = "Near the dashed line most weights are as the prior has them; a narrow peak is weights driven to zero."
LOWEST = 1e-3  # densities below are off the axis
POINTS = 161  # of the normal curve


def weights_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """One figure, where histograms of weights were stored."""
    if curves := gather(selection, section, "weights", TEST):
        rows, tasks = shown(section, curves)
        alt = f"Histograms of all weights of {len(rows)} methods on {', '.join(tasks)}, in units of the prior's scale."
        yield Plot("weights", alt, TEXT, partial(weights_figure, curves, rows, tasks, styles))


def weights_figure(curves: Curves, rows: list[str], tasks: list[str], styles: dict[str, Style]) -> Figure:
    """Thin lines are data sets, the strong one their mean; dashed the standard normal."""
    edges = _edges(curves)
    middles = (edges[:-1] + edges[1:]) / 2
    densities = {key: density(cells, middles) for key, cells in curves.items()}
    highest = max(float(np.max(d)) for d in densities.values())
    down, across = grid(len(rows), 4)
    figure = Figure(figsize=(0.8 + 2.4 * across, 1.2 + 1.6 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    for i, (axes, row) in enumerate(zip(panels.flat, rows, strict=False)):
        own = [densities[row, task] for task in tasks if (row, task) in densities]
        _panel(axes, edges, own, styles[row])
        axes.set(xlim=(edges[0], edges[-1]), ylim=(LOWEST, max(1.0, 1.5 * highest)))
        panel_title(axes, row, 2.2, styles[row].color)
        axes.tick_params(labelleft=i % across == 0, labelbottom=i >= len(rows) - across)
    for axes in panels.flat[len(rows) :]:
        axes.set_axis_off()
    for axes in panels.flat[max(0, len(rows) - across) : len(rows)]:
        axes.set_xlabel("weight / prior scale")
    for axes in panels[:, 0]:
        axes.set_ylabel("density")
    headline(figure, "Where are the weights? All samples and layers, log density")
    figure.legend(handles=_legend(len(tasks)), loc="outside lower center", ncols=3)
    return figure


def _edges(curves: Curves) -> np.ndarray:
    """All edges of all bins: between two of them every histogram is level."""
    return np.unique([c[edge] for own in curves.values() for c in own for edge in ("lower", "upper")])


def density(cells: list[dict[str, np.ndarray]], x: np.ndarray) -> np.ndarray:
    """Mean over cells of the histograms as step functions at x: bins may differ from cell to cell."""
    return np.mean([_steps(c, x) for c in cells], axis=0)


def _steps(cell: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    place = np.searchsorted(cell["lower"], x, side="right") - 1
    inside = (place >= 0) & (x < cell["upper"][np.clip(place, 0, None)])
    return np.where(inside, cell["density"][np.clip(place, 0, None)], 0.0)


def _panel(axes: Axes, edges: np.ndarray, own: list[np.ndarray], style: Style) -> None:
    axes.set_yscale("log")
    plain_decades(axes.yaxis)
    axes.yaxis.set_minor_locator(NullLocator())  # panels are small, and ticks take most of the time
    x = np.linspace(edges[0], edges[-1], POINTS)
    axes.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color=GREY, lw=1, ls=(0, (4, 2)), zorder=2)
    floor = LOWEST / 10
    mean = np.maximum(np.mean(own, axis=0), floor)
    axes.stairs(mean, edges, baseline=floor, fill=True, color=style.color, alpha=0.25, lw=0, zorder=1)
    for values in own if len(own) > 1 else []:
        _line(axes, edges, np.maximum(values, floor), color=style.color, lw=0.6, alpha=0.5, zorder=3)
    _line(axes, edges, mean, color=style.color, lw=1.5, zorder=4)


def _line(axes: Axes, edges: np.ndarray, levels: np.ndarray, **look: Any) -> None:
    axes.step(edges, np.append(levels, levels[-1]), where="post", **look)


def _legend(tasks: int) -> list[Line2D]:
    found = [Line2D([], [], color=GREY, lw=1, ls=(0, (4, 2)), label="standard normal (the default prior)")]
    if tasks > 1:
        found += [
            Line2D([], [], color=GREY, lw=0.6, label="a data set"),
            Line2D([], [], color=GREY, lw=1.5, label="mean over data sets"),
        ]
    return found
