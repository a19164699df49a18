"""What a richer posterior is worth to an autoencoder: bounds on the likelihood against the number of layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnbench.reporting.figures.style import Look
from bnnbench.reporting.figures.text import headline, label
from bnnbench.reporting.images import Value, Values

BOUNDS = {"elbo": "Evidence lower bound", "iw_log_likelihood": "Importance-weighted log-likelihood"}
NONE = (np.nan, np.nan)
BASE, STACKED, LAYERS = "flow-gaussian", "flow-planar", 32  # no layer; one after another; their default number
GAP = 0.055  # between two labels, as a share of the axis
TOUCHING = {"shrinkA": 0, "shrinkB": 0}  # ends of the line from a label
Scores = dict[str, Value]  # by row


def bound_figure(bounds: dict[str, Scores], looks: dict[str, Look], title: str) -> Figure:
    """One panel a bound on one axis: the step from left to right is how loose the lower bound is."""
    figure = Figure(figsize=(1.2 + 4.0 * len(bounds), 3.8), layout="constrained")
    panels = figure.subplots(1, len(bounds), sharey=True, squeeze=False)[0]
    for axes, (metric, own) in zip(panels, bounds.items(), strict=True):
        _stacked(axes, {k: own[row] for row in own if (k := depth(row)) is not None}, looks)
        for row in others(own):
            axes.axhline(own[row][0], color=looks[row].color, ls=looks[row].line, lw=1.3, zorder=1)
        axes.set_title(BOUNDS[metric], loc="left", fontweight="bold")
    for axes, own in zip(panels, bounds.values(), strict=True):  # now that the axis holds all panels
        _label(axes, {row: own[row][0] for row in others(own)}, looks)
    panels[0].set_ylabel("nats per image")
    headline(figure, title)
    return figure


def bounds(found: Values, rows: Sequence[str]) -> dict[str, Scores]:
    """Finite scores of the test images by bound, of bounds that have a line to draw."""
    scores = {
        metric: {row: v for row in rows if np.isfinite((v := found.get((row, "test", metric), NONE))[0])}
        for metric in BOUNDS
    }
    return {metric: own for metric, own in scores.items() if len(others(own)) < len(own)}


def depth(row: str) -> int | None:
    """Planar layers, none for the Gaussian; None for other flows."""
    if row == BASE:
        return 0
    match = re.fullmatch(rf"{STACKED}(?: \[layers=(\d+)\])?", row)
    return int(match[1] or LAYERS) if match else None


def others(rows: Iterable[str]) -> list[str]:
    """Flows without a place on the axis."""
    return [row for row in rows if depth(row) is None]


def _stacked(axes: Axes, values: dict[int, Value], looks: dict[str, Look]) -> None:
    """Numbers of layers stand evenly apart: they double rather than grow."""
    numbers = sorted(values)
    means, errors = np.array([values[k] for k in numbers]).reshape(-1, 2).T
    look = looks.get(STACKED) or Look("#222222", "o", "-")
    axes.errorbar(range(len(numbers)), means, np.nan_to_num(errors), color=look.color, marker=look.marker, ms=5, lw=1.6,
                  elinewidth=1.0, capsize=2.5, zorder=3)  # fmt: skip
    axes.set_xticks(range(len(numbers)), [str(k) for k in numbers])
    axes.set_xlim(-0.4, len(numbers) - 0.6)
    axes.set_xlabel(f"{STACKED} with K layers (0: {BASE})", color=look.color, fontweight="bold")


def _label(axes: Axes, values: dict[str, float], looks: dict[str, Look]) -> None:
    """Names at the right border, moved apart where lines are close."""
    low, high = axes.get_ylim()
    names = sorted(values, key=lambda row: values[row])
    places = apart([values[row] for row in names], GAP * (high - low), high)
    at = ("axes fraction", "data")
    for row, place in zip(names, places, strict=True):
        leader = {"arrowstyle": "-", "color": looks[row].color, "lw": 0.8, "relpos": (0, 0.5)}
        axes.annotate(label(row), (1, values[row]), (1.06, place), xycoords=at, textcoords=at, va="center", fontsize=8,
                      color=looks[row].color, annotation_clip=False, arrowprops=leader | TOUCHING)  # fmt: skip


def apart(values: Sequence[float], gap: float, top: float) -> list[float]:
    """Rising values at least a gap apart, near their own and none above the top."""
    if not values:
        return []
    steps = gap * np.arange(len(values))
    raised = np.maximum.accumulate(np.asarray(values) - steps) + steps
    lowered = np.minimum.accumulate((np.asarray(values) - steps)[::-1])[::-1] + steps
    return np.minimum((raised + lowered) / 2, top - steps[::-1]).tolist()
