"""Validation curves: has every method had enough steps?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import Style, grid, robust_limits
from bnnbench.reporting.figures.text import headline, label, panel_title
from bnnbench.reporting.gather import Curves, gather, shown
from bnnbench.reporting.select import Section, Selection

COLUMN = "validation"
BLOCK = 7  # methods in one panel: more lines cannot be followed
TEXT = "A curve that falls at the end has overfitted; one that rises would gain from more steps."
BOUND = (
    " Of an autoencoder it is the importance-weighted bound with 10 draws, which lies between the two bounds of the "
    "tables."
)
TITLE = "Is it still improving? Log-likelihood on the validation rows, mean over splits"


def training_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """One figure, where validation curves were stored."""
    if curves := gather(selection, section, "training", None, COLUMN):
        rows, tasks = shown(section, curves)
        alt = f"Validation log-likelihood against training step of {len(rows)} methods on {', '.join(tasks)}."
        text = TEXT + BOUND * ("iw_log_likelihood" in section.metrics)
        yield Plot("training-validation", alt, text, partial(training_figure, curves, rows, tasks, styles))


def training_figure(curves: Curves, rows: list[str], tasks: list[str], styles: dict[str, Style]) -> Figure:
    """Mean over splits, one panel a data set; more than seven methods go on, seven at a time, in panels below.

    Methods of many more steps have panels of their own.
    """
    blocks = [block for part in by_length(rows, curves) for block in blocked(part)]
    down, across = grid(len(tasks), 3)
    figure = Figure(figsize=(max(6.8, 2.4 + 2.6 * across), 0.7 + 1.9 * down * len(blocks)), layout="constrained")
    panels = figure.subplots(down * len(blocks), across, squeeze=False).reshape(len(blocks), down, across)
    for axes in panels.flat:
        axes.set_axis_off()
    for j, task in enumerate(tasks):
        own = [panels[i].flat[j] for i in range(len(blocks))]
        plotted = [
            y for axes, block in zip(own, blocks, strict=True) for y in _panel(axes, task, block, curves, styles)
        ]
        for axes in own:
            if not axes.get_lines():
                continue  # none of these methods has run it
            axes.set_axis_on()
            panel_title(axes, task, 2.4)
            axes.set_xlabel("step")
            if plotted:  # the first steps would set the scale
                axes.set_ylim(*robust_limits(np.concatenate([y[len(y) // 4 :] for y in plotted])))
    for part in panels:
        handles = {line.get_label(): line for axes in part.flat for line in axes.get_lines()}
        part[0, -1].legend(
            handles=list(handles.values()), loc="upper left", bbox_to_anchor=(1.02, 1.0), handlelength=2.6
        )
        for line in part:
            if shown := [axes for axes in line if axes.axison]:
                shown[0].set_ylabel("nats per point")
    headline(figure, TITLE)
    return figure


def blocked(rows: list[str]) -> list[list[str]]:
    """At most seven rows each, in as few and as equal blocks as can be."""
    count = -(-len(rows) // BLOCK)
    return [part.tolist() for part in np.array_split(np.array(rows, dtype=object), count)]


def by_length(rows: list[str], curves: Curves) -> list[list[str]]:
    """The rows, then those of more than four times the median number of steps, beside which no other could be read."""
    last = dict.fromkeys(rows, 0.0)
    for (row, _), cells in curves.items():
        last[row] = max([last[row], *(max(c["step"], default=0.0) for c in cells)])
    bound = 4 * np.median(list(last.values()))
    parts = [[row for row in rows if last[row] <= bound], [row for row in rows if last[row] > bound]]
    return [part for part in parts if part]


def _panel(axes: Axes, task: str, block: list[str], curves: Curves, styles: dict[str, Style]) -> list[np.ndarray]:
    plotted = []
    for row in block:
        cells = curves.get((row, task), [])
        if not cells:
            continue
        step, value = mean_curve(cells, COLUMN)
        style = styles[row]
        axes.plot(step, value, color=style.color, ls=style.line, lw=1.3, marker=style.marker, ms=4, label=label(row),
                  markevery=(0.1, 0.25), mfc="white" if style.hollow else style.color)  # fmt: skip
        plotted.append(value[np.isfinite(value)])
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.locator_params(axis="x", nbins=4)
    return [y for y in plotted if len(y)]


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
