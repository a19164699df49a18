"""Calibration of every method on one data set, a panel a method: the curve, and the number of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnbench.names import TEST
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import GREY, Style, grid
from bnnbench.reporting.figures.text import headline, label, panel_title, wrapped
from bnnbench.reporting.gather import Arrays, Curves, gather, shown
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.series import pit_deviation, pool_bins
from bnnbench.reporting.statistics import size_ratio
from bnnbench.reporting.tables.text import cell

Cells = dict[str, list[Arrays]]  # row -> one series a cell
LABEL = {"fc": "white", "alpha": 0.7, "lw": 0, "pad": 0.8}
KOLMOGOROV = 1.358  # 95 % quantile of sqrt(n) times the largest distance of an ECDF of n points from the truth
SHEETS = 40  # panels of all sheets of a section: more nobody compares


@dataclass(frozen=True)
class Sheet:
    """What the panels of a figure share."""

    title: str
    note: str
    xlabel: str
    ylabel: str
    ylim: tuple[float, float]
    height: float  # inches; the width is that of two panels in three inches


def calibration_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """Curves of few enough methods and data sets; of more there are the numbers, in a figure and a table."""
    pit = _sheets(gather(selection, section, "pit_ecdf", TEST), section)
    numbers = _numbers(selection, section, "calibration_error")
    for task, cells in pit.items():
        alt = f"PIT calibration curves of {len(cells)} methods on {task}; a flat line is calibrated."
        figure = partial(pit_figure, cells, styles, task, test_points(section, task), numbers.get(task, {}))
        yield Plot(f"calibration-{task}", alt, "", figure)
    numbers = _numbers(selection, section, "ece")
    for task, cells in _sheets(gather(selection, section, "reliability", TEST), section).items():
        alt = f"Reliability diagrams of {len(cells)} methods on {task}; the diagonal is calibrated."
        text = "Points on the diagonal are right as often as they say; the bars show where the predictions are."
        figure = partial(reliability_figure, cells, styles, task, numbers.get(task, {}))
        yield Plot(f"reliability-{task}", alt, text, figure)


def _sheets(curves: Curves, section: Section) -> dict[str, dict[str, list]]:
    """Cells by task and row, in the section's order; none if that were too many panels to be looked at."""
    if len(curves) > SHEETS:
        return {}
    rows, tasks = shown(section, curves)
    return {task: {row: curves[row, task] for row in rows if (row, task) in curves} for task in tasks}


def _numbers(selection: Selection, section: Section, metric: str) -> dict[str, dict[str, str]]:
    """The texts of the metric's table, by task and row."""
    found: dict[str, dict[str, str]] = {}
    for (row, task), entry in compared(selection, section, metric).entries.items():
        text, _, mark = cell(entry)
        found.setdefault(task, {})[row] = f"{text} {mark}".strip()
    return found


def test_points(section: Section, task: str) -> float:
    """Number of different test rows behind an average over splits: splits beyond n/n_test repeat rows."""
    own = section.scores[section.scores["task"] == task]
    ratio = size_ratio(own, section.rule)
    each = own.loc[own["evaluation"] == TEST, "n"].astype(float).mean()
    return float(each) * min(own["split"].nunique(), (1 + ratio) / ratio)


