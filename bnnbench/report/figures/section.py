"""All figures of one section, with the words that stand for them where they cannot be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from bnnbench.report.fidelity import Fidelity
from bnnbench.report.figures import style
from bnnbench.report.figures.calibration import pit_figure, reliability_figure
from bnnbench.report.figures.density import TEXTS as DENSITY_TEXTS
from bnnbench.report.figures.density import density_figures
from bnnbench.report.figures.drawn import Drawn
from bnnbench.report.figures.fidelity import fidelity_figure
from bnnbench.report.figures.gather import gather, shown
from bnnbench.report.figures.images import TEXTS as IMAGE_TEXTS
from bnnbench.report.figures.images import image_figures
from bnnbench.report.figures.pruning import pruned, pruning_figure
from bnnbench.report.figures.scores import score_figure
from bnnbench.report.figures.toy import Picture, exact_picture, toy_figure
from bnnbench.report.figures.training import training_figure
from bnnbench.report.figures.weights import weights_figure
from bnnbench.report.images import GROUPS
from bnnbench.report.points import compared
from bnnbench.report.select import Section, Selection
from bnnbench.report.statistics import Comparison, comparison, size_ratio
from bnnbench.report.tables import words

SCORE_FIGURES = {
    "log_likelihood": "How probable are the test targets? Log-likelihood",
    "rmse": "How far off is the mean? Root mean squared error",
    "error": "How often is the class wrong? Error",
}
# By group of tasks: its own figures, and what to see in those that all have.
OWN = dict.fromkeys(GROUPS, (image_figures, IMAGE_TEXTS)) | {"density": (density_figures, DENSITY_TEXTS)}


@dataclass(frozen=True)
class Picked:
    """A figure ready to be written: file stem, text alternative, extension -> bytes, and what to see in it."""

    name: str
    alt: str
    files: dict[str, bytes]
    text: str = ""


def draw(selection: Selection, section: Section) -> Iterator[Picked]:
    """Figures in the order of the page: those that all sections have, then the group's own."""
    looks = style.looks(selection.methods, section.rows)
    own, texts = OWN.get(section.group, (None, {}))
    with style.drawing():
        for name, alt, figure in _figures(selection, section, looks):
            yield _picked(section, Drawn(name, alt, texts.get(name, ""), figure))
        for drawn in own(selection, section, looks) if own else ():
            yield _picked(section, drawn)


def _picked(section: Section, drawn: Drawn) -> Picked:
    return Picked(f"{section.name}-{drawn.name}", drawn.alt, style.render(drawn.figure), drawn.text)


def draw_fidelity(found: Fidelity) -> Picked:
    """The one figure that spans sections."""
    alt = f"Distance from HMC and direction of the miss of {len(found.rows)} methods on {', '.join(found.columns)}."
    with style.drawing():
        return Picked("fidelity", alt, style.render(fidelity_figure(found)))


