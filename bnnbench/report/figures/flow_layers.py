"""What a flow does to space: a grid in the noise bent as a whole, and points on their way through the layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnnbench.report.figures.families import headline
from bnnbench.report.figures.flow_maps import Series, Window, angle, cloud, name_line, pair, window
from bnnbench.report.figures.style import GREY, PALETTE, Look, grid

LINES = 11  # drawn along each axis, the one in the middle at zero: more are a smear
DIRECTIONS = {"z₀ fixed": PALETTE[0], "z₁ fixed": PALETTE[3]}
LAYERS = 7  # panels of a path


def warp_figure(warps: dict[str, Series], draws: dict[str, Series], looks: dict[str, Look], title: str) -> Figure:
    """One panel a method: where the lines of the noise go, over faint draws."""
    down, across = grid(len(warps), 4)
    figure = Figure(figsize=(max(4.6, 0.3 + 2.3 * across), 1.0 + 2.35 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    seen = window([draws.get(row, series) for row, series in warps.items()])
    for axes, (row, series) in zip(panels.flat, warps.items(), strict=False):
        _warp(axes, series, draws.get(row), seen)
        axes.set_title(row, loc="left", fontweight="bold", color=looks[row].color, fontsize=9)
    for axes in panels.flat[len(warps) :]:
        axes.set_axis_off()
    for axes in panels.flat[max(0, len(warps) - across) : len(warps)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("x₀", fontsize=8)
    for axes in panels[:, 0]:
        axes.set_ylabel("x₁", fontsize=8)
    handles = [Line2D([], [], color=color, label=label) for label, color in DIRECTIONS.items()]
    handles.append(Line2D([], [], color=GREY, marker=".", ls="", label="draws"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    headline(figure, title)
    return figure


def _warp(axes: Axes, series: Series, draws: Series | None, seen: Window) -> None:
    if draws is not None:
        axes.scatter(draws["x0"], draws["x1"], color=GREY, s=3, lw=0, alpha=0.25, rasterized=True, zorder=1)
    stored = round(series["line"].max() + 1) // 2
    chosen = range(0, stored, max(1, (stored - 1) // (LINES - 1)))
    for first, color in zip((0, stored), DIRECTIONS.values(), strict=True):
        lines = [pair(series, "x")[series["line"] == first + number] for number in chosen]
        widths = [1.8 if number == stored // 2 else 0.7 for number in chosen]
        axes.add_collection(LineCollection(lines, colors=color, linewidths=widths, alpha=0.85, zorder=2))
    axes.set(xlim=seen[0], ylim=seen[1], aspect="equal")
    axes.tick_params(labelsize=7, length=2)
    axes.locator_params(nbins=4)


def path_figure(paths: dict[str, Series], looks: dict[str, Look], title: str) -> Figure:
    """Methods down, some layers across, noise first and draws last; a method's panels have one window."""
    across = max(len(stops(series)) for series in paths.values())
    figure = Figure(figsize=(max(4.6, 0.4 + 1.45 * across), 0.7 + 1.6 * len(paths)), layout="constrained")
    panels = figure.subplots(len(paths), across, squeeze=False)
    for line, (row, series) in zip(panels, paths.items(), strict=True):
        shown = stops(series)
        _path(line, series, shown)
        name_line(line[0], row, looks[row].color)
        for axes in line[len(shown) :]:
            axes.set_axis_off()
    headline(figure, title)
    return figure


def stops(series: Series) -> list[int]:
    """Layers to show, evenly apart among those that are stored."""
    stored = np.unique(series["layer"]).astype(int)
    return stored[np.linspace(0, len(stored) - 1, min(LAYERS, len(stored))).round().astype(int)].tolist()


def _path(line: Sequence[Axes], series: Series, shown: Sequence[int]) -> None:
    colors, seen = angle(layer(series, 0)), window([series])
    for axes, number in zip(line, shown, strict=False):
        cloud(axes, layer(series, number), colors, seen)
        name = "noise" if number == 0 else f"layer {number}"
        axes.set_title("draws: " * (number == shown[-1]) + name, fontsize=8)
        axes.set(xticks=(), yticks=())


def layer(series: Series, number: int) -> np.ndarray:
    """Where the points are after a layer, in their order."""
    own = series["layer"] == number
    return pair(series, "x")[own][np.argsort(series["point"][own])]
