"""Words in figures: names of any content and length, wrapped to the room that they have."""

from __future__ import annotations

import re
import textwrap
from functools import cache

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HEAD, TAIL = 40, 20  # characters that are left of a long name
PER_INCH = 126.0  # characters in an inch, times their size in points: 11.5 of a title's 11 points
BOLD = 0.88  # as many of them where they are bold
SETTING = re.compile(r",(?=\S)")


def label(name: str) -> str:
    """A name of the database on one line, without characters that the font lacks, its middle cut where it is long."""
    drawable = "".join(c if ord(c) in _glyphs() else " " if c.isspace() or not c.isprintable() else "?" for c in name)
    text = " ".join(drawable.split())
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}…{text[-TAIL:]}"


@cache
def _glyphs() -> frozenset[int]:
    """Characters of matplotlib's own font."""
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def wrapped(text: str, inches: float, size: float, bold: bool = False) -> str:
    """Lines that are no wider."""
    return textwrap.fill(text, max(8, int(inches * PER_INCH / size * (BOLD if bold else 1))))


def name_lines(name: str, inches: float, size: float = 10) -> str:
    """A bold name no wider than this; a configuration breaks between its settings."""
    return wrapped(SETTING.sub(", ", label(name)), inches, size, bold=True)


def headline(figure: Figure, text: str) -> None:
    """A title that does not leave a narrow figure."""
    figure.suptitle(wrapped(text, figure.get_figwidth(), 11), x=0.01, ha="left", fontsize=11)


def panel_title(axes: Axes, name: str, inches: float, color: str = "black", size: float = 10) -> None:
    """The name of a method or data set above its panel, no wider than that."""
    axes.set_title(name_lines(name, inches, size), loc="left", fontweight="bold", color=color, fontsize=size)
