"""Learned densities under the true one: tasks across, methods down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bnnbench.reporting.figures.flow_maps import blank, name_line
from bnnbench.reporting.figures.style import INK, Style
from bnnbench.reporting.figures.text import headline, name_lines
from bnnbench.reporting.gather import Arrays

TRUTH = "truth"
ROOT = 0.5  # power on densities before they are coloured: thin bridges between modes would be white otherwise


def densities_figure(
    grids: dict[str, dict[str, Arrays]],
    rows: Sequence[str],
    numbers: dict[tuple[str, str], str],
    styles: dict[str, Style],
    title: str,
) -> Figure:
    """Colours of a task are those of its truth.

    Args:
        grids: by task and row.
        numbers: by row and task, what stands above a panel, that of the truth too.
    """
    size = (max(4.6, 0.5 + 1.85 * len(grids)), 1.0 + 2.05 * (1 + len(rows)))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.08))  # or numbers stand under a panel too
    panels = figure.subplots(1 + len(rows), len(grids), squeeze=False)
    for column, (task, own) in zip(panels.T, grids.items(), strict=True):
        truth, box = field(next(iter(own.values())), "log_p")
        images = {TRUTH: truth} | {row: field(series, "log_q")[0] for row, series in own.items()}
        for axes, row in zip(column, (TRUTH, *rows), strict=True):
            _panel(axes, images.get(row), box, float(truth.max()))
            axes.set_title(numbers.get((row, task), ""), fontsize=8.5, pad=2)
        column[0].annotate(name_lines(task, 1.8), (0.5, 1), xytext=(0, 18), xycoords="axes fraction",
                           textcoords="offset points", ha="center", fontweight="bold", fontsize=10)  # fmt: skip
    for axes, row in zip(panels[:, 0], (TRUTH, *rows), strict=True):
        name_line(axes, row, styles[row].color if row in styles else INK)
    headline(figure, title)
    return figure


def _panel(axes: Axes, image: np.ndarray | None, box: tuple[float, float, float, float], top: float) -> None:
    if image is None:
        blank(axes)
        return
    norm = PowerNorm(ROOT, 0, top, clip=True)
    axes.imshow(image, origin="lower", extent=box, norm=norm, cmap="BuPu", interpolation="nearest")
    axes.set(xticks=(), yticks=())
    for spine in axes.spines.values():
        spine.set(visible=True, color="#bbbbbb", lw=0.6)


def field(series: Arrays, column: str) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """A density on the square grid, a row of the image one x1, lowest first, and the borders of the image."""
    x, y = np.unique(series["x0"]), np.unique(series["x1"])
    order = np.lexsort((series["x0"], series["x1"]))
    half = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    box = (x[0] - half[0], x[-1] + half[0], y[0] - half[1], y[-1] + half[1])
    return np.exp(series[column][order]).reshape(len(y), len(x)), box
