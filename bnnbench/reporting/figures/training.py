"""Training curves: has every method had enough steps?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
from bnnbench.reporting.series import mean_curve

THIN = 0.6  # line of a longer training beside its row
BLOCK = 7  # methods in one panel: more lines cannot be followed


@dataclass(frozen=True)
class Quantity:
    """A stored column of training, its unit, and the question that a figure of it asks.

    Attributes:
        unset: share of the first steps that does not set the scale.
        log: steps on a logarithmic axis, on which a training of four times the length is seen beside the others.
    """

    column: str
    unit: str
    title: str
    unset: float = 0.25
    log: bool = False


VALIDATION = Quantity(
    "validation", "nats per point", "Is it still improving? Log-likelihood on the validation rows, mean over splits"
)
TEXT = "A curve that falls at the end has overfitted; one that rises would gain from more steps."
AUTOENCODERS = (
    " Of an autoencoder it is the importance-weighted bound with 10 draws, which lies between the two bounds of the "
    "tables."
)


def training_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """One figure, where validation curves were stored."""
    if curves := gather(selection, section, "training", None, VALIDATION.column):
        rows, tasks = shown(section, curves)
        alt = f"Validation log-likelihood against training step of {len(rows)} methods on {', '.join(tasks)}."
        text = TEXT + AUTOENCODERS * ("iw_log_likelihood" in section.metrics)
        yield Plot("training-validation", alt, text, partial(training_figure, VALIDATION, curves, rows, tasks, styles))


def training_figure(
    quantity: Quantity,
    curves: Curves,
    rows: list[str],
    tasks: list[str],
    styles: dict[str, Style],
    longer: Curves | None = None,
) -> Figure:
    """Mean over splits, one panel a data set; more than seven methods go on, seven at a time, in panels below.

    Methods of many more steps have panels of their own; longer trainings of the same rows are thin.
    """
    blocks = [block for part in by_length(rows, curves) for block in blocked(part)]
    down, across = grid(len(tasks), 3)
    figure = Figure(figsize=(max(6.8, 2.4 + 2.6 * across), 0.7 + 1.9 * down * len(blocks)), layout="constrained")
    panels = figure.subplots(down * len(blocks), across, squeeze=False).reshape(len(blocks), down, across)
    for axes in panels.flat:
        axes.set_axis_off()
    for j, task in enumerate(tasks):
        own = [panels[i].flat[j] for i in range(len(blocks))]
        plotted = []
        for axes, block in zip(own, blocks, strict=True):
            plotted += panel(axes, quantity, task, block, curves, styles)
            thin(axes, quantity, task, block, longer or {}, styles)
        for axes in own:
            if not axes.get_lines():
                continue  # none of these methods has run it
            axes.set_axis_on()
            panel_title(axes, task, 2.4)
            axes.set_xlabel("step")
            if plotted:
                axes.set_ylim(*robust_limits(np.concatenate([y[int(quantity.unset * len(y)) :] for y in plotted])))
    for part in panels:
        handles = {line.get_label(): line for axes in part.flat for line in axes.get_lines()}
        part[0, -1].legend(
            handles=list(handles.values()), loc="upper left", bbox_to_anchor=(1.02, 1.0), handlelength=2.6
        )
        for line in part:
            if shown := [axes for axes in line if axes.axison]:
                shown[0].set_ylabel(quantity.unit)
    headline(figure, quantity.title)
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


def panel(
    axes: Axes, quantity: Quantity, task: str, block: list[str], curves: Curves, styles: dict[str, Style]
) -> list[np.ndarray]:
    """One data set; returns the values plotted."""
    plotted = []
    for row in block:
        cells = curves.get((row, task), [])
        if not cells:
            continue
        step, value = mean_curve(cells, quantity.column)
        style = styles[row]
        axes.plot(step, value, color=style.color, ls=style.line, lw=1.3, marker=style.marker, ms=4, label=label(row),
                  markevery=(0.1, 0.25), mfc="white" if style.hollow else style.color)  # fmt: skip
        plotted.append(value[np.isfinite(value)])
    if quantity.log:
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    return [y for y in plotted if len(y)]


def thin(axes: Axes, quantity: Quantity, task: str, block: list[str], longer: Curves, styles: dict[str, Style]) -> None:
    """Longer trainings of the same rows."""
    for row in block:
        if cells := longer.get((row, task)):
            step, value = mean_curve(cells, quantity.column)
            axes.plot(step, value, color=styles[row].color, ls=styles[row].line, lw=THIN, label="_")
