"""Scores and entropies as curves: against the angle of a rotation, the strength of an attack, the share of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from matplotlib.lines import Line2D

from bnnbench.reporting.averages import averages, sweeps
from bnnbench.reporting.figures.families import Panels, panel
from bnnbench.reporting.figures.images import entropy, entropy_curves, rotation
from bnnbench.reporting.figures.paper.asked import Asked, Found, found
from bnnbench.reporting.figures.paper.sheet import Sheet, grid_of, handle, laid_out, panels
from bnnbench.reporting.figures.paper.words import conditions
from bnnbench.reporting.figures.style import GREY
from bnnbench.reporting.statistics import Frame

ATTACKS = {"fgsm": "FGSM", "pgd": "PGD"}
TITLES = {  # above panels
    "entropy_total": "total entropy",
    "entropy_aleatoric": "aleatoric entropy",
    "entropy_epistemic": "epistemic entropy",
}
CAPTIONS = {
    "rotation": "Accuracy and entropies (nats) on test images of {task} rotated by so many degrees, mean over seeds.",
    "attacks": "Error on test images of {task} that are attacked through each method's own gradient, against the "
    "largest change of a pixel: by one step (FGSM) and by many (PGD). A low error is robustness only where gradients "
    "are not masked.",
    "entropy": "Share of images above an entropy, of images of no known class and, grey, of the test images of {task}.",
}


def find_rotation(asked: Asked) -> Found:
    """Curves by row and data set."""
    return _swept(asked, rotation)


def find_attacks(asked: Asked) -> Found:
    """The same of the error under attacks."""
    return _swept(asked, attacks)


def find_entropy(asked: Asked) -> Found:
    """Of images of no known class, where the database has them."""
    curves = {}
    for section in asked.sections:
        for name, own in entropy_curves(asked.selection, section).items():
            curves.setdefault(name, {}).update(own)
    tasks = dict.fromkeys(task for section in asked.sections for task in section.tasks)
    return _by_row(asked, {task: entropy(task, curves) for task in tasks if curves})


def attacks(task: str, own: Frame) -> Panels | None:
    """Error against the largest change of a pixel, by kind of attack."""
    kinds = {kind: sweeps(own, kind, ["error"]) for kind in ATTACKS}
    lines = {(row, kind): line for kind, found in kinds.items() for (row, _), line in found.items()}
    return Panels("", "change of a pixel", ATTACKS, lines) if lines else None


def _swept(asked: Asked, of: Callable[[str, Frame], Panels | None]) -> Found:
    return _by_row(
        asked, {task: of(task, averages(section, task)) for section in asked.sections for task in section.tasks}
    )


def _by_row(asked: Asked, plots: dict[str, Panels | None]) -> Found:
    data = {(row, task): plot for task, plot in plots.items() if plot for row, _ in plot.lines}
    return found(asked, data)


def draw_rotation(asked: Asked, there: Found) -> Sheet:
    """Accuracy and the three entropies."""
    plot = _plot(there)
    titles = {key: TITLES.get(key, words) for key, words in plot.quantities.items()}
    return _draw(asked, there, replace(plot, quantities=titles, xticks=(0, 90, 180)), "rotation")


def draw_attacks(asked: Asked, there: Found) -> Sheet:
    """One panel an attack."""
    return _draw(asked, there, _plot(there), "attacks", "error")


def draw_entropy(asked: Asked, there: Found) -> Sheet:
    """Two panels a set of images."""
    plot = _plot(there)
    titles = {key: ", ".join(key.rsplit(" ", 1)) for key in plot.quantities}
    return _draw(asked, there, replace(plot, quantities=titles, xlabel="entropy (nats)"), "entropy", "share above")


def _plot(there: Found) -> Panels:
    return next(iter(there.data.values()))


def _draw(asked: Asked, there: Found, plot: Panels, caption: str, ylabel: str = "") -> Sheet:
    """A panel a quantity, all methods in each; panels of one label share their y axes."""
    keys = [key for key in plot.quantities if any(k == key for _, k in plot.lines)]
    down, across = grid_of(asked.size, len(keys))
    figure, lines = panels(asked.size, down, across, 1.35, 0.1, sharex=True, sharey=bool(ylabel))
    rows = list(there.rows)
    for (axes, leftmost, lowest), key in zip(laid_out(lines, len(keys)), keys, strict=False):
        panel(axes, key, rows, plot, asked.styles)
        axes.set_ylim(*plot.ylim)
        axes.set_title(plot.quantities[key], loc="left")
        axes.tick_params(labelbottom=lowest, labelleft=leftmost or not ylabel)
        if leftmost:
            axes.set_ylabel(ylabel)
        if lowest:
            axes.set_xlabel(plot.xlabel)
        if len(plot.xticks):
            axes.set_xticks(plot.xticks)
    handles = [handle(row, asked.styles[row], asked.size) for row in rows]
    if plot.behind:
        handles.append(Line2D([], [], color=GREY, lw=0.7, label="test images"))
    text = f"{CAPTIONS[caption].format(task=there.tasks[0])} {conditions(asked.sections)}"
    return Sheet(figure, text, handles)
