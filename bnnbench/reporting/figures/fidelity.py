"""Who is near the HMC posterior, and in which direction do the others miss? Dots: methods down, metrics across."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnnbench.reporting.fidelity import Fidelity
from bnnbench.reporting.figures.style import INK, Style, plain_decades, robust_limits
from bnnbench.reporting.figures.text import headline, label
from bnnbench.reporting.tables.text import OTHER_TARGET, UNCONVERGED, words

MARKERS = "osD^vPX*h"  # of data sets; without the arrows, which stand for what lies beyond an axis
LABELS = {
    "w1_to_hmc": "distance (W1), sd of HMC",
    "mean_gap": "gap of the means, sd of HMC",
    "log_sd_ratio": "log sd ratio",
    "log_epistemic_ratio": "log epistemic sd ratio",
}
TITLE = "How near to the HMC posterior?"
RANKED, NOISE = " Best mean rank on top.", " Grey: HMC's own noise on that data set."
SHADE, SPREAD = "#dcdcdc", 0.27  # of noise floors; half the height of a row that data sets share


def fidelity_figure(found: Fidelity, styles: dict[str, Style]) -> Figure:
    """Each row has a lane a data set, with the noise floor of that very data set; colours are those of the methods.

    What lies beyond an axis stands at its border as an arrow.
    """
    metrics = found.metrics
    ranks = found.ranking().ranks
    rows = [*ranks, *(r for r in found.rows if r not in ranks)]  # other targets, which have no rank, below
    figure = Figure(figsize=(1.8 + 2.6 * len(metrics), 2.0 + 0.36 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        panel(axes, found, metric, rows, styles, signed=not found.metrics[metric].better)
    names = [label(r) + f" {OTHER_TARGET}" * (r in found.other) for r in rows]
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    headline(figure, TITLE + RANKED * bool(ranks) + NOISE * _has_floors(found))
    figure.legend(handles=legend(found), loc="outside lower center", ncols=4, handletextpad=0.3, columnspacing=1.2)
    return figure


def lanes(found: Fidelity) -> dict[str, float]:
    """Height of each data set's lane in a row."""
    count = len(found.columns)
    shifts = np.linspace(-SPREAD, SPREAD, count) if count > 1 else np.zeros(1)
    return dict(zip(found.columns, shifts.tolist(), strict=True))


def panel(axes: Axes, found: Fidelity, metric: str, rows: list[str], styles: dict[str, Style], *, signed: bool) -> None:
    """One metric, rows down."""
    own = {k: v if signed else abs(v) for k, (v, _, _) in found.own(metric).items()}
    # Chains that have not mixed tell nothing of Monte Carlo error: no floor where HMC is unconverged.
    floor = {c: abs(v) for (m, c), v in found.floor.items()
             if m == metric and c in found.columns and c not in found.flagged}  # fmt: skip
    low, high = _limits(axes, [*own.values(), *floor.values()], signed)
    if signed:
        axes.axvline(0, color=INK, lw=0.8, zorder=1)
        axes.set_title("← overconfident | under- →", fontsize=8.5)
    else:
        axes.set_title("← nearer", fontsize=8.5, loc="left")
    axes.set_xlabel(LABELS.get(metric, words(metric)))
    axes.tick_params(axis="y", length=0)
    for y, row in enumerate(rows):
        axes.axhline(y + 0.5, color="#eeeeee", lw=0.8, zorder=0)
        for i, (column, shift) in enumerate(lanes(found).items()):
            if column in floor:
                axes.plot([-floor[column] if signed else low, floor[column]], [y + shift] * 2, color=SHADE, lw=4.0,
                          solid_capstyle="butt", zorder=0.5)  # fmt: skip
            value = own.get((row, column))
            if value is not None and not np.isnan(value):
                _dot(axes, value, y + shift, (low, high), i, styles[row], hollow=column in found.flagged)


def _limits(axes: Axes, values: list[float], signed: bool) -> tuple[float, float]:
    """Distances span decades and stand on a log axis."""
    v = np.asarray(values, dtype=float)
    if signed:
        low, high = robust_limits(v)
        low, high = min(low, -0.1), max(high, 0.1)
    else:
        axes.set_xscale("log")
        plain_decades(axes.xaxis)
        positive = v[np.isfinite(v) & (v > 0)]
        low, high = (float(10**e) for e in robust_limits(np.log10(positive if len(positive) else np.ones(1))))
    axes.set_xlim(low, high)
    return low, high


def _dot(
    axes: Axes, value: float, y: float, limits: tuple[float, float], column: int, style: Style, *, hollow: bool
) -> None:
    low, high = limits
    marker_style = {"color": style.color, "ms": 4.4, "mew": 0.9, "mfc": "white" if hollow else style.color, "zorder": 3}
    if low <= value <= high:
        axes.plot(value, y, MARKERS[column % len(MARKERS)], **marker_style)
    else:
        border, marker = (0.02, "<") if value < low else (0.98, ">")
        axes.plot(border, y, marker, transform=axes.get_yaxis_transform(), **marker_style)


def _has_floors(found: Fidelity) -> bool:
    return any(c in found.columns and c not in found.flagged for _, c in found.floor)


def legend(found: Fidelity, unconverged: str = f" {UNCONVERGED} (HMC unconverged)") -> list[Line2D | Patch]:
    """Markers of the data sets, and what else stands in the panels; `unconverged` qualifies a data set."""
    handles: list[Line2D | Patch] = [
        Line2D([], [], ls="", marker=MARKERS[i % len(MARKERS)], color=INK, ms=5,
               mfc="white" if c in found.flagged else INK,
               label=label(c) + unconverged * (c in found.flagged))
        for i, c in enumerate(found.columns)
    ]  # fmt: skip
    handles.append(Line2D([], [], ls="", marker="<", color=INK, ms=5, label="beyond the axis (or −∞)"))
    if _has_floors(found):
        handles.append(Patch(color=SHADE, label="noise floor of that data set"))
    if found.other:
        handles.append(Line2D([], [], ls="", label=f"{OTHER_TARGET} another target, not ranked"))
    return handles