def pit_figure(cells: Cells, styles: dict[str, Style], task: str, points: float, numbers: dict[str, str]) -> Figure:
    """How far the ECDF of the probability integral transform, mean over splits, is from the uniform one.

    Args:
        points: number of different test rows, for the band in which a calibrated method stays.
        numbers: calibration errors as the table has them, by row.
    """
    deviations = {row: pit_deviation(own) for row, own in cells.items()}
    reach = float(np.clip(1.1 * max(np.abs(d).max() for _, d in deviations.values()), 0.08, 1.0))

    def panel(axes: Axes, row: str) -> None:
        level, off = deviations[row]
        band = KOLMOGOROV / np.sqrt(points)
        if np.isfinite(band):
            axes.axhspan(-band, band, color="#e6e6e6", lw=0, zorder=0)
        axes.axhline(0, color=GREY, lw=0.8, zorder=2)
        axes.fill_between(level, 0, off, color=styles[row].color, alpha=0.35, lw=0, zorder=3)
        axes.plot(level, off, color=styles[row].color, lw=1.4, zorder=4)

    note = (
        "Up, then down: predictive too narrow. Down, then up: too wide. Above zero all along: predictions too high; "
        "below: too low. Grey: where a calibrated method stays with probability 95 %. Number: calibration error of the "
        "table, a mean over splits of distances from zero; the curve is a mean over splits and so may be nearer."
    )
    sheet = Sheet("Are predicted probabilities right? PIT curves, mean over splits", note, "Predicted probability",
                  "observed − predicted", (-reach, reach), 1.1)  # fmt: skip
    return _sheet(list(cells), task, styles, panel, numbers, sheet)


def reliability_figure(cells: Cells, styles: dict[str, Style], task: str, numbers: dict[str, str]) -> Figure:
    """Accuracy against confidence in bins pooled over splits, with the share of predictions in each bin.

    Args:
        numbers: expected calibration errors as the table has them, by row.
    """

    def panel(axes: Axes, row: str) -> None:
        lower = np.asarray(cells[row][0]["lower"], dtype=float)
        width = float(np.diff([*lower, 1.0]).min())
        count, confidence, accuracy = pool_bins(cells[row])
        seen = count > 0
        axes.bar(lower, count / max(count.sum(), 1), width=width, align="edge", color="#dddddd", lw=0, zorder=1)
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, zorder=2)
        axes.plot(confidence[seen], accuracy[seen], color=styles[row].color, lw=1.2, marker="o", ms=3.5, zorder=3)

    note = (
        "Points below the diagonal: overconfident; above: underconfident. Grey bars: share of the predictions. "
        "Number: ECE of the table, a mean over splits; bins are pooled over splits and so may be nearer the diagonal."
    )
    title = "Is confidence accuracy? Reliability, bins pooled over splits"
    return _sheet(list(cells), task, styles, panel, numbers, Sheet(title, note, "Confidence", "accuracy", (0, 1), 1.5))


def _sheet(
    rows: list[str],
    task: str,
    styles: dict[str, Style],
    panel: Callable[[Axes, str], None],
    numbers: dict[str, str],
    sheet: Sheet,
) -> Figure:
    """A grid of methods, with a number in each panel."""
    down, across = grid(len(rows), 4)
    width = max(6.8, 1.0 + 1.6 * across)
    figure = Figure(figsize=(width, 1.5 + (sheet.height + 0.25) * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)  # not shared: of many shared axes each update visits all
    for i, (axes, row) in enumerate(zip(panels.flat, rows, strict=False)):
        axes.set(xlim=(0, 1), ylim=sheet.ylim, xticks=(0, 0.5, 1))
        axes.set_xticklabels(["0", "0.5", "1"])
        axes.tick_params(labelleft=i % across == 0, labelbottom=i >= len(rows) - across)
        panel(axes, row)
        axes.text(0.04, 0.97, numbers.get(row, ""), va="top", fontsize=7.5, transform=axes.transAxes, color="#333333",
                  zorder=5, bbox=LABEL)  # fmt: skip
        panel_title(axes, row, (width - 0.6) / across - 0.1, styles[row].color, size=9)
    for axes in panels.flat[len(rows) :]:
        axes.set_axis_off()
    headline(figure, f"{sheet.title} ({label(task)})")
    note = wrapped(f"{sheet.xlabel} (x), {sheet.ylabel} (y). {sheet.note}", width, 8.5)
    figure.supxlabel(note, fontsize=8.5, x=0.01, ha="left")
    return figure
