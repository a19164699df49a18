"""One digit, rotated further and further: what a Bayesian network believes of its class, and what a plain one does."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from bnnbench.reporting.figures.families import contrast
from bnnbench.reporting.figures.style import Style
from bnnbench.reporting.figures.text import headline, label
from bnnbench.reporting.gather import Arrays

DEGREES = 20  # between two points
GRID = np.linspace(0, 1, 121)
WIDTH = 0.025  # of the smoothing kernel: what two samples may differ by without being seen apart
DRAWS = 200
ALIVE = 0.05  # a class whose 95 % quantile stays below is drawn faintly


def digit_figure(violins: dict[str, Arrays], styles: dict[str, Style], task: str) -> Figure:
    """Methods down, angles across; in a panel a violin a class, the probability to the right."""
    angles = sorted({int(p) for series in violins.values() for p in series["point"]})
    size = (max(4.6, 1.4 + 1.05 * len(angles)), 1.1 + 2.5 * len(violins))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(violins), len(angles), sharex=True, sharey=True, squeeze=False)
    for line, (row, series) in zip(panels, violins.items(), strict=True):
        color = contrast(row, styles)
        for axes, point in zip(line, angles, strict=True):
            panel(axes, series, point, color)
        line[0].set_ylabel(f"{label(row)}\nclass", color=color, fontweight="bold")
    for axes, point in zip(panels[0], angles, strict=True):
        axes.annotate(f"{DEGREES * point}°", (0.5, 1), xytext=(0, 20), xycoords="axes fraction", fontweight="bold",
                      textcoords="offset points", ha="center", fontsize=11)  # fmt: skip
    panels[0, 0].set(xlim=(0, 1), ylim=(9.8, -0.8), yticks=range(10), xticks=(0, 1))
    panels[0, 0].set_xticklabels(["0", "1"])
    figure.supxlabel(
        "probability of the class: a violin is its distribution over samples of the network, the line 90 % of them",
        fontsize=9,
    )
    headline(figure, f"A test digit rotated by so many degrees: how sure is the network of its class? ({task})")
    return figure


def panel(axes: Axes, series: Arrays, point: int, color: str) -> None:
    """One method at one angle."""
    here = series["point"] == point
    means, shapes, faint, lines = {}, [], [], []
    for c in sorted({int(v) for v in series["class"][here]}):
        own = here & (series["class"] == c)
        draws = drawn(series["level"][own], series["quantile"][own])
        means[c] = float(draws.mean())
        low, high = np.quantile(draws, [0.05, 0.95])
        if high > ALIVE:
            shapes += violin(c, draws)
            lines.append([(low, c), (high, c)])
        else:
            faint += violin(c, draws)
    for outlines, alpha in ((shapes, 0.75), (faint, 0.2)):
        axes.add_collection(PolyCollection(outlines, color=color, alpha=alpha, lw=0, zorder=3, rasterized=True))
    axes.add_collection(LineCollection(lines, color=color, lw=0.9, zorder=4))
    if means:
        top = max(means, key=lambda c: means[c])
        axes.set_title(f"{top}: {means[top]:.2f}", fontsize=9, color=color)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")
    axes.set_yticks(range(10))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#eeeeee", lw=0.6, zorder=0)


def drawn(level: np.ndarray, quantile: np.ndarray) -> np.ndarray:
    """Probabilities with these quantiles, rising."""
    order = np.argsort(level, kind="stable")
    return np.interp((np.arange(DRAWS) + 0.5) / DRAWS, level[order], quantile[order])


def violin(c: int, draws: np.ndarray) -> list[np.ndarray]:
    """Outlines [N, 2] of the parts of a class's violin that are wide enough to be seen, about the height c."""
    shape = density(draws)
    half = 0.46 * shape / shape.max()
    seen = np.flatnonzero(half > 0.01)
    parts = np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1)
    return [np.column_stack([np.r_[GRID[p], GRID[p][::-1]], np.r_[c + half[p], (c - half[p])[::-1]]]) for p in parts]


def density(draws: np.ndarray) -> np.ndarray:
    """Smoothed density of probabilities on `GRID`, reflected at 0 and 1 where nothing can lie beyond."""
    reflected = np.concatenate([draws, -draws, 2 - draws])
    return np.exp(-0.5 * ((GRID[:, None] - reflected) / WIDTH) ** 2).sum(1)
