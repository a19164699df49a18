"""Autoencoders whose posterior is a flow: images out of them, and bounds against the number of layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnbench.names import TEST
from bnnbench.reporting.averages import averages, look_up
from bnnbench.reporting.figures.flows import chosen, pictures, which
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import Style
from bnnbench.reporting.figures.text import headline, label, name_lines
from bnnbench.reporting.gather import Arrays, gather
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.flows import BASE, STACKED, depth

KINDS = ("originals", "reconstructions", "samples")
ACROSS = 8  # images of a kind
BOUNDS = {"elbo": "Evidence lower bound", "iw_log_likelihood": "Importance-weighted log-likelihood"}
GAP = 0.055  # between two labels, as a share of the axis
TOUCHING = {"shrinkA": 0, "shrinkB": 0}  # ends of the line from a label
Scores = dict[str, tuple[float, float]]  # value and standard error by row
IMAGES_TEXT = (
    "Reconstructions should keep the class and the slant of their originals; samples should be digits, and as sharp as "
    "the originals. Differences between flows are finer than the eye sees: they are in the bound."
)
BOUND_TEXT = (
    "Higher is better. A line that rises with K says that a Gaussian posterior was too simple; the step from the left "
    "panel to the right is how loose the bound still is. The bars are standard errors over test images, which all "
    "methods share: differences are surer than they look."
)


def vae_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """Task by task, those for which the database has data."""
    images = pictures(gather(selection, section, "vae_images", TEST))
    for task in section.tasks:
        yield from _images(task, images.get(task, {}), styles, which(section))
        yield from _bound(task, averages(section, task), styles)


def _images(task: str, images: dict[str, Arrays], styles: dict[str, Style], seed: str) -> Iterator[Plot]:
    rows, told = chosen(images, styles)
    if rows:
        title = f"What comes out of the autoencoder? ({task}{seed})"
        alt = f"Original digits, their reconstructions, and samples of {len(rows)} methods on {task}."
        figure = partial(digits_figure, {row: images[row] for row in rows}, styles, title)
        yield Plot(f"{task}-images", alt, IMAGES_TEXT + told, figure)


def _bound(task: str, scores: Frame, styles: dict[str, Style]) -> Iterator[Plot]:
    if found := bounds(scores, list(styles)):
        rows = {row for own in found.values() for row in own}
        title = f"Is a richer posterior worth its layers? Bounds on the log-likelihood of test images ({task})"
        alt = (
            f"ELBO and importance-weighted log-likelihood of {len(rows)} methods on {task} by number of planar layers."
        )
        yield Plot(f"{task}-bound", alt, BOUND_TEXT, partial(bound_figure, found, styles, title))


def digits_figure(images: dict[str, Arrays], styles: dict[str, Style], title: str) -> Figure:
    """Methods down, kinds of images across."""
    figure = Figure(figsize=(10.4, 0.8 + 0.45 * len(images)), layout="constrained")
    panels = figure.subplots(len(images), len(KINDS), squeeze=False)
    for line, (row, series) in zip(panels, images.items(), strict=True):
        for kind, axes in enumerate(line):
            axes.set_axis_off()
            if (series["kind"] == kind).any():
                axes.imshow(montage(series, kind), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        line[0].annotate(name_lines(row, 2.0, 9), (0, 0.5), xytext=(-4, 0), xycoords="axes fraction",
                         textcoords="offset points", ha="right", va="center", fontweight="bold",
                         color=styles[row].color)  # fmt: skip
    for axes, name in zip(panels[0], KINDS, strict=True):
        axes.set_title(name, loc="left")
    headline(figure, title)
    return figure


def montage(series: Arrays, kind: int) -> np.ndarray:
    """The first images of a kind side by side."""
    own = series["kind"] == kind
    pixels, image = series["pixel"][own], series["image"][own]
    side = math.isqrt(int((image == image[0]).sum()))
    return np.hstack([pixels[image == number].reshape(side, side) for number in np.unique(image)[:ACROSS]])


def bound_figure(bounds: dict[str, Scores], styles: dict[str, Style], title: str) -> Figure:
    """One panel a bound on one axis: the step from left to right is how loose the lower bound is."""
    figure = Figure(figsize=(1.2 + 4.0 * len(bounds), 3.8), layout="constrained")
    panels = figure.subplots(1, len(bounds), sharey=True, squeeze=False)[0]
    for axes, (metric, own) in zip(panels, bounds.items(), strict=True):
        _stacked(axes, {k: own[row] for row in own if (k := depth(row)) is not None}, styles)
        for row in others(own):
            axes.axhline(own[row][0], color=styles[row].color, ls=styles[row].line, lw=1.3, zorder=1)
        axes.set_title(BOUNDS[metric], loc="left", fontweight="bold")
    for axes, own in zip(panels, bounds.values(), strict=True):  # now that the axis holds all panels
        _label(axes, {row: own[row][0] for row in others(own)}, styles)
    panels[0].set_ylabel("nats per image")
    headline(figure, title)
    return figure


def bounds(scores: Frame, rows: Sequence[str]) -> dict[str, Scores]:
    """Finite scores of the test images by bound, of bounds that have a line to draw."""
    known = {metric: look_up(scores, TEST, metric) for metric in BOUNDS}
    finite = {
        metric: {row: own[row] for row in rows if row in own and np.isfinite(own[row][0])}
        for metric, own in known.items()
    }
    return {metric: own for metric, own in finite.items() if len(others(own)) < len(own)}


def others(rows: Iterable[str]) -> list[str]:
    """Flows without a place on the axis."""
    return [row for row in rows if depth(row) is None]


def _stacked(axes: Axes, values: dict[int, tuple[float, float]], styles: dict[str, Style]) -> None:
    """Numbers of layers stand evenly apart: they double rather than grow."""
    numbers = sorted(values)
    means, errors = np.array([values[k] for k in numbers]).reshape(-1, 2).T
    style = styles.get(STACKED) or Style("#222222", "o", "-")
    axes.errorbar(range(len(numbers)), means, np.nan_to_num(errors), color=style.color, marker=style.marker, ms=5,
                  lw=1.6, elinewidth=1.0, capsize=2.5, zorder=3)  # fmt: skip
    axes.set_xticks(range(len(numbers)), [str(k) for k in numbers])
    axes.set_xlim(-0.4, len(numbers) - 0.6)
    axes.set_xlabel(f"{STACKED} with K layers (0: {BASE})", color=style.color, fontweight="bold")


def _label(axes: Axes, values: dict[str, float], styles: dict[str, Style]) -> None:
    """Names at the right border, moved apart where lines are close."""
    low, high = axes.get_ylim()
    names = sorted(values, key=lambda row: values[row])
    places = apart([values[row] for row in names], GAP * (high - low), high)
    at = ("axes fraction", "data")
    for row, place in zip(names, places, strict=True):
        leader = {"arrowstyle": "-", "color": styles[row].color, "lw": 0.8, "relpos": (0, 0.5)}
        axes.annotate(label(row), (1, values[row]), (1.06, place), xycoords=at, textcoords=at, va="center", fontsize=8,
                      color=styles[row].color, annotation_clip=False, arrowprops=leader | TOUCHING)  # fmt: skip


def apart(values: Sequence[float], gap: float, top: float) -> list[float]:
    """Rising values at least a gap apart, near their own and none above the top."""
    if not values:
        return []
    steps = gap * np.arange(len(values))
    raised = np.maximum.accumulate(np.asarray(values) - steps) + steps
    lowered = np.minimum.accumulate((np.asarray(values) - steps)[::-1])[::-1] + steps
    return np.minimum((raised + lowered) / 2, top - steps[::-1]).tolist()
