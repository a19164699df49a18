"""The objective that variational methods minimise, and its parts: negative log-likelihood and KL from the prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from bnnbench.reporting.figures.style import INK, Style, grid, plain_decades
from bnnbench.reporting.figures.text import headline, label, panel_title
from bnnbench.reporting.gather import Arrays
from bnnbench.reporting.select import Section
from bnnbench.reporting.series import mean_curve
from bnnbench.reporting.targets import is_moved

LINES = {  # column -> style; the sum lies wide and pale under its parts, for often one of them is nearly all
    "loss": {"ls": "-", "lw": 5, "alpha": 0.3},
    "nll": {"ls": (0, (1.2, 1.2)), "lw": 1.6},
    "kl": {"ls": (0, (5, 1.5)), "lw": 1.6},
}


@dataclass(frozen=True)
class Objective:
    """What the stored columns `loss`, `nll` and `kl` are, and the question that a figure of them asks."""

    question: str
    loss: str
    kl: str
    nll: str = "negative log-likelihood"


BOUND = Objective("Which part of the bound do the variational methods still improve?", "−ELBO", "KL from the prior")
TEMPERED = Objective(
    "Which part of a tempered objective, which is no bound, is still improved?", "tempered objective",
    "tempered part: −E log prior − T × entropy, or weighted KL; no divergence",
)  # fmt: skip


def tempered(section: Section) -> frozenset[str]:
    """Rows with a temperature, or a weight of the KL, other than 1: their loss is no bound on the evidence."""
    cells = section.attempts.drop_duplicates("row")
    return frozenset(
        str(row)
        for row, text in zip(cells["row"], cells["configuration"], strict=True)
        if is_moved(text, ("temperature", "beta"))
    )


def objective_figure(
    objective: Objective, curves: dict[str, list[Arrays]], styles: dict[str, Style], task: str
) -> Figure:
    """One panel a method; logarithmic, for the parts differ by orders of magnitude."""
    down, across = grid(len(curves), 3)
    figure = Figure(figsize=(max(5.8, 1.0 + 2.6 * across), 1.5 + 2.1 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for i, (axes, (row, cells)) in enumerate(zip(panels.flat, curves.items(), strict=False)):
        _panel(axes, cells, styles[row])
        panel_title(axes, row, 2.4, styles[row].color)
        axes.tick_params(labelbottom=True)
        if i >= len(curves) - across:
            axes.set_xlabel("step")
    for axes in panels.flat[len(curves) :]:
        axes.set_axis_off()
    _scale(panels[0, 0], [value for cells in curves.values() for c in cells for value in c["loss"]])
    panels[0, 0].xaxis.set_major_formatter(EngFormatter(sep=""))
    panels[0, 0].locator_params(axis="x", nbins=4)
    for axes in panels[:, 0]:
        axes.set_ylabel("nats per image")
    seen = [k for k in LINES if any(k in c for cells in curves.values() for c in cells)]
    handles = [Line2D([], [], color=INK, label=getattr(objective, k), **LINES[k]) for k in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) if across > 2 else 1, handlelength=3)
    headline(figure, f"{objective.question} ({label(task)}, mean over seeds)")
    return figure


def _scale(axes: Axes, loss: list[float]) -> None:
    """Logarithmic, to both sides of zero where the objective is negative."""
    if np.nanmin(loss) > 0:
        axes.set_yscale("log")
        plain_decades(axes.yaxis)
    else:
        axes.set_yscale("symlog", linthresh=1.0)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _panel(axes: Axes, cells: list[Arrays], style: Style) -> None:
    for column, line in LINES.items():
        own = [c for c in cells if column in c and np.isfinite(c[column]).any()]
        if own:
            step, value = mean_curve(own, column)
            axes.plot(step, value, color=style.color, **line)