def _figures(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[tuple[str, str, Figure]]:
    if section.group == "toy":
        yield from _toys(selection, section, looks)
    yield from _scores(selection, section, looks)
    yield from _calibration(selection, section, looks)
    yield from _pruning(section, looks)
    yield from _weights(selection, section, looks)
    yield from _training(selection, section, looks)


def _scores(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[tuple[str, str, Figure]]:
    for metric in SCORE_FIGURES:
        if metric not in section.metrics:
            continue
        better, unit, _ = selection.metric(metric)
        options = {"better": better, "rows": list(section.rows), "tasks": list(section.tasks)}
        test = compared(selection, section, metric)
        train = comparison(section.scores, metric, "train", **options)
        label = f"{words(metric)} ({unit})" if unit else words(metric)
        alt = _leaders(test, words(metric))
        yield metric.replace("_", "-"), alt, score_figure(test, train, looks, SCORE_FIGURES[metric], label)


def _leaders(table: Comparison, name: str) -> str:
    """The best methods of each data set in words."""
    best = []
    for task in table.tasks:
        names = [row for row in table.rows if (e := table.entries.get((row, task))) and e.best]
        best.append(f"{task}: {', '.join(names) if len(names) <= 4 else f'{len(names)} methods tie'}" if names else "")
    told = "; ".join(filter(None, best))
    return f"Test {name} of {len(table.rows)} methods per data set with error bars. Best or tied: {told or 'none'}."


def _toys(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[tuple[str, str, Figure]]:
    bands = gather(selection, section, "bands", "grid")
    data = gather(selection, section, "data", "train")
    answers = gather(selection, section, "exact", "grid")
    for task in section.tasks:
        own = {row: Picture(bands[row, task][0], (data.get((row, task)) or [None])[0])
               for row in section.rows if (row, task) in bands}  # fmt: skip
        if own:
            answer = next((answers[row, task][0] for row in section.rows if (row, task) in answers), None)
            exact = exact_picture(answer, next(iter(own.values())).data) if answer else None
            which = " (first seed)" if any(len(bands[row, task]) > 1 for row in own) else ""
            known = "data and truth" if any("truth" in p.bands for p in own.values()) else "data"
            alt = f"Predictive mean, noise band and total band of {len(own)} methods on {task}, with {known}."
            yield task, alt + " First the exact posterior." * bool(exact), toy_figure(task, own, looks, which, exact)


def _calibration(
    selection: Selection, section: Section, looks: dict[str, style.Look]
) -> Iterator[tuple[str, str, Figure]]:
    if curves := gather(selection, section, "pit_ecdf", "test"):
        rows, tasks = shown(section, curves)
        alt = f"PIT calibration curves of {len(rows)} methods on {', '.join(tasks)}; a flat line is calibrated."
        points = {task: test_points(section, task) for task in tasks}
        yield "calibration", alt, pit_figure(curves, rows, tasks, looks, points)
    if curves := gather(selection, section, "reliability", "test"):
        rows, tasks = shown(section, curves)
        alt = f"Reliability diagrams of {len(rows)} methods on {', '.join(tasks)}; the diagonal is calibrated."
        yield "reliability", alt, reliability_figure(curves, rows, tasks, looks)


def test_points(section: Section, task: str) -> float:
    """Number of different test rows behind an average over splits: splits beyond n/n_test repeat rows."""
    own = section.scores[section.scores["task"] == task]
    ratio = size_ratio(own, section.rule)
    each = own.loc[own["evaluation"] == "test", "n"].mean()
    return float(each) * min(own["split"].nunique(), (1 + ratio) / ratio)


def _pruning(section: Section, looks: dict[str, style.Look]) -> Iterator[tuple[str, str, Figure]]:
    for metric in SCORE_FIGURES:
        if lines := pruned(section, metric):
            rows, tasks = shown(section, lines)
            alt = f"{words(metric)} against the share of weights removed of {len(rows)} methods on {', '.join(tasks)}."
            stem = f"pruning-{metric.replace('_', '-')}"
            yield stem, alt[0].upper() + alt[1:], pruning_figure(lines, metric, rows, tasks, looks)


def _weights(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[tuple[str, str, Figure]]:
    if curves := gather(selection, section, "weights", "test"):
        rows, tasks = shown(section, curves)
        alt = f"Histograms of all weights of {len(rows)} methods on {', '.join(tasks)}, in units of the prior's scale."
        yield "weights", alt, weights_figure(curves, rows, tasks, looks)


def _training(
    selection: Selection, section: Section, looks: dict[str, style.Look]
) -> Iterator[tuple[str, str, Figure]]:
    curves = gather(selection, section, "training", None)
    for column, title, label in (
        ("loss", "Has training settled? Loss (each method's own objective), mean over splits", "loss per row"),
        (
            "validation",
            "Is it still improving? Log-likelihood on the validation rows, mean over splits",
            "nats per point",
        ),
    ):
        own = {k: [s for s in cells if column in s and np.isfinite(s[column]).any()] for k, cells in curves.items()}
        own = {k: cells for k, cells in own.items() if cells}
        if own:
            rows, tasks = shown(section, own)
            log = section.group in GROUPS and column == "loss"  # a bound holds the whole prior of so many weights
            alt = f"{column.capitalize()} against training step of {len(rows)} methods on {', '.join(tasks)}."
            yield f"training-{column}", alt, training_figure(own, column, rows, tasks, looks, title, label, log)
