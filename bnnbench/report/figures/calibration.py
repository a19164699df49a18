"""Calibration at a glance: a matrix of small squares, methods down and data sets across."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnbench.report.figures.style import GREY, Look

Curves = dict[tuple[str, str], list[dict[str, np.ndarray]]]  # (row, task) -> one series a cell
SIDE = 1.12  # inches


def pit_figure(curves: Curves, rows: list[str], tasks: list[str], looks: dict[str, Look]) -> Figure:
    """ECDF of the probability integral transform, mean over splits; the diagonal is a calibrated predictive."""

    def panel(axes: Axes, cells: list[dict[str, np.ndarray]], look: Look) -> None:
        level = np.asarray(cells[0]["level"], dtype=float)
        ecdf = np.mean([np.interp(level, c["level"], c["ecdf"]) for c in cells], axis=0)
        axes.fill_between(level, level, ecdf, color=look.color, alpha=0.35, lw=0)
        axes.plot(level, ecdf, color=look.color, lw=1.6)
        _value(axes, float(np.mean(np.abs(ecdf - level))))

    title = "Are predicted probabilities right? PIT calibration curves, mean over splits"
    note = (
        "S-shape around the diagonal, steep in the middle: predictive too wide; flat in the middle: too narrow; "
        "curve above (below) the diagonal: predictions too high (low).\n"
        "Number: mean distance of this curve from the diagonal."
    )
    return _matrix(curves, rows, tasks, looks, panel, title, note, ("predicted probability", "observed share"))


def reliability_figure(curves: Curves, rows: list[str], tasks: list[str], looks: dict[str, Look]) -> Figure:
    """Accuracy against confidence in bins pooled over splits, with the share of predictions in each bin."""

    def panel(axes: Axes, cells: list[dict[str, np.ndarray]], look: Look) -> None:
        lower = np.asarray(cells[0]["lower"], dtype=float)
        width = float(np.diff([*lower, 1.0]).min())
        count, confidence, accuracy = pool_bins(cells)
        seen = count > 0
        share = count / max(count.sum(), 1)
        axes.bar(lower, share, width=width, align="edge", color="#dddddd", lw=0, zorder=1)
        axes.plot(confidence[seen], accuracy[seen], color=look.color, lw=1.2, marker=look.marker, ms=3.2, zorder=3)
        _value(axes, float(np.sum(share[seen] * np.abs(accuracy - confidence)[seen])))

    title = "Is confidence accuracy? Reliability diagrams, bins pooled over splits"
    note = (
        "Points below the diagonal: overconfident. Grey bars: share of predictions in the bin.\n"
        "Number: mean distance from the diagonal, weighted by the bars."
    )
    return _matrix(curves, rows, tasks, looks, panel, title, note, ("confidence", "accuracy"))


def pool_bins(cells: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean confidence and accuracy of each bin over all cells; empty bins are NaN."""
    counts = np.array([c["count"] for c in cells], dtype=float)
    total = counts.sum(axis=0)
    sums = [
        np.nansum(counts * np.array([c[k] for c in cells], dtype=float), axis=0) for k in ("confidence", "accuracy")
    ]
    safe = np.where(total > 0, total, np.nan)
    return total, sums[0] / safe, sums[1] / safe


def _value(axes: Axes, value: float) -> None:
    axes.text(
        0.96, 0.05, f"{value:.3f}", ha="right", va="bottom", fontsize=7, transform=axes.transAxes, color="#333333"
    )


def _matrix(
    curves: Curves,
    rows: list[str],
    tasks: list[str],
    looks: dict[str, Look],
    panel: Callable[[Axes, list[dict[str, np.ndarray]], Look], None],
    title: str,
    note: str,
    labels: tuple[str, str],
) -> Figure:
    """Squares with a diagonal; rows are labelled at the left in the method's colour, columns on top."""
    size = (1.7 + SIDE * len(tasks), 1.0 + SIDE * len(rows))
    figure = Figure(figsize=(max(size[0], 5.2), size[1]), layout="constrained")
    panels = figure.subplots(len(rows), len(tasks), sharex=True, sharey=True, squeeze=False)
    for i, row in enumerate(rows):
        for j, task in enumerate(tasks):
            axes = panels[i, j]
            axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), box_aspect=1)
            axes.set_xticklabels(["0", "½", "1"])
            axes.set_yticklabels(["0", "½", "1"])
            if cells := curves.get((row, task)):
                axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, zorder=2)
                panel(axes, cells, looks[row])
            else:
                axes.text(0.5, 0.5, "no result", ha="center", va="center", fontsize=7.5, color=GREY)
            if i == 0:
                axes.set_title(task, fontweight="bold")
        panels[i, 0].set_ylabel(row, rotation=0, ha="right", va="center", color=looks[row].color, fontweight="bold")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.supxlabel(f"{labels[0]} (x), {labels[1]} (y)\n{note}", fontsize=8, x=0.01, ha="left")
    return figure
