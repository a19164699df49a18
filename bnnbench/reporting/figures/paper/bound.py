"""Minus the evidence lower bound against gradients, one panel a data set."""

from __future__ import annotations

import numpy as np

from bnnbench.reporting.figures.bound import BOUND
from bnnbench.reporting.figures.elbo import tempered
from bnnbench.reporting.figures.paper.asked import Asked, Found, found
from bnnbench.reporting.figures.paper.sheet import Sheet, grid_of, handle, laid_out, panels, titled
from bnnbench.reporting.figures.paper.words import conditions
from bnnbench.reporting.figures.style import robust_limits
from bnnbench.reporting.figures.training import panel, thin
from bnnbench.reporting.gather import gather_longer

SHOWN = 0.04  # of training: before it the bound is far above all that is compared


def find(asked: Asked) -> Found:
    """Curves of objectives that are a bound: not of tempered ones."""
    moved = {row for section in asked.sections for row in tempered(section)}
    curves = asked.gathered("training", None, "kl")
    return found(asked, {key: cells for key, cells in curves.items() if key[0] not in moved})


def draw(asked: Asked, there: Found) -> Sheet:
    """Longer trainings of the same methods are thin."""
    size, rows = asked.size, list(there.rows)
    longer = asked.joined(lambda selection, section: gather_longer(selection, section, "training"))
    down, across = grid_of(size, len(there.tasks), min(size.across, 3))
    figure, lines = panels(size, down, across, 1.9 if len(there.tasks) == 1 else 1.4, 0.1)
    for (axes, leftmost, lowest), task in zip(laid_out(lines, len(there.tasks)), there.tasks, strict=False):
        plotted = panel(axes, BOUND, task, rows, there.data, asked.styles)
        thin(axes, BOUND, task, rows, longer, asked.styles)
        if plotted:
            axes.set_ylim(*robust_limits(np.concatenate([y[int(BOUND.unset * len(y)) :] for y in plotted])))
            last = max(float(np.max(line.get_xdata())) for line in axes.get_lines())
            axes.set_xlim(SHOWN * last, 1.05 * last)
        titled(axes, task, size, (size.width - 0.4) / across)
        if leftmost:
            axes.set_ylabel("−ELBO (nats per row)")
        if lowest:
            axes.set_xlabel("gradients")
    text = "Minus the evidence lower bound along training, mean over splits."
    text += " Thin: a training of four times the gradients." * any(key in there.data for key in longer)
    handles = [handle(row, asked.styles[row], size) for row in rows]
    return Sheet(figure, f"{text} {conditions(asked.sections)}", handles)
