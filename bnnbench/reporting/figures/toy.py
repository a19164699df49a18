"""What the uncertainty looks like: data, predictive bands and the truth, one panel a method, the exact answer first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnnbench.names import GRID, TRAIN
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import GREY, INK, Style, grid, robust_limits
from bnnbench.reporting.figures.text import headline, label, panel_title
from bnnbench.reporting.gather import Arrays, gather
from bnnbench.reporting.select import Section, Selection


@dataclass(frozen=True)
class Bands:
    """One cell: the bands on a grid and the rows trained on (None if not stored)."""

    bands: Arrays
    data: Arrays | None


EXACT = "exact GP posterior"
EXACT_STYLE = Style("#555555", "o", "-")


def toy_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """One figure a task whose predictive was stored on a grid."""
    cells, answers = toy_bands(selection, section), exact_bands(selection, section)
    for task in section.tasks:
        own = {row: cells[row, task][0] for row in section.rows if (row, task) in cells}
        if own:
            exact = answers.get(task)
            which = " (first seed)" if any(len(cells[row, task]) > 1 for row in own) else ""
            known = "data and truth" if any("truth" in p.bands for p in own.values()) else "data"
            alt = f"Predictive mean, noise band and total band of {len(own)} methods on {task}, with {known}."
            alt += " First the exact posterior." * bool(exact)
            yield Plot(task, alt, "", partial(toy_figure, task, own, styles, which, exact))


def toy_bands(selection: Selection, section: Section) -> dict[tuple[str, str], list[Bands]]:
    """By row and task, one a cell."""
    bands, data = gather(selection, section, "bands", GRID), gather(selection, section, "data", TRAIN)
    return {key: [Bands(cell, (data.get(key) or [None])[0]) for cell in cells] for key, cells in bands.items()}


def exact_bands(selection: Selection, section: Section) -> dict[str, Bands]:
    """By task, where the posterior under the process that made the data was stored."""
    answers = gather(selection, section, "exact", GRID)
    data = {task: cells[0] for (_, task), cells in gather(selection, section, "data", TRAIN).items()}
    return {task: exact_picture(cells[0], data.get(task)) for (_, task), cells in reversed(answers.items())}


def exact_picture(exact: Arrays, data: Arrays | None) -> Bands:
    """The posterior under the process that made the data, in the bands of a method: noise known, f Gaussian."""
    std, noise = np.asarray(exact["std"], dtype=float), np.asarray(exact["truth_std"], dtype=float)
    bands = {"aleatoric_std": noise, "epistemic_std": std, "total_std": np.hypot(std, noise)}
    return Bands(exact | bands, data)


def toy_figure(
    task: str, methods: dict[str, Bands], styles: dict[str, Style], which: str = "", exact: Bands | None = None
) -> Figure:
    """Bands are two standard deviations wide on each side; the axes are those of data and truth, shared."""
    pictures = ({EXACT: exact} if exact else {}) | methods
    styles = styles | {EXACT: EXACT_STYLE}
    rows, columns = grid(len(pictures), 3 if len(pictures) <= 9 else 4)
    figure = Figure(figsize=(0.6 + (3.0 if columns < 4 else 2.7) * columns, 1.1 + 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (row, picture) in zip(panels.flat, pictures.items(), strict=False):
        panel(axes, picture, styles[row])
        if row == EXACT:
            function_band(axes, picture.bands)
        panel_title(axes, row, 2.5, styles[row].color)
    for axes in panels.flat[len(pictures) :]:
        axes.set_axis_off()
    panels[0, 0].set_ylim(*limits(pictures))
    headline(figure, f"{label(task)}: what each method believes{which}")
    for axes in panels.flat[max(0, len(pictures) - columns) : len(pictures)]:
        axes.set_xlabel("input x")
        axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("target y")
    truth = any("truth" in p.bands for p in pictures.values())
    handles = legend(truth, exact is not None)
    ncols = len(handles) if columns > 3 else min(len(handles), 6)
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols, columnspacing=1.2)
    return figure


def panel(axes: Axes, picture: Bands, style: Style) -> None:
    """One method."""
    bands = {name: np.asarray(values, dtype=float) for name, values in picture.bands.items()}
    order = np.argsort(bands["x"], kind="stable")
    bands = {name: values[order] for name, values in bands.items()}
    x, mean = bands["x"], bands["mean"]
    for name, alpha in (("total_std", 0.22), ("aleatoric_std", 0.32)):
        if name in bands:
            low, high = mean - 2 * bands[name], mean + 2 * bands[name]
            axes.fill_between(x, low, high, color=style.color, alpha=alpha, lw=0, rasterized=True)
    if picture.data is not None:
        look = {"color": INK, "ms": 4.5, "alpha": 0.7, "mew": 0, "zorder": 3}
        axes.plot(picture.data["x"], picture.data["y"], ".", rasterized=True, **look)
    axes.plot(x, mean, color=style.color, lw=1.8, zorder=4)
    if "truth" in bands:
        axes.plot(x, bands["truth"], color=INK, lw=1.1, ls=(0, (4, 2)), zorder=5)
        if "truth_std" in bands:
            for sign in (-2, 2):
                axes.plot(x, bands["truth"] + sign * bands["truth_std"], color=INK, lw=0.8, ls=(0, (1, 2)), zorder=5)


def function_band(axes: Axes, bands: Arrays) -> None:
    """Two standard deviations of f itself; of a method only those of y and of the noise are bands."""
    order = np.argsort(bands["x"], kind="stable")
    x, mean, std = (np.asarray(bands[k], dtype=float)[order] for k in ("x", "mean", "epistemic_std"))
    for sign in (-2, 2):
        axes.plot(x, mean + sign * std, color=EXACT_STYLE.color, lw=1.0, zorder=4)


def limits(pictures: dict[str, Bands]) -> tuple[float, float]:
    """From data and truth, so that an exploding band does not shrink the rest."""
    parts = []
    for picture in pictures.values():
        if picture.data is not None:
            parts.append(np.asarray(picture.data["y"], dtype=float))
        if "truth" in picture.bands:
            truth = np.asarray(picture.bands["truth"], dtype=float)
            std = np.asarray(picture.bands.get("truth_std", np.zeros_like(truth)), dtype=float)
            parts += [truth - 2 * std, truth + 2 * std]
    if not parts:
        parts = [np.asarray(p.bands["mean"], dtype=float) for p in pictures.values()]
    return robust_limits(np.concatenate(parts), pad=0.2)


def legend(truth: bool, exact: bool) -> list[Line2D | Patch]:
    """What the lines and bands of all panels are."""
    found: list[Line2D | Patch] = [
        Line2D([], [], marker=".", ls="", color=INK, ms=4.5, alpha=0.7, label="training data"),
        Line2D([], [], color=GREY, lw=1.8, label="predictive mean"),
        Patch(color=GREY, alpha=0.55, lw=0, label="noise ± 2 sd (aleatoric)"),
        Patch(color=GREY, alpha=0.25, lw=0, label="total ± 2 sd"),
    ]
    if truth:
        found += [
            Line2D([], [], color=INK, lw=1.1, ls=(0, (4, 2)), label="true function"),
            Line2D([], [], color=INK, lw=0.8, ls=(0, (1, 2)), label="true noise ± 2 sd"),
        ]
    if exact:
        found.append(Line2D([], [], color=EXACT_STYLE.color, lw=1.0, label="exact f ± 2 sd"))
    return found
