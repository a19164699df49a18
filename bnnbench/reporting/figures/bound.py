"""How far the evidence lower bound of variational methods still rises, over gradients, data set by data set."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bnnbench.reporting.figures.elbo import tempered
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import Style
from bnnbench.reporting.figures.training import Quantity, training_figure
from bnnbench.reporting.gather import gather, gather_longer, shown
from bnnbench.reporting.select import Section, Selection

BOUND = Quantity(
    "loss",
    "−ELBO (nats per row)",
    "How far does the ELBO still rise? Minus the bound, mean over splits",
    unset=0.5,  # while the weight of the KL rises, the bound is not what training looks at
    log=True,
)
TEXT = (
    "A step is one gradient. Each method has a bound of its own: those with other priors or with auxiliary variables "
    "compare with themselves alone."
)
LONGER = " Thin: a training of four times the gradients (budget `long`)."


def bound_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """One figure, where a method stored a bound and its KL; a tempered objective is none."""
    no_bound = tempered(section)
    curves = gather(selection, section, "training", None, "kl")
    bounds = {key: cells for key, cells in curves.items() if key[0] not in no_bound}
    if bounds:
        rows, tasks = shown(section, bounds)
        longer = {key: cells for key, cells in gather_longer(selection, section, "training").items() if key in bounds}
        alt = f"Minus the ELBO against gradients of {len(rows)} variational methods on {', '.join(tasks)}."
        draw = partial(training_figure, BOUND, bounds, rows, tasks, styles, longer)
        yield Plot("training-bound", alt, TEXT + LONGER * bool(longer), draw)
