"""The bound that variational methods climb, and its two parts: fit to the data and distance from the prior."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from bnnbench.report.figures.families import headline
from bnnbench.report.figures.style import INK, Look, grid
from bnnbench.report.figures.training import mean_curve

Series = dict[str, np.ndarray]
PARTS = {  # column -> label, style; the sum lies wide and pale under its parts, for often one of them is nearly all
    "loss": ("−ELBO", {"ls": "-", "lw": 5, "alpha": 0.3}),
    "nll": ("negative log-likelihood", {"ls": (0, (1.2, 1.2)), "lw": 1.6}),
    "kl": ("KL from the prior", {"ls": (0, (5, 1.5)), "lw": 1.6}),
}


def elbo_figure(curves: dict[str, list[Series]], looks: dict[str, Look], task: str) -> Figure:
    """One panel a method; logarithmic, for the parts differ by orders of magnitude."""
    down, across = grid(len(curves), 3)
    figure = Figure(figsize=(max(5.8, 1.0 + 2.6 * across), 1.3 + 2.0 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    positive = all(np.nanmin(c["loss"]) > 0 for cells in curves.values() for c in cells)
    for i, (axes, (row, cells)) in enumerate(zip(panels.flat, curves.items(), strict=False)):
        _panel(axes, cells, looks[row])
        axes.set_title(row, loc="left", fontweight="bold", color=looks[row].color)
        axes.tick_params(labelbottom=True)
        if i >= len(curves) - across:
            axes.set_xlabel("step")
    for axes in panels.flat[len(curves) :]:
        axes.set_axis_off()
    if positive:
        panels[0, 0].set_yscale("log")
    panels[0, 0].xaxis.set_major_formatter(EngFormatter(sep=""))
    panels[0, 0].locator_params(axis="x", nbins=4)
    for axes in panels[:, 0]:
        axes.set_ylabel("nats per image")
    seen = [k for k in PARTS if any(k in c for cells in curves.values() for c in cells)]
    handles = [Line2D([], [], color=INK, label=PARTS[k][0], **PARTS[k][1]) for k in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=3)
    headline(figure, f"Which part of the bound do the variational methods still improve? ({task}, mean over seeds)")
    return figure


def _panel(axes: Axes, cells: list[Series], look: Look) -> None:
    for column, (_, style) in PARTS.items():
        own = [c for c in cells if column in c and np.isfinite(c[column]).any()]
        if own:
            step, value = mean_curve(own, column)
            axes.plot(step, value, color=look.color, **style)
