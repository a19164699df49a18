"""Both ways through a flow: test data as noise, and noise as samples; a colour is an angle and follows its points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from bnnbench.reporting.figures.style import INK, Style, robust_limits
from bnnbench.reporting.figures.text import headline, name_lines
from bnnbench.reporting.gather import Arrays

Window = tuple[tuple[float, float], tuple[float, float]]
COLORS = sns.husl_palette(256, s=0.9, l=0.65, as_cmap=True)  # runs in a circle, everywhere equally light
NOISE: Window = ((-4.0, 4.0), (-4.0, 4.0))
POINTS = 2_000  # more only cover one another
COLUMNS = ("test data x", "test data as noise: x to z", "samples from noise: z to x")


def maps_figure(
    rows: Sequence[str], data: dict[str, Arrays], draws: dict[str, Arrays], styles: dict[str, Style], title: str
) -> Figure:
    """Methods down; test data, the same points as noise, and samples, all x in one window."""
    figure = Figure(figsize=(7.6, 1.0 + 2.1 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 3, squeeze=False, sharex="col")
    seen = window([data[row] for row in rows])
    for line, row in zip(panels, rows, strict=True):
        two_ways(line[0], line[1], data[row], seen)
        if row in draws:
            cloud(line[2], pair(draws[row], "x"), angle(pair(draws[row], "z")), seen)
        else:
            blank(line[2])
        name_line(line[0], row, styles[row].color)
    for axes, name in zip(panels[0], COLUMNS, strict=True):
        axes.set_title(name)
    headline(figure, title)
    return figure


def two_ways(left: Axes, right: Axes, series: Arrays, seen: Window) -> None:
    """Test data, and the same points as noise, in the colours of their angles."""
    x, z = pair(series, "x"), pair(series, "z")
    colors = angle(x - np.median(x, axis=0))
    cloud(left, x, colors, seen)
    cloud(right, z, colors, NOISE)
    for radius in (1, 2, 3):
        right.add_patch(Circle((0, 0), radius, fill=False, color=INK, lw=0.8, zorder=3))


def name_line(axes: Axes, row: str, color: str) -> None:
    """A method's name left of its panels, a configuration below it."""
    axes.set_ylabel(name_lines(row, 1.7, 8.5), color=color, fontweight="bold", fontsize=8.5)


def blank(axes: Axes) -> None:
    """No frame where there is nothing; the label beside it stays."""
    axes.set(xticks=(), yticks=())
    for spine in axes.spines.values():
        spine.set_visible(False)


def pair(series: Arrays, name: str) -> np.ndarray:
    """Points, one a line."""
    return np.stack([series[f"{name}0"], series[f"{name}1"]], axis=1)


def angle(points: np.ndarray) -> np.ndarray:
    """Colours of directions as seen from zero, in [0, 1)."""
    return np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) % 1


def window(clouds: Sequence[Arrays]) -> Window:
    """A square with nearly all points x of a usual cloud in it: one that reaches far leaves the others their size."""
    sides = [np.median([robust_limits(series[column]) for series in clouds], axis=0) for column in ("x0", "x1")]
    half = max(high - low for low, high in sides) / 2
    (left, right), (low, high) = [((a + b) / 2 - half, (a + b) / 2 + half) for a, b in sides]
    return (left, right), (low, high)


def cloud(axes: Axes, points: np.ndarray, colors: np.ndarray, seen: Window) -> None:
    """Coloured points; the share of them outside the window is said where it is not small."""
    (left, right), (low, high) = seen
    inside = (points >= (left, low)).all(1) & (points <= (right, high)).all(1)
    shown = slice(POINTS)
    axes.scatter(*points[shown].T, c=colors[shown], cmap=COLORS, vmin=0, vmax=1, s=4, lw=0, alpha=0.8, rasterized=True)
    axes.set(xlim=(left, right), ylim=(low, high), aspect="equal")
    axes.tick_params(labelsize=7, length=2)
    axes.locator_params(nbins=4)
    if (outside := 1 - inside.mean()) > 0.005:
        axes.annotate(f"{100 * outside:.0f} % outside", (0.97, 0.03), xycoords="axes fraction", ha="right", fontsize=7)
