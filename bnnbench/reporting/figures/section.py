"""All figures of one section, with the words that stand for them where they cannot be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from bnnbench.reporting.fidelity import Fidelity
from bnnbench.reporting.figures import style
from bnnbench.reporting.figures.bound import bound_figures
from bnnbench.reporting.figures.calibration import calibration_figures
from bnnbench.reporting.figures.fidelity import fidelity_figure
from bnnbench.reporting.figures.flows import flow_figures
from bnnbench.reporting.figures.images import image_figures
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.pruning import pruning_figures
from bnnbench.reporting.figures.scores import score_figures
from bnnbench.reporting.figures.toy import toy_figures
from bnnbench.reporting.figures.training import training_figures
from bnnbench.reporting.figures.vae import vae_figures
from bnnbench.reporting.figures.weights import weights_figures
from bnnbench.reporting.output import file_stem
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.fidelity import ranked_over

FIGURES = (  # each yields what a section has data for, in the order of the page
    toy_figures,
    score_figures,
    calibration_figures,
    pruning_figures,
    weights_figures,
    training_figures,
    bound_figures,
    image_figures,
    flow_figures,
    vae_figures,
)


def plots_of(selection: Selection, section: Section) -> Iterator[Plot]:
    """Figures of a section in the order of the page."""
    if section.competing != section.rows:
        section = section.part(section.competing, section.tasks)
    known = style.styles(selection.methods, section.rows)
    for figures in FIGURES:
        for plot in figures(selection, section, known):
            yield replace(plot, name=file_stem(f"{section.name}-{plot.name}"))


def fidelity_plot(selection: Selection, found: Fidelity) -> Plot:
    """The one figure that spans sections."""
    alt = f"Distance from HMC and direction of the miss of {len(found.rows)} methods on {', '.join(found.columns)}."
    known = style.styles(selection.methods, found.rows)
    return Plot("fidelity", alt, ranked_over(found.ranking()), partial(fidelity_figure, found, known))
