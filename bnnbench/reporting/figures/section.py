"""All figures of one section, with the words that stand for them where they cannot be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bnnbench.reporting.fidelity import Fidelity
from bnnbench.reporting.figures import style
from bnnbench.reporting.figures.calibration import SHEETS, Curves, pit_figure, reliability_figure
from bnnbench.reporting.figures.density_section import TEXTS as DENSITY_TEXTS
from bnnbench.reporting.figures.density_section import density_figures
from bnnbench.reporting.figures.drawn import Drawn
from bnnbench.reporting.figures.fidelity import fidelity_figure
from bnnbench.reporting.figures.gather import gather, shown
from bnnbench.reporting.figures.images import TEXTS as IMAGE_TEXTS
from bnnbench.reporting.figures.images import image_figures
from bnnbench.reporting.figures.pruning import pruned, pruning_figure
from bnnbench.reporting.figures.scores import score_figure
from bnnbench.reporting.figures.toy import Picture, exact_picture, toy_figure
from bnnbench.reporting.figures.training import COLUMN, training_figure
from bnnbench.reporting.figures.weights import weights_figure
from bnnbench.reporting.images import GROUPS
from bnnbench.reporting.output import file_stem
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Comparison, comparison, size_ratio
from bnnbench.reporting.tables.fidelity import ranked_over
from bnnbench.reporting.tables.grid import cell, words

SCORE_FIGURES = {
    "log_likelihood": "How probable are the test targets? Log-likelihood",
    "rmse": "How far off is the mean? Root mean squared error",
    "error": "How often is the class wrong? Error",
    "calibration_error": "How far are predicted probabilities from shares observed? Calibration error",
    "ece": "How far is confidence from accuracy? Expected calibration error",
}
PRUNED = ("log_likelihood", "rmse", "error")
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
        for drawn in _figures(selection, section, looks):
            yield _picked(section, replace(drawn, text=drawn.text or texts.get(drawn.name, "")))
        for drawn in own(selection, section, looks) if own else ():
            yield _picked(section, drawn)


def _picked(section: Section, drawn: Drawn) -> Picked:
    return Picked(file_stem(f"{section.name}-{drawn.name}"), drawn.alt, style.render(drawn.figure), drawn.text)


def draw_fidelity(selection: Selection, found: Fidelity) -> Picked:
    """The one figure that spans sections."""
    alt = f"Distance from HMC and direction of the miss of {len(found.rows)} methods on {', '.join(found.columns)}."
    looks = style.looks(selection.methods, found.rows)
    with style.drawing():
        return Picked("fidelity", alt, style.render(fidelity_figure(found, looks)), ranked_over(found.ranking()))


def _figures(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[Drawn]:
    if section.group == "toy":
        yield from _toys(selection, section, looks)
    yield from _scores(selection, section, looks)
    yield from _calibration(selection, section, looks)
    yield from _pruning(section, looks)
    yield from _weights(selection, section, looks)
    yield from _training(selection, section, looks)


def _scores(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[Drawn]:
    for metric in SCORE_FIGURES:
        if metric not in section.metrics:
            continue
        better, unit, _ = selection.metric(metric)
        options = {"better": better, "rows": list(section.rows), "tasks": list(section.tasks)}
        test = compared(selection, section, metric)
        train = comparison(section.scores, metric, "train", **options)
        label = f"{words(metric)} ({unit})" if unit else words(metric)
        alt = _leaders(test, words(metric))
        figure = score_figure(test, train, looks, SCORE_FIGURES[metric], label)
        yield Drawn(metric.replace("_", "-"), alt, "", figure)


def _leaders(table: Comparison, name: str) -> str:
    """The best methods of each data set in words."""
    best = []
    for task in table.tasks:
        names = [row for row in table.rows if (e := table.entries.get((row, task))) and e.best]
        best.append(f"{task}: {', '.join(names) if len(names) <= 4 else f'{len(names)} methods tie'}" if names else "")
    told = "; ".join(filter(None, best))
    return f"Test {name} of {len(table.rows)} methods per data set with error bars. Best or tied: {told or 'none'}."


def _toys(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[Drawn]:
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
            alt += " First the exact posterior." * bool(exact)
            yield Drawn(task, alt, "", toy_figure(task, own, looks, which, exact))


def _calibration(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[Drawn]:
    """Curves of few enough methods and data sets; of more there are the numbers, in a figure and a table."""
    pit = _sheets(gather(selection, section, "pit_ecdf", "test"), section)
    numbers = _numbers(selection, section, "calibration_error")
    for task, cells in pit.items():
        alt = f"PIT calibration curves of {len(cells)} methods on {task}; a flat line is calibrated."
        figure = pit_figure(cells, looks, task, test_points(section, task), numbers.get(task, {}))
        yield Drawn(f"calibration-{task}", alt, "", figure)
    numbers = _numbers(selection, section, "ece")
    for task, cells in _sheets(gather(selection, section, "reliability", "test"), section).items():
        alt = f"Reliability diagrams of {len(cells)} methods on {task}; the diagonal is calibrated."
        text = "TestSet on the diagonal are right as often as they say; the bars show where the predictions are."
        yield Drawn(f"reliability-{task}", alt, text, reliability_figure(cells, looks, task, numbers.get(task, {})))


def _sheets(curves: Curves, section: Section) -> dict[str, dict[str, list]]:
    """Cells by task and row, in the section's order; none if that were too many panels to be looked at."""
    if len(curves) > SHEETS:
        return {}
    rows, tasks = shown(section, curves)
    return {task: {row: curves[row, task] for row in rows if (row, task) in curves} for task in tasks}


