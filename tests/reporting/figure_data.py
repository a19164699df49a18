"""Figures of a database as matplotlib holds them, and what can be read off them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from report_data import pages

from bnnbench.reporting.build import build
from bnnbench.reporting.figures import style
from bnnbench.reporting.figures.section import plots_of
from bnnbench.reporting.select import select
from bnnbench.store.store import ResultStore


def drawn(store: ResultStore) -> dict[str, Figure]:
    """All figures of all sections by name, unrendered."""
    selection = select(store)
    with style.drawing():
        return {plot.name: plot.figure() for section in selection.sections for plot in plots_of(selection, section)}


def written(store: ResultStore, out: Path, monkeypatch) -> str:
    """The pages of a report, built without its pictures."""
    with monkeypatch.context() as patch:
        patch.setattr(style, "render", lambda figure, formats: {})
        build(store, out)
    return pages(out)


def texts(figure: Figure) -> list[str]:
    """All that is written in a figure's panels."""
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def panel(figure: Figure, title: str):
    """The panel of this title."""
    (found,) = [axes for axes in figure.axes if axes.get_title("left").replace("\n", " ") == title]
    return found


def marks(axes) -> list[tuple[float, float, str]]:
    """x, y and marker of every single point in a panel, those at the border by the border's x."""
    found = []
    for line in axes.lines:
        x, y = np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata())
        if len(x) == 1 and line.get_marker() not in ("", "None", None):
            found.append((float(x[0]), float(y[0]), str(line.get_marker())))
    return found


def overlapping_titles(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of titles of panels that cover one another, and titles that leave the figure."""
    with style.drawing():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
    written: list[Text] = [t for a in figure.axes for t in (a.title, a._left_title, a._right_title) if t.get_text()]
    written += [figure._suptitle] if figure._suptitle else []
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in written]
    bad = [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if _covers(a, b)]
    edge = figure.bbox
    return bad + [(name, "the border") for name, box in boxes if box.x0 < edge.x0 - 1 or box.x1 > edge.x1 + 1]


def _covers(a, b) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
