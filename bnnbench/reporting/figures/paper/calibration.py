"""Calibration curves of a few methods in one panel a data set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from bnnbench.names import TEST
from bnnbench.reporting.figures.calibration import KOLMOGOROV, test_points
from bnnbench.reporting.figures.paper.asked import Asked, Found, found
from bnnbench.reporting.figures.paper.sheet import Sheet, grid_of, handle, laid_out, panels, titled
from bnnbench.reporting.figures.paper.words import conditions
from bnnbench.reporting.figures.style import GREY, Style
from bnnbench.reporting.series import pit_deviation, pool_bins

BAND = "#e6e6e6"
PIT = (
    "PIT calibration curves, mean over splits: how much larger the share of test targets below a predicted quantile is "
    "than predicted. Up, then down: predictive too narrow; down, then up: too wide. Grey: where a calibrated method "
    "stays with probability 95 %."
)
RELIABILITY = (
    "Reliability, bins pooled over splits: share of right answers among predictions of a confidence. Below the "
    "diagonal: overconfident."
)


def find_pit(asked: Asked) -> Found:
    """Curves of cells."""
    return found(asked, asked.gathered("pit_ecdf", TEST))


def find_reliability(asked: Asked) -> Found:
    """Bins of cells."""
    return found(asked, asked.gathered("reliability", TEST))


def draw_pit(asked: Asked, there: Found) -> Sheet:
    """Distance of the ECDF from the uniform one, over a common axis."""
    curves = {key: pit_deviation(cells) for key, cells in there.data.items()}
    points = {task: test_points(section, task) for section in asked.sections for task in section.tasks}
    reach = float(np.clip(1.1 * max(np.abs(off).max() for _, off in curves.values()), 0.08, 1.0))

    def background(axes: Axes, task: str) -> None:
        band = KOLMOGOROV / np.sqrt(points[task])
        if np.isfinite(band):
            axes.axhspan(-band, band, color=BAND, lw=0, zorder=0)
        axes.axhline(0, color=GREY, lw=0.8, zorder=1)
        axes.set(ylim=(-reach, reach))

    labels = ("predicted probability", "observed − predicted")
    return _sheet(asked, there, curves, background, labels, PIT, every=(0.05, 0.3))


def draw_reliability(asked: Asked, there: Found) -> Sheet:
    """Accuracy against confidence."""
    curves = {key: _reliability(cells) for key, cells in there.data.items()}

    def background(axes: Axes, task: str) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, zorder=1)
        axes.set(ylim=(0, 1.02))

    return _sheet(asked, there, curves, background, ("confidence", "accuracy"), RELIABILITY, every=None)


def _reliability(cells: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    count, confidence, accuracy = pool_bins(cells)
    return confidence[count > 0], accuracy[count > 0]


def _sheet(
    asked: Asked,
    there: Found,
    curves: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]],
    background: Callable[[Axes, str], None],
    labels: tuple[str, str],
    caption: str,
    every: tuple[float, float] | None,
) -> Sheet:
    """A panel a data set with all methods in it."""
    size = asked.size
    down, across = grid_of(size, len(there.tasks))
    alone = len(there.tasks) == 1
    figure, lines = panels(size, down, across, 2.0 if alone else 1.4, 0.1, sharex=True, sharey=True)
    for (axes, leftmost, lowest), task in zip(laid_out(lines, len(there.tasks)), there.tasks, strict=False):
        background(axes, task)
        for row in there.rows:
            if (row, task) in curves:
                _line(axes, *curves[row, task], asked.styles[row], every)
        axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
        axes.set_xticklabels(["0", "0.5", "1"])
        axes.tick_params(labelbottom=lowest)
        titled(axes, task, size, (size.width - 0.4) / across)
        if leftmost:
            axes.set_ylabel(labels[1])
        if lowest:
            axes.set_xlabel(labels[0])
    handles = [handle(row, asked.styles[row], asked.size) for row in there.rows]
    return Sheet(figure, f"{caption} {conditions(asked.sections)}", handles)


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, style: Style, every: tuple[float, float] | None) -> None:
    axes.plot(x, y, color=style.color, ls=style.line, marker=style.marker, ms=4, lw=1.3, markevery=every, zorder=3,
              mfc="white" if style.hollow else style.color)  # fmt: skip