def _numbers(selection: Selection, section: Section, metric: str) -> dict[str, dict[str, str]]:
    """The texts of the metric's table, by task and row."""
    rows, tasks = list(section.rows), list(section.tasks)
    table = comparison(section.scores, metric, "test", selection.metric(metric)[0], rows, tasks)
    found: dict[str, dict[str, str]] = {}
    for (row, task), entry in table.entries.items():
        text, _, mark = cell(entry)
        found.setdefault(task, {})[row] = f"{text} {mark}".strip()
    return found


def test_points(section: Section, task: str) -> float:
    """Number of different test rows behind an average over splits: splits beyond n/n_test repeat rows."""
    own = section.scores[section.scores["task"] == task]
    ratio = size_ratio(own, section.rule)
    each = own.loc[own["evaluation"] == "test", "n"].astype(float).mean()
    return float(each) * min(own["split"].nunique(), (1 + ratio) / ratio)


def _pruning(section: Section, looks: dict[str, style.Look]) -> Iterator[Drawn]:
    for metric in PRUNED:
        if lines := pruned(section, metric):
            rows, tasks = shown(section, lines)
            alt = f"{words(metric)} against the share of weights removed of {len(rows)} methods on {', '.join(tasks)}."
            stem = f"pruning-{metric.replace('_', '-')}"
            yield Drawn(stem, alt[0].upper() + alt[1:], "", pruning_figure(lines, metric, rows, tasks, looks))


def _weights(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[Drawn]:
    if curves := gather(selection, section, "weights", "test"):
        rows, tasks = shown(section, curves)
        alt = f"Histograms of all weights of {len(rows)} methods on {', '.join(tasks)}, in units of the prior's scale."
        yield Drawn("weights", alt, "", weights_figure(curves, rows, tasks, looks))


def _training(selection: Selection, section: Section, looks: dict[str, style.Look]) -> Iterator[Drawn]:
    if curves := gather(selection, section, "training", None, COLUMN):
        rows, tasks = shown(section, curves)
        alt = f"Validation log-likelihood against training step of {len(rows)} methods on {', '.join(tasks)}."
        yield Drawn("training-validation", alt, "", training_figure(curves, rows, tasks, looks))
