"""What happens inside a network while it trains: weights and activations layer by layer."""

from __future__ import annotations

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter

from bnnbench.reporting.figures.families import contrast
from bnnbench.reporting.figures.style import LINES, MARKERS, Style
from bnnbench.reporting.figures.text import headline, label, name_lines, panel_title
from bnnbench.reporting.gather import Arrays

STATISTICS = {
    "weight_mean": "mean of weights",
    "weight_std": "sd of weights",
    "activation_mean": "mean of activations",
    "activation_std": "sd of activations",
}
FANS = (("q05", "q95", 0.25), ("q25", "q75", 0.45))
MIDDLE = "q50"
QUANTILES = f"activation_{MIDDLE}"  # the statistic without which there is no fan


def layers(series: Arrays, statistic: str = "") -> list[str]:
    """Names behind the slash, in the order of the columns."""
    names = (c.split("/", 1) for c in series if "/" in c)
    return list(dict.fromkeys(layer for kind, layer in names if kind.startswith(statistic)))


def recording_figure(recordings: dict[str, Arrays], styles: dict[str, Style], task: str) -> Figure:
    """Statistics down, methods across, a line a layer: light is near the input, dark near the output."""
    present = [s for s in STATISTICS if any(_has(r, s) for r in recordings.values())]
    names = list(dict.fromkeys(layer for series in recordings.values() for layer in layers(series)))
    shades = dict(zip(names, sns.color_palette("crest", len(names)).as_hex(), strict=True))
    size = (max(4.6, 1.9 + 2.9 * len(recordings)), 1.0 + 1.5 * len(present))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(present), len(recordings), sharex="col", sharey="row", squeeze=False)
    for column, (row, series) in zip(panels.T, recordings.items(), strict=True):
        for axes, statistic in zip(column, present, strict=True):
            for i, layer in enumerate(names):
                if f"{statistic}/{layer}" in series:
                    axes.plot(series["step"], series[f"{statistic}/{layer}"], **_line(i, shades[layer]))
        panel_title(column[0], row, 2.6, contrast(row, styles))
        _steps(column[-1])
    for axes, statistic in zip(panels[:, 0], present, strict=True):
        axes.set_ylabel(STATISTICS[statistic])
    handles = [Line2D([], [], label=label(layer), **_line(i, shades[layer])) for i, layer in enumerate(names)]
    figure.legend(handles=handles, loc="outside right upper", title="layer", handlelength=2.6, alignment="left")
    headline(figure, f"What do the layers do while training? ({task}, first seed)")
    return figure


def _has(series: Arrays, statistic: str) -> bool:
    return any(c.startswith(f"{statistic}/") for c in series)


def _line(i: int, color: str) -> dict:
    return {"color": color, "ls": LINES[i % len(LINES)], "marker": MARKERS[i % len(MARKERS)], "ms": 3.5, "lw": 1.3,
            "markevery": (0.05, 0.2)}  # fmt: skip


def _steps(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("step")


def fan_figure(recordings: dict[str, Arrays], styles: dict[str, Style], task: str) -> Figure:
    """Quantiles of the activations: methods down, layers across, one scale a layer."""
    names = list(dict.fromkeys(n for r in recordings.values() for n in layers(r, QUANTILES)))
    size = (max(4.6, 1.1 + 2.1 * len(names)), 1.4 + 1.7 * len(recordings))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(recordings), len(names), sharex=True, sharey="col", squeeze=False)
    for line, (row, series) in zip(panels, recordings.items(), strict=True):
        for axes, layer in zip(line, names, strict=True):
            _fan(axes, series, layer, contrast(row, styles))
        line[0].set_ylabel(name_lines(row, 1.5, 9), color=contrast(row, styles), fontweight="bold")
    for axes, layer in zip(panels[0], names, strict=True):
        panel_title(axes, layer, 1.8)
    for axes in panels[-1]:
        _steps(axes)
    handles = [
        Line2D([], [], color="#555555", lw=1.5, label="median"),
        Patch(color="#555555", alpha=0.6, lw=0, label="middle half"),
        Patch(color="#555555", alpha=0.25, lw=0, label="5 % to 95 %"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    headline(figure, f"Do activations spread, die or explode? Their distribution while training ({task}, first seed)")
    return figure


def _fan(axes: Axes, series: Arrays, layer: str, color: str) -> None:
    step = series["step"]
    for low, high, alpha in FANS:
        ends = [series.get(f"activation_{q}/{layer}") for q in (low, high)]
        if ends[0] is not None and ends[1] is not None:
            axes.fill_between(step, ends[0], ends[1], color=color, alpha=alpha, lw=0)
    if f"activation_{MIDDLE}/{layer}" in series:
        axes.plot(step, series[f"activation_{MIDDLE}/{layer}"], color=color, lw=1.5)
    axes.axhline(0, color="#bbbbbb", lw=0.6, zorder=0)
