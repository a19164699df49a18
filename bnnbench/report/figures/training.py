"""Training curves: has every method had enough steps?"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnbench.report.figures.calibration import Curves
from bnnbench.report.figures.style import Look, robust_limits

BLOCK = 7  # methods in one panel: one of each colour


def training_figure(
    curves: Curves, column: str, rows: list[str], tasks: list[str], looks: dict[str, Look], title: str, label: str
) -> Figure:
    """Mean over splits; columns are data sets, and each row of panels shows up to seven methods."""
    blocks = [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]
    size = (2.2 + 1.9 * len(tasks), 0.8 + 1.9 * len(blocks))
    figure = Figure(figsize=(max(size[0], 5.0), size[1]), layout="constrained")
    panels = figure.subplots(len(blocks), len(tasks), sharex="col", sharey="col", squeeze=False)
    for j, task in enumerate(tasks):
        drawn = [y for i, block in enumerate(blocks) for y in _panel(panels[i, j], task, block, curves, column, looks)]
        if drawn:
            settled = np.concatenate([y[len(y) // 10 :] for y in drawn])  # the first steps would set the scale
            panels[0, j].set_ylim(*robust_limits(settled))
        panels[0, j].set_title(task, loc="left", fontweight="bold")
    for i, block in enumerate(blocks):
        handles = {line.get_label(): line for axes in panels[i] for line in axes.get_lines()}
        shown = [handles[row] for row in block if row in handles]
        panels[i, -1].legend(handles=shown, loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=2.6)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.supxlabel("step (minibatch gradients of one network)", fontsize=9)
    figure.supylabel(label, fontsize=9)
    return figure


def _panel(
    axes: Axes, task: str, block: list[str], curves: Curves, column: str, looks: dict[str, Look]
) -> list[np.ndarray]:
    drawn = []
    for row in block:
        cells = [c for c in curves.get((row, task), []) if column in c and len(c["step"])]
        if not cells:
            continue
        step, value = mean_curve(cells, column)
        look = looks[row]
        axes.plot(step, value, color=look.color, ls=look.line, lw=1.3, marker=look.marker, ms=4, label=row,
                  markevery=(0.1, 0.25), mfc="white" if look.hollow else look.color)  # fmt: skip
        drawn.append(value[np.isfinite(value)])
    axes.ticklabel_format(axis="x", style="plain")
    axes.locator_params(axis="x", nbins=3)
    return [y for y in drawn if len(y)]


def mean_curve(cells: list[dict[str, np.ndarray]], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over cells at the steps of the longest; a cell counts as far as it got, and holes (NaN) are bridged."""
    step = np.asarray(max((c["step"] for c in cells), key=len), dtype=float)
    values = np.full((len(cells), len(step)), np.nan)
    for i, c in enumerate(cells):
        x, y = np.asarray(c["step"], dtype=float), np.asarray(c[column], dtype=float)
        known = np.isfinite(y)
        if known.any():
            values[i] = np.interp(step, x[known], y[known], left=np.nan, right=np.nan)
    seen = np.isfinite(values).any(axis=0)
    return step[seen], np.nanmean(values[:, seen], axis=0)
