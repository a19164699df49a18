"""What a posterior's weights look like: one histogram a method, in units of the prior's scale."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnnbench.report.figures.calibration import LABEL, Curves
from bnnbench.report.figures.style import GREY, Look, grid

LOWEST = 1e-3  # densities below are off the axis
WIDEST, NARROWEST, POINTS = 8.0, 3.0, 801


def weights_figure(curves: Curves, rows: list[str], tasks: list[str], looks: dict[str, Look]) -> Figure:
    """Thin lines are data sets (mean over splits), the strong one their mean; dashed the standard normal."""
    x = np.linspace(-1, 1, POINTS) * _reach(curves)
    densities = {key: density(cells, x) for key, cells in curves.items()}
    highest = max(float(np.max(d)) for d in densities.values())
    down, across = grid(len(rows), 4)
    figure = Figure(figsize=(0.8 + 2.4 * across, 1.2 + 1.6 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    for i, (axes, row) in enumerate(zip(panels.flat, rows, strict=False)):
        own = [densities[row, task] for task in tasks if (row, task) in densities]
        _panel(axes, x, own, looks[row])
        axes.set(xlim=(x[0], x[-1]), ylim=(LOWEST, max(1.0, 1.5 * highest)))
        axes.set_title(row, loc="left", fontweight="bold", color=looks[row].color)
        axes.tick_params(labelleft=i % across == 0, labelbottom=i >= len(rows) - across)
        outside = np.mean([_outside(c, x[-1]) for task in tasks for c in curves.get((row, task), [])])
        if outside >= 0.0005:
            axes.text(0.98, 0.95, f"{100 * outside:.1f} % beyond", ha="right", va="top", fontsize=7.5,
                      transform=axes.transAxes, color="#333333", bbox=LABEL)  # fmt: skip
    for axes in panels.flat[len(rows) :]:
        axes.set_axis_off()
    for axes in panels.flat[max(0, len(rows) - across) : len(rows)]:
        axes.set_xlabel("weight / prior scale")
    for axes in panels[:, 0]:
        axes.set_ylabel("density")
    figure.suptitle("Where are the weights? All samples and layers, log density", x=0.01, ha="left", fontsize=11)
    figure.legend(handles=_legend(len(tasks)), loc="outside lower center", ncols=3)
    return figure


def density(cells: list[dict[str, np.ndarray]], x: np.ndarray) -> np.ndarray:
    """Mean over cells of the histograms as step functions at x: bins may differ from cell to cell."""
    return np.mean([_steps(c, x) for c in cells], axis=0)


def _steps(cell: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    place = np.searchsorted(cell["lower"], x, side="right") - 1
    inside = (place >= 0) & (x < cell["upper"][np.clip(place, 0, None)])
    return np.where(inside, cell["density"][np.clip(place, 0, None)], 0.0)


def _outside(cell: dict[str, np.ndarray], reach: float) -> float:
    """Share of the weights beyond the axis."""
    lower, upper = np.clip(cell["lower"], -reach, reach), np.clip(cell["upper"], -reach, reach)
    return float(max(0.0, 1.0 - np.sum(cell["density"] * (upper - lower))))


def _reach(curves: Curves) -> float:
    """Half width of the axis: where nine in ten cells show all but a thousandth of their weights."""
    ends = [_end(cell) for cells in curves.values() for cell in cells]
    return float(np.clip(np.quantile(ends, 0.9), NARROWEST, WIDEST))


def _end(cell: dict[str, np.ndarray]) -> float:
    mass = cell["density"] * (cell["upper"] - cell["lower"])
    distance = np.maximum(np.abs(cell["lower"]), np.abs(cell["upper"]))
    order = np.argsort(distance, kind="stable")
    total = np.cumsum(mass[order])
    return float(distance[order][min(np.searchsorted(total, 0.999 * total[-1]), len(order) - 1)])


def _panel(axes: Axes, x: np.ndarray, own: list[np.ndarray], look: Look) -> None:
    axes.set_yscale("log")
    normal = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    axes.plot(x, normal, color=GREY, lw=1, ls=(0, (4, 2)), zorder=2)
    mean = np.maximum(np.mean(own, axis=0), LOWEST / 10)
    axes.fill_between(x, LOWEST / 10, mean, color=look.color, alpha=0.25, lw=0, zorder=1)
    for values in own if len(own) > 1 else []:
        axes.plot(x, np.maximum(values, LOWEST / 10), color=look.color, lw=0.6, alpha=0.5, zorder=3)
    axes.plot(x, mean, color=look.color, lw=1.5, zorder=4)


def _legend(tasks: int) -> list[Line2D]:
    found = [Line2D([], [], color=GREY, lw=1, ls=(0, (4, 2)), label="standard normal (the default prior)")]
    if tasks > 1:
        found += [
            Line2D([], [], color=GREY, lw=0.6, label="a data set, mean over splits"),
            Line2D([], [], color=GREY, lw=1.5, label="mean over data sets"),
        ]
    return found
