"""A sheet of panels with its legend below, in the room of a size."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnnbench.errors import UserError
from bnnbench.reporting.figures.paper.size import Size, resized, thickened
from bnnbench.reporting.figures.style import Style
from bnnbench.reporting.figures.text import name_lines

LEAST = 0.7  # of a panel's usual height, where the height of the whole is given
WIDE = 0.7  # of the room, for names of usual letters: one of wide letters has room, too
NARROWEST = 0.4  # inches of a panel at a font of 8 points
TOO_SMALL = "name fewer methods or tasks, or a larger --size"


@dataclass(frozen=True)
class Sheet:
    """A drawn figure before its legend.

    Attributes:
        caption: what a reader of the paper must be told.
        handles: of the legend below the panels.
    """

    figure: Figure
    caption: str
    handles: Sequence[Line2D | Patch] = field(default_factory=list)


def panels(
    size: Size, down: int, across: int, height: float, more: float = 0.0, **shared: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure and its empty panels, line by line.

    Args:
        height: usual inches of a line of panels at a font of 8 points, with their labels; `more` those of all else.

    Raises:
        UserError: they are more than the size has room for.
    """
    usual = (down * height + more) * size.font / 8
    least = (down * height * LEAST + more) * size.font / 8 if size.filled else usual
    if least > size.tallest:
        raise UserError(
            f"The figure would be {least:.1f} in tall, and --size {size.name} has {size.tallest:g} in; {TOO_SMALL}."
        )
    pad = 0.03 * size.font / 8
    figure = Figure(
        figsize=(size.width, size.tallest if size.filled else usual),
        layout=ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=0.02, hspace=0.02),
    )
    return figure, figure.subplots(down, across, squeeze=False, **shared).tolist()


def grid_of(size: Size, count: int, across: int | None = None) -> tuple[int, int]:
    """Lines and columns of so many panels: as many lines as needed, of equal lengths where that can be."""
    most = min(count, across or size.across)
    down = math.ceil(count / most)
    return down, math.ceil(count / down)


def laid_out(lines: Sequence[Sequence[Axes]], count: int) -> Iterator[tuple[Axes, bool, bool]]:
    """The first panels, each with whether it is the leftmost, and the lowest of its column; the rest vanish."""
    across = len(lines[0])
    for place, axes in enumerate(axes for line in lines for axes in line):
        if place < count:
            yield axes, place % across == 0, place + across >= count
        else:
            axes.set_axis_off()


def titled(axes: Axes, name: str, size: Size, inches: float, color: str = "black") -> None:
    """The name of a data set or method above a panel, no wider than that."""
    axes.set_title(name_lines(name, inches, size.font), loc="left", fontweight="bold", color=color)


def handle(row: str, style: Style, size: Size) -> Line2D:
    """A method in the legend, a long name on several lines."""
    name = name_lines(row, WIDE * (size.width - 0.6 * size.font / 8), size.small)
    return Line2D([], [], color=style.color, ls=style.line, marker=style.marker, ms=4, lw=1.3, label=name,
                  mfc="white" if style.hollow else style.color)  # fmt: skip


def finished(sheet: Sheet, size: Size) -> Figure:
    """The figure at its size, with its legend, laid out; its caption is its label.

    Raises:
        UserError: it has no room.
    """
    figure = sheet.figure
    resized(figure, size)
    canvas = FigureCanvasAgg(figure)
    if sheet.handles:
        thickened(sheet.handles, size.scale)
        legend = _legend(figure, sheet.handles, size)
        if not size.filled:
            height = legend.get_window_extent(canvas.get_renderer()).height / figure.dpi
            figure.set_figheight(figure.get_figheight() + height)
    if not _fits(canvas, size):
        raise UserError(f"The names leave no room for the panels at --size {size.name}; {TOO_SMALL}.")
    figure.set_label(sheet.caption)
    return figure


def _fits(canvas: FigureCanvasAgg, size: Size) -> bool:
    """Lay the figure out, and say whether its panels kept some room."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied", UserWarning)
        try:
            canvas.draw()
        except UserWarning:
            return False
    figure = canvas.figure
    widths = [axes.get_window_extent().width / figure.dpi for axes in figure.axes if axes.axison]
    return min(widths) >= NARROWEST * size.font / 8


def _legend(figure: Figure, handles: Sequence[Line2D | Patch], size: Size) -> Legend:
    """Below the panels, in as few lines as fit into the width."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    columns = len(handles)
    while True:
        legend = figure.legend(
            handles=list(handles), loc="outside lower center", ncols=columns, handlelength=2.4, handletextpad=0.4,
            columnspacing=1.2, labelspacing=0.35, borderpad=0.2, borderaxespad=0.2,
        )  # fmt: skip
        if columns == 1 or legend.get_window_extent(renderer).width <= size.width * figure.dpi:
            return legend
        legend.remove()
        down = math.ceil(len(handles) / (columns - 1))
        columns = math.ceil(len(handles) / down)
