"""The figures of image tasks, each with a sentence on what to see."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from bnnbench.names import ROTATED_DIGIT, TEST
from bnnbench.reporting.averages import averages, out_of_distribution, sweeps
from bnnbench.reporting.corruptions import by_severity
from bnnbench.reporting.figures.digit import digit_figure
from bnnbench.reporting.figures.elbo import BOUND, TEMPERED, objective_figure, tempered
from bnnbench.reporting.figures.families import PLAIN, Panels, families, family_figure, survival
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.recording import QUANTILES, fan_figure, layers, recording_figure
from bnnbench.reporting.figures.style import Style
from bnnbench.reporting.gather import Arrays, Curves, gather
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame

BAYESIAN = ("bbp-local", "bbp-gaussian", "mc-dropout")  # who stands beside the plain network, the first that is there
FLOW = "mnf"  # and who with them
ENTROPIES = {
    "entropy_total": "total entropy",
    "entropy_aleatoric": "aleatoric entropy",
    "entropy_epistemic": "epistemic entropy",
}
OBJECTIVE_TEXTS = {
    "elbo": "The negative evidence lower bound per training image against the steps",
    "tempered": "At a temperature T or a weight of the KL other than 1 the objective is no bound on the evidence, may "
    "fall below zero and compares with no other. Per training image against the steps",
}
PARTS_TEXT = (
    ", and its parts: where the dashed line lies on the sum, what holds the weights is nearly all of it, and the data "
    "have little say in what is still improved."
)
WHOLE_TEXT = ": a method whose curve still falls at the end needs more steps."


def image_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """Task by task, those for which the database has data."""
    groups = families(selection.methods, section.rows)
    scores = {task: averages(section, task) for task in section.tasks}
    entropies = entropy_curves(selection, section)
    training = gather(selection, section, "training", None)
    recordings = gather(selection, section, "recording", None)
    violins = gather(selection, section, "violins", ROTATED_DIGIT)
    tempered_rows = tempered(section)
    for task, own in scores.items():
        yield from _rotation(task, own, groups, styles)
        yield from _entropy(task, entropies, groups, styles)
        yield from _attacks(task, own, groups, styles)
        yield from _corruptions(task, own, groups, styles)
        yield from _digit(task, violins, styles)
        if any(where == task for _, where in recordings):  # a task whose training is watched, not its scores alone
            yield from _objectives(task, training, groups.get("Variational", []), tempered_rows, styles)
            yield from _recordings(task, recordings, styles)


def rotation(task: str, own: Frame) -> Panels | None:
    """Accuracy and entropies against the angle, from `averages` of a task."""
    lines = sweeps(own, "rotation", ["error", *ENTROPIES])
    if not lines:
        return None
    lines |= {(row, "accuracy"): (x, 1 - y) for (row, metric), (x, y) in lines.items() if metric == "error"}
    quantities = {"accuracy": "accuracy"} | {k: f"{v} (nats)" for k, v in ENTROPIES.items()}
    return Panels(
        f"Who notices that digits are rotated? Accuracy and entropies against the angle ({task})",
        "rotation (degrees)", quantities, lines, xticks=(0, 45, 90, 135, 180),
    )  # fmt: skip


def _rotation(task: str, own: Frame, groups: dict[str, list[str]], styles: dict[str, Style]) -> Iterator[Plot]:
    plot = rotation(task, own)
    if plot is None:
        return
    text = (
        "Where accuracy falls, total entropy should rise: that is a method that notices, and it shows in the epistemic "
        "part, which a single network cannot have. Half a turn maps 0, 1 and 8 on themselves: some accuracy comes back."
    )
    count = len({row for row, _ in plot.lines})
    alt = f"Accuracy, total, aleatoric and epistemic entropy of {count} methods on {task} rotated by 0 to 180 degrees."
    yield Plot(f"{task}-rotation", alt, text, partial(family_figure, plot, groups, styles))


def entropy_curves(selection: Selection, section: Section) -> dict[str, Curves]:
    """Quantiles of entropies by test set: the test images and those of no known class; nothing without the latter."""
    outside = (name for task in section.tasks for name in out_of_distribution(averages(section, task)))
    shown = dict.fromkeys([TEST, *outside])
    return {name: gather(selection, section, "entropy", name) for name in shown if len(shown) > 1}


def entropy(task: str, curves: dict[str, Curves]) -> Panels | None:
    """Share of images above an entropy, of each set of no known class, and of the test images behind it.

    Args:
        curves: quantiles of entropies, by test set.
    """
    lines, behind, quantities = {}, {}, {}
    for outside in (name for name in curves if name != TEST):
        for column in ("total", "epistemic"):
            key = f"{outside} {column}"
            quantities[key] = f"{outside}, {column} entropy:\nshare of images above"
            for (row, where), cells in curves[outside].items():
                if where == task and column in cells[0]:
                    lines[row, key] = survival(_averaged(cells), column)
                    if (row, task) in curves[TEST]:
                        behind[row, key] = survival(_averaged(curves[TEST][row, task]), column)
    if not lines:
        return None
    return Panels(
        f"How uncertain is each method about images of no known class? Share of images above an entropy ({task})",
        "entropy of an image (nats)", quantities, lines, behind=behind, behind_label="test images, each method",
        markers=False, ylim=(0.0, 1.02),
    )  # fmt: skip


def _entropy(
    task: str, curves: dict[str, Curves], groups: dict[str, list[str]], styles: dict[str, Style]
) -> Iterator[Plot]:
    plot = entropy(task, curves)
    if plot is None:
        return
    text = (
        "The further a coloured line runs to the upper right, the more uncertain the method is about "
        "out-of-distribution images; the grey lines, the same for test images, should stay in the lower left corner. "
        "The gap between the two is what the table of out-of-distribution images measures. A point estimate has no "
        "epistemic entropy: its line is the axis."
    )
    count = len({row for row, _ in plot.lines})
    alt = f"Share of out-of-distribution images above a total and an epistemic entropy, of {count} methods of {task}."
    yield Plot(f"{task}-entropy", alt, text, partial(family_figure, plot, groups, styles))


def _averaged(cells: list[Arrays]) -> Arrays:
    """Mean over seeds of the quantiles, whose levels are the same."""
    level = cells[0]["level"]
    same = [c for c in cells if len(c["level"]) == len(level)]
    return {k: np.mean([c[k] for c in same if k in c], axis=0) for k in cells[0]}


def _attacks(task: str, own: Frame, groups: dict[str, list[str]], styles: dict[str, Style]) -> Iterator[Plot]:
    quantities = {"error": "error"} | {k: f"{v} (nats)" for k, v in ENTROPIES.items() if k != "entropy_aleatoric"}
    kinds = (
        ("fgsm", "largest change of a pixel", "attack", ""),
        ("fgsm-norm", "change of a standardised pixel", "attack-norm", ", pixels standardised and not clipped"),
    )
    for prefix, label, stem, how in kinds:
        lines = sweeps(own, prefix, list(quantities))
        points = sweeps(own, "pgd", list(quantities), start="") if prefix == "fgsm" else {}
        if not lines:
            continue
        plot = Panels(
            f"Who is fooled by an attack through its own gradient (FGSM{how}), and does it notice? ({task})",
            label, quantities, lines, points, "open: PGD",
        )  # fmt: skip
        text = (
            "Error rises with the strength of the attack; a method that notices raises its entropy with it, and one "
            "that is sure of wrong answers lets it fall. A low error is robustness only where the table of attacks "
            "says that no gradients are masked." + " Open markers: PGD, the stronger attack." * bool(points)
        )
        count = len({row for row, _ in lines})
        alt = f"Error, total and epistemic entropy of {count} methods on {task} against the strength of an attack."
        yield Plot(f"{task}-{stem}", alt, text, partial(family_figure, plot, groups, styles))


def _corruptions(task: str, own: Frame, groups: dict[str, list[str]], styles: dict[str, Style]) -> Iterator[Plot]:
    quantities = {"error": "error", "ece": "ECE", "entropy_total": "total entropy (nats)"}
    quantities["entropy_epistemic"] = "epistemic entropy (nats)"
    lines = by_severity(own, list(quantities))
    if not lines:
        return
    plot = Panels(
        f"Who still knows what it knows under corruption? Means over corruptions against their severity ({task})",
        "severity (0: test images)", quantities, lines, xticks=tuple(range(6)),
    )  # fmt: skip
    text = (
        "The error rises with the severity. A method that notices raises its entropy with it and keeps its calibration "
        "error low; one that stays sure of wrong answers lets it rise."
    )
    count = len({row for row, _ in lines})
    alt = f"Error, calibration error and entropies of {count} methods on {task} against the severity of corruptions."
    yield Plot(f"{task}-corruptions", alt, text, partial(family_figure, plot, groups, styles))


def _beside(curves: Curves, task: str) -> list[str]:
    """The plain network, one Bayesian beside it and the multiplicative flow, those that are there."""
    bayesian = next((row for row in BAYESIAN if (row, task) in curves), FLOW)
    return [row for row in dict.fromkeys((PLAIN, bayesian, FLOW)) if (row, task) in curves]


def _digit(task: str, violins: Curves, styles: dict[str, Style]) -> Iterator[Plot]:
    rows = _beside(violins, task)
    if not rows:
        return
    text = (
        "Above a panel: the most probable class and its mean probability. Where a network is sure, there is one blob "
        "at the right border; where its samples disagree, several violins are long. The plain network is one set "
        "of weights and has blobs only, also where its answer is wrong. (The image itself is not in the database.)"
    )
    alt = f"Distributions of class probabilities of a digit of {task} rotated by 0 to 180 degrees: {', '.join(rows)}."
    figure = partial(digit_figure, {r: violins[r, task][0] for r in rows}, styles, task)
    yield Plot(f"{task}-digit", alt, text, figure)


def _objectives(
    task: str, training: Curves, rows: list[str], tempered_rows: frozenset[str], styles: dict[str, Style]
) -> Iterator[Plot]:
    """The bound of variational methods; apart from it the objectives that are tempered, and so bound nothing."""
    cells = {r: [c for c in training.get((r, task), []) if _known(c, "loss")] for r in rows}
    for objective, stem, own in (
        (BOUND, "elbo", {r: c for r, c in cells.items() if c and r not in tempered_rows}),
        (TEMPERED, "tempered", {r: c for r, c in cells.items() if c and r in tempered_rows}),
    ):
        if not own:
            continue
        parts = any(_known(c, "kl") for found in own.values() for c in found)
        text = OBJECTIVE_TEXTS[stem] + (PARTS_TEXT if parts else WHOLE_TEXT)
        alt = f"{objective.loss}{' and its two parts' * parts} per image of {', '.join(own)} on {task} against steps."
        figure = partial(objective_figure, objective, own, styles, task)
        yield Plot(f"{task}-{stem}", alt[0].upper() + alt[1:], text, figure)


def _known(series: Arrays, column: str) -> bool:
    return column in series and bool(np.isfinite(series[column]).any())


def _recordings(task: str, recordings: Curves, styles: dict[str, Style]) -> Iterator[Plot]:
    rows = _beside(recordings, task)
    if not rows:
        return
    own = {r: recordings[r, task][0] for r in rows}
    text = (
        "A layer whose standard deviation of weights keeps growing has not settled; one whose activations lose their "
        "spread no longer passes anything on."
    )
    named = ", ".join(rows)
    alt = f"Mean and standard deviation of weights and activations, layer by layer, along training on {task}: {named}."
    yield Plot(f"{task}-recording", alt, text, partial(recording_figure, own, styles, task))
    if any(layers(series, QUANTILES) for series in own.values()):
        text = "Bands that widen without end explode; a band that is a line at zero is a dead layer."
        alt = f"Quantiles of the activations of each layer on {task} along training: {named}."
        yield Plot(f"{task}-activations", alt, text, partial(fan_figure, own, styles, task))
