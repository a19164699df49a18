"""How much of a posterior can be thrown away? Scores against the share of weights set to zero, the surest last."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from bnnbench import names
from bnnbench.reporting.averages import Line, Lines
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import GREY, Style, grid, plain_decades
from bnnbench.reporting.figures.text import headline, label, panel_title
from bnnbench.reporting.gather import shown
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.text import words

TEXT = "The longer a line stays level, the more of the weights were not needed."
METRICS = ("log_likelihood", "rmse", "error")
WHOLE = names.pruned(0.0)  # of large networks, which are pruned on a part of the test set
RATIO = ("rmse",)  # of a positive score in the target's units the ratio compares between data sets


def pruning_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """One figure for each of these metrics that pruned posteriors were scored by."""
    for metric in METRICS:
        if lines := pruned(section, metric):
            rows, tasks = shown(section, lines)
            alt = f"{words(metric)} against the share of weights removed of {len(rows)} methods on {', '.join(tasks)}."
            stem = f"pruning-{metric.replace('_', '-')}"
            figure = partial(pruning_figure, lines, metric, rows, tasks, styles)
            yield Plot(stem, alt[0].upper() + alt[1:], TEXT, figure)


def pruned(section: Section, metric: str) -> Lines:
    """By row and task, the change against the same cell unpruned, mean over cells: a difference; of `rmse` a ratio."""
    scores = section.scores[section.scores["metric"] == metric]
    fractions = {name: _fraction(name) for name in scores["evaluation"].unique()}
    scores = scores.assign(fraction=scores["evaluation"].map(fractions)).dropna(subset="fraction")
    own = set(scores.loc[scores["evaluation"] == WHOLE, "fingerprint"])
    scores = scores[~(scores["fingerprint"].isin(own) & (scores["evaluation"] == names.TEST))]
    found: Lines = {}
    everything: Frame = scores.pivot_table(index=["row", "task", "fingerprint"], columns="fraction", values="value")
    for (row, task), cells in everything.groupby(level=["row", "task"]):
        table = cells.dropna(axis="columns", how="all")
        if 0.0 not in table or len(table.columns) < 2:
            continue
        whole = table[0.0]
        change = table.div(whole, axis=0) if metric in RATIO else table.sub(whole, axis=0)
        mean = change.replace([np.inf, -np.inf], np.nan).mean().dropna()
        found[str(row), str(task)] = mean.index.to_numpy(dtype=float), mean.to_numpy(dtype=float)
    return found


def _fraction(evaluation: str) -> float:
    """Share of weights removed; the whole posterior is `test`, or `pruned-0.00` where there is one."""
    if evaluation == names.TEST:
        return 0.0
    swept = names.sweep(evaluation)
    return swept.level if swept and swept.family == "pruned" else float("nan")


def pruning_figure(lines: Lines, metric: str, rows: list[str], tasks: list[str], styles: dict[str, Style]) -> Figure:
    """One panel a data set; the axis is logarithmic in the weights kept, so that the last per cents are seen."""
    down, across = grid(len(tasks), 3)
    size = (max(6.8, 2.4 + 2.9 * across), max(0.8 + 2.5 * down, 1.0 + 0.19 * len(rows)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(down, across, sharex=True, squeeze=False)
    for axes, task in zip(panels.flat, tasks, strict=False):
        panel(axes, {row: lines[row, task] for row in rows if (row, task) in lines}, metric, styles)
        panel_title(axes, task, 2.6)
        axes.tick_params(labelbottom=True)
    for axes in panels.flat[len(tasks) :]:
        axes.set_axis_off()
    for axes in panels.flat[max(0, len(tasks) - across) : len(tasks)]:
        axes.set_xlabel("weights removed")
    for axes in panels[:, 0]:
        axes.set_ylabel({"rmse": "RMSE / unpruned", "error": "error − unpruned"}.get(metric, "nats − unpruned"))
    handles = {h.get_label(): h for axes in panels.flat for h in axes.get_lines() if h.get_label()[:1] != "_"}
    ordered = [handles[name] for name in map(label, rows) if name in handles]
    figure.legend(handles=ordered, loc="outside right center", handlelength=3)
    name = {"rmse": "RMSE", "error": "Error"}.get(metric, "Log-likelihood")
    headline(figure, f"Which weights matter? {name} without those of least |mean| / sd, mean over splits")
    return figure


def panel(axes: Axes, lines: dict[str, Line], metric: str, styles: dict[str, Style]) -> None:
    """One data set."""
    axes.axhline(float(metric in RATIO), color=GREY, lw=0.8, zorder=1)
    last = 0.0
    for row, (fraction, change) in lines.items():
        style = styles[row]
        axes.plot(-np.log10(1 - fraction), change, color=style.color, ls=style.line, lw=1.3, marker=style.marker, ms=4,
                  mfc="white" if style.hollow else style.color, label=label(row), zorder=3)  # fmt: skip
        last = max(last, float(fraction.max()))
    if metric in RATIO:
        axes.set_yscale("log")
        plain_decades(axes.yaxis)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    elif metric == "log_likelihood":
        axes.set_yscale("symlog", linthresh=0.1)  # losses run from hundredths of a nat to hundreds of nats
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    mark_removed(axes, last)


def mark_removed(axes: Axes, last: float, apart: float = 0.0) -> None:
    """Ticks up to the largest share removed, each by more than `apart` of the axis from the next."""
    shown = [last]
    for share in (0.99, 0.9, 0.5, 0.0):
        distance = np.log10((1 - share) / (1 - shown[0])) / -np.log10(1 - last)
        if 1 - share > 2.5 * (1 - last) and distance > apart:  # others would touch the next
            shown.insert(0, share)
    axes.set_xticks([-np.log10(1 - t) for t in shown], [f"{100 * t:.3g} %" for t in shown])
