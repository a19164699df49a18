"""One style for all figures: a method has the same colour, marker and line everywhere, whatever else is shown.

Colours are those of `palette`; markers go round by the order of registration, lines by the place in the family.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib import style
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bnnbench.reporting.figures.palette import OTHERS, Member, members
from bnnbench.reporting.statistics import Frame

MARKERS = "osD^vP<X>"
LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
GREY, INK = "#8a8a8a", "#222222"
RC = {
    "svg.hashsalt": "bnnbench",
    "svg.fonttype": "none",  # text as text
    "pdf.fonttype": 42,  # and in TrueType, which editors and journals take
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # of equal widths, for a reader who lacks the first
    "path.simplify_threshold": 0.2,  # points by which a long line may be off
    "text.parse_math": False,  # names are no formulas, whatever dollars are in them
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Style:
    """How a row of a table is plotted; configurations of a method share its colour and are hollow and dashed."""

    color: str
    marker: str
    line: str | tuple
    hollow: bool = False


@contextmanager
def drawing(more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """The package's settings, and `more`, on matplotlib's defaults, whatever the user's matplotlibrc says."""
    with style.context(["default", RC | dict(more or {})]), matplotlib.rc_context({"axes.grid": False}):
        yield


def styles(methods: Frame, rows: Sequence[str]) -> dict[str, Style]:
    """Style of every row name, fixed by the methods that are registered; one that is not is grey."""
    known = members(methods)
    place = {name: i for i, name in enumerate(known)}
    found, variants = {}, {}
    for row in rows:
        name, _, label = row.partition(" [")
        if label:
            variants[name] = variants.get(name, 0) + 1
        member = known.get(name, Member(OTHERS, 0))
        line = LINES[(member.place + variants.get(name, 0)) % len(LINES)]
        found[row] = Style(member.color, MARKERS[place.get(name, 0) % len(MARKERS)], line, bool(label))
    return found


def distinct(found: dict[str, Style]) -> dict[str, Style]:
    """The same styles, where they are few each with a marker of its own: what print in grey tells them apart by."""
    kept: dict[str, Style] = {}
    for row, own in found.items():
        taken = {other.marker for other in kept.values()}
        free = [marker for marker in (own.marker, *MARKERS) if marker not in taken]
        kept[row] = replace(own, marker=free[0]) if free else own
    return kept


def plain_decades(axis: Axis) -> None:
    """Powers of ten in plain digits, for text is not read as formulas."""
    axis.set_major_locator(LogLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def grid(count: int, columns: int) -> tuple[int, int]:
    """Rows and columns of small multiples."""
    columns = min(count, columns)
    return math.ceil(count / columns), columns


def robust_limits(values: np.ndarray, reach: float = 6.0, pad: float = 0.08) -> tuple[float, float]:
    """Axis limits that show the bulk; what lies more than `reach` middle-half widths out of it is left outside."""
    v = np.asarray(values, dtype=float)
    v = v[np.isfinite(v)]
    if not len(v):
        return 0.0, 1.0
    low, high = np.percentile(v, [25, 75])
    width = max(high - low, 0.01 * abs(float(np.median(v))), 1e-12)
    kept = v[(v >= low - reach * width) & (v <= high + reach * width)]
    margin = pad * max(float(np.ptp(kept)), width)
    return float(kept.min() - margin), float(kept.max() + margin)


SHARP, DENSE = 150, 120  # pixels an inch: of a PNG, and of those parts of other files that are too dense for lines
PATHS, DIGITS = re.compile(rb' d="[^"]*"'), re.compile(rb"(\.\d\d)\d+")


def render(figure: Figure, formats: Sequence[str], sharp: float = SHARP, dense: float = DENSE) -> dict[str, bytes]:
    """Bytes by format, without dates or program versions: same figure, same bytes."""
    found = {}
    for name in formats:
        figure.set_dpi(sharp if name == "png" else dense)
        found[name] = WRITERS[name](figure)
        figure.set_layout_engine("none")  # laid out by now; each format would do it again
    return found


def _svg(figure: Figure) -> bytes:
    data = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(data, metadata={"Date": None, "Creator": None})
    return PATHS.sub(_short, data.getvalue())


def _short(path: re.Match[bytes]) -> bytes:
    """Coordinates to a hundredth of a point, a third of the file."""
    return DIGITS.sub(rb"\1", path.group())


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data, metadata={"Software": None})
    return data.getvalue()


def _pdf(figure: Figure) -> bytes:
    data = io.BytesIO()
    FigureCanvasPdf(figure).print_pdf(data, metadata={"Creator": None, "Producer": None, "CreationDate": None})
    return data.getvalue()


WRITERS = {"svg": _svg, "png": _png, "pdf": _pdf}
