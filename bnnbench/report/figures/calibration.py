"""Calibration at a glance: a matrix of small panels, methods down and data sets across."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnbench.report.figures.style import GREY, Look, grid

Curves = dict[tuple[str, str], list[dict[str, np.ndarray]]]  # (row, task) -> one series a cell
LABEL = {"fc": "white", "alpha": 0.7, "lw": 0, "pad": 0.8}
KOLMOGOROV = 1.358  # 95 % quantile of sqrt(n) times the largest distance of an ECDF of n points from the truth


@dataclass(frozen=True)
class Frame:
    """What the panels of a figure share."""

    title: str
    note: str
    xlabel: str
    ylabel: str
    ylim: tuple[float, float]
    height: float  # inches; the width is that of two panels in three inches


def pit_figure(
    curves: Curves, rows: list[str], tasks: list[str], looks: dict[str, Look], points: dict[str, float]
) -> Figure:
    """How far the ECDF of the probability integral transform, mean over splits, is from the uniform one.

    Args:
        points: number of different test rows of a data set, for the band in which a calibrated method stays.
    """
    deviations = {key: _deviation(cells) for key, cells in curves.items()}
    largest = [float(np.abs(d).max()) for _, d in deviations.values()]
    reach = float(np.clip(1.1 * np.quantile(largest, 0.9), 0.08, 0.5))  # a few broken methods may leave their panel

    def panel(axes: Axes, row: str, task: str) -> None:
        level, deviation = deviations[row, task]
        band = KOLMOGOROV / np.sqrt(points[task])
        axes.axhspan(-band, band, color="#e6e6e6", lw=0, zorder=0)
        axes.axhline(0, color=GREY, lw=0.8, zorder=2)
        axes.fill_between(level, 0, deviation, color=looks[row].color, alpha=0.35, lw=0, zorder=3)
        axes.plot(level, deviation, color=looks[row].color, lw=1.4, zorder=4)
        _value(axes, float(np.mean(np.abs(deviation))))

    note = (
        "Up, then down: predictive too narrow. Down, then up: too wide. Above zero all along: predictions too high; "
        "below: too low. Grey: where a calibrated method stays with probability 95 %. Number: mean distance from zero."
    )
    title = "Are predicted probabilities right? PIT curves, mean over splits"
    frame = Frame(title, note, "Predicted probability", "observed − predicted", (-reach, reach), 1.0)
    return _matrix(curves, rows, tasks, looks, panel, frame)


def _deviation(cells: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    level = np.asarray(cells[0]["level"], dtype=float)
    return level, np.mean([np.interp(level, c["level"], c["ecdf"]) for c in cells], axis=0) - level


def reliability_figure(curves: Curves, rows: list[str], tasks: list[str], looks: dict[str, Look]) -> Figure:
    """Accuracy against confidence in bins pooled over splits, with the share of predictions in each bin."""

    def panel(axes: Axes, row: str, task: str) -> None:
        cells = curves[row, task]
        lower = np.asarray(cells[0]["lower"], dtype=float)
        width = float(np.diff([*lower, 1.0]).min())
        count, confidence, accuracy = pool_bins(cells)
        seen = count > 0
        share = count / max(count.sum(), 1)
        axes.bar(lower, share, width=width, align="edge", color="#dddddd", lw=0, zorder=1)
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, zorder=2)
        axes.plot(confidence[seen], accuracy[seen], color=looks[row].color, lw=1.2, marker="o", ms=3.5, zorder=3)
        _value(axes, float(np.sum(share[seen] * np.abs(accuracy - confidence)[seen])))

    note = (
        "Points below the diagonal: overconfident; above: underconfident. Grey bars: share of the predictions. "
        "Number: distance from the diagonal, weighted by the bars."
    )
    title = "Is confidence accuracy? Reliability, bins pooled over splits"
    return _matrix(curves, rows, tasks, looks, panel, Frame(title, note, "Confidence", "accuracy", (0, 1), 1.5))


def pool_bins(cells: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean confidence and accuracy of each bin over all cells; empty bins are NaN."""
    counts = np.array([c["count"] for c in cells], dtype=float)
    total = counts.sum(axis=0)
    sums = [np.nansum(counts * np.array([c[k] for c in cells], float), axis=0) for k in ("confidence", "accuracy")]
    safe = np.where(total > 0, total, np.nan)
    return total, sums[0] / safe, sums[1] / safe


def _value(axes: Axes, value: float) -> None:
    axes.text(
        0.04,
        0.97,
        f"{value:.3f}",
        va="top",
        fontsize=7.5,
        transform=axes.transAxes,
        color="#333333",
        zorder=5,
        bbox=LABEL,
    )


def _matrix(
    curves: Curves,
    rows: list[str],
    tasks: list[str],
    looks: dict[str, Look],
    panel: Callable[[Axes, str, str], None],
    frame: Frame,
) -> Figure:
    """Methods down, data sets across; a single data set is laid out as a grid of methods."""
    single = len(tasks) == 1
    shape = grid(len(rows), 4) if single else (len(rows), len(tasks))
    height = frame.height * (1.0 if single or len(rows) <= 12 else 0.75)  # a page should not be all scrolling
    size = (max(6.8, 1.5 + 1.5 * shape[1]), 1.3 + (height + 0.25 * single) * shape[0])
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(*shape, squeeze=False)  # not shared: of many shared axes each update visits all
    places = [(row, task) for row in rows for task in tasks]
    for i, (axes, (row, task)) in enumerate(zip(panels.flat, places, strict=False)):
        axes.set(xlim=(0, 1), ylim=frame.ylim, xticks=(0, 0.5, 1))
        axes.set_xticklabels(["0", "0.5", "1"])
        axes.tick_params(labelleft=i % shape[1] == 0, labelbottom=i >= len(places) - shape[1])
        if (row, task) in curves:
            panel(axes, row, task)
        else:
            axes.text(0.5, 0.5, "no result", ha="center", va="center", fontsize=8, color=GREY, transform=axes.transAxes)
        if single:
            axes.set_title(row, color=looks[row].color, fontweight="bold")
    for axes in panels.flat[len(places) :]:
        axes.set_axis_off()
    if not single:
        for axes, task in zip(panels[0], tasks, strict=True):
            axes.set_title(task, fontweight="bold")
        for axes, row in zip(panels[:, 0], rows, strict=True):
            axes.set_ylabel(row, rotation=0, ha="right", va="center", color=looks[row].color, fontweight="bold")
    where = f" ({tasks[0]})" if single else ""
    figure.suptitle(f"{frame.title}{where}", x=0.01, ha="left", fontsize=11)
    note = textwrap.fill(f"{frame.xlabel} (x), {frame.ylabel} (y). {frame.note}", int(14.5 * size[0]))
    figure.supxlabel(note, fontsize=8.5, x=0.01, ha="left")
    return figure
