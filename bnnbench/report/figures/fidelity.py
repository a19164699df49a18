"""Who is near the HMC posterior, and in which direction do the others miss? Dots: methods down, metrics across."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bnnbench.report.fidelity import Fidelity
from bnnbench.report.fidelity_tables import FLOOR
from bnnbench.report.figures.style import INK, PALETTE, robust_limits
from bnnbench.report.tables import OTHER_TARGET, UNCONVERGED

MARKERS = "osD^vPX*h"  # without the arrows, which stand for what lies beyond an axis
SIGNED = ("log_sd_ratio", "log_epistemic_ratio")
LABELS = {
    "w1_to_hmc": "distance (W1), sd of HMC",
    "mean_gap": "gap of the means, sd of HMC",
    "log_sd_ratio": "log sd ratio",
    "log_epistemic_ratio": "log epistemic sd ratio",
}
TITLE = "How near to the HMC posterior? Nearest on top; grey: HMC's own noise"


def fidelity_figure(found: Fidelity) -> Figure:
    """Colours are data sets; what lies beyond an axis stands at its border as an arrow."""
    metrics = found.metrics()
    rows = sorted(found.rows, key=lambda r: _typical(found, metrics[0], r))  # stable: ties keep the tables' order
    figure = Figure(figsize=(1.8 + 2.6 * len(metrics), 1.9 + 0.3 * (len(rows) + 1)), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        _panel(axes, found, metric, rows)
    names = [FLOOR, *(r + f" {OTHER_TARGET}" * (r in found.other) for r in rows)]
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    figure.suptitle(TITLE, x=0.01, ha="left", fontsize=11)
    figure.legend(handles=_legend(found), loc="outside lower center", ncols=4, handletextpad=0.3, columnspacing=1.2)
    return figure


def _typical(found: Fidelity, metric: str, row: str) -> float:
    values = [abs(v) for (r, _), (v, _, _) in found.own(metric).items() if r == row]
    return float(np.median(values)) if values else np.inf


def _panel(axes: Axes, found: Fidelity, metric: str, rows: list[str]) -> None:
    signed = metric in SIGNED
    own = {k: v if signed else abs(v) for k, (v, _, _) in found.own(metric).items()}
    floor = {c: v if signed else abs(v) for (m, c), v in found.floor.items() if m == metric and c in found.columns}
    low, high = _limits(axes, [*own.values(), *floor.values()], signed)
    if floor:
        sound = {column: v for column, v in floor.items() if column not in found.doubted} or floor
        reach = max(abs(v) for v in sound.values())  # chains that have not met tell nothing of Monte Carlo error
        axes.axvspan(-reach if signed else low, reach, color="#e3e3e3", lw=0, zorder=0)
    if signed:
        axes.axvline(0, color=INK, lw=0.8, zorder=1)
        axes.set_title("← overconfident | under- →", fontsize=8.5)
    else:
        axes.set_title("← nearer", fontsize=8.5, loc="left")
    axes.set_xlabel(LABELS[metric])
    axes.tick_params(axis="y", length=0)
    shifts = np.linspace(-0.27, 0.27, len(found.columns)) if len(found.columns) > 1 else [0.0]
    for y in range(len(rows) + 1):
        axes.axhline(y + 0.5, color="#eeeeee", lw=0.8, zorder=0)
    for i, (column, shift) in enumerate(zip(found.columns, shifts, strict=True)):
        places = [(0, floor.get(column))] + [(y, own.get((row, column))) for y, row in enumerate(rows, 1)]
        for y, value in places:
            if value is not None and not np.isnan(value):
                _dot(axes, value, y + shift, (low, high), i)


def _limits(axes: Axes, values: list[float], signed: bool) -> tuple[float, float]:
    """Distances span decades and stand on a log axis."""
    v = np.asarray(values, dtype=float)
    if signed:
        low, high = robust_limits(v)
        low, high = min(low, -0.1), max(high, 0.1)
    else:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        positive = v[np.isfinite(v) & (v > 0)]
        low, high = (float(10**e) for e in robust_limits(np.log10(positive if len(positive) else np.ones(1))))
    axes.set_xlim(low, high)
    return low, high


def _dot(axes: Axes, value: float, y: float, limits: tuple[float, float], column: int) -> None:
    low, high = limits
    style = {"color": PALETTE[column % len(PALETTE)], "ms": 4.4, "mew": 0, "zorder": 3}
    if low <= value <= high:
        axes.plot(value, y, MARKERS[column % len(MARKERS)], **style)
    else:
        border, marker = (0.02, "<") if value < low else (0.98, ">")
        axes.plot(border, y, marker, transform=axes.get_yaxis_transform(), **style)


def _legend(found: Fidelity) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], ls="", marker=MARKERS[i % len(MARKERS)], color=PALETTE[i % len(PALETTE)], ms=5,
               label=column + f" {UNCONVERGED}" * (column in found.doubted))
        for i, column in enumerate(found.columns)
    ]  # fmt: skip
    handles.append(Line2D([], [], ls="", marker="<", color=INK, ms=5, label="beyond the axis (or −∞)"))
    if found.floor:
        handles.append(Patch(color="#e3e3e3", label="within HMC's noise floor"))
    if found.other:
        handles.append(Line2D([], [], ls="", marker="$§$", color=INK, label="another target"))
    if found.doubted:
        handles.append(Line2D([], [], ls="", marker="$‡$", color=INK, label="HMC unconverged"))
    return handles
