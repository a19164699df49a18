"""The room that a figure has where it will be seen: width, greatest height, and fonts that are read there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import Collection, PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

MANY = 500  # points of a cloud that is an image in a vector file: as paths they make it slow
POINTS = 72.0  # in an inch


@dataclass(frozen=True)
class Size:
    """Of a figure as it is printed or shown, never scaled afterwards.

    Attributes:
        width, tallest: inches.
        filled: whether the figure takes all of the height.
        font, small: points; of titles and labels, and of ticks, legends and notes.
        scale: of lines and markers, 1 those of a report.
        across: panels beside one another.
    """

    name: str
    width: float
    tallest: float
    filled: bool
    font: float
    small: float
    scale: float
    across: int

    @property
    def line(self) -> float:
        """Height of a line of small text, in inches."""
        return 1.3 * self.small / POINTS

    @property
    def rc(self) -> dict[str, Any]:
        """Settings of matplotlib."""
        ticks = {f"{axis}tick.{name}": value for axis in "xy" for name, value in self._ticks.items()}
        return ticks | {
            "font.size": self.font,
            "axes.titlesize": self.font,
            "axes.labelsize": self.font,
            "axes.linewidth": 0.75 * self.scale,
            "axes.labelpad": 2.5 * self.scale,
            "axes.titlepad": 4.0 * self.scale,
            "legend.fontsize": self.small,
        }

    @property
    def _ticks(self) -> dict[str, Any]:
        return {"labelsize": self.small, "major.size": 3 * self.scale, "major.pad": 2.5 * self.scale,
                "major.width": 0.75 * self.scale, "minor.size": 1.8 * self.scale}  # fmt: skip


SIZES = {
    size.name: size
    for size in (
        Size("column", 3.3, 8.8, False, 8.0, 7.0, 0.8, 2),
        Size("text", 6.8, 8.8, False, 8.0, 7.0, 0.85, 4),
        Size("slide", 10.0, 5.6, True, 14.0, 12.0, 1.6, 4),
    )
}


def resized(figure: Figure, size: Size) -> None:
    """Fonts, lines and markers of this size, whatever a report has; all are vectors but dense clouds."""
    for axes in figure.axes:
        for text in (child for child in axes.get_children() if isinstance(child, Text)):  # titles too
            text.set_fontsize(size.small if text in axes.texts else size.font)
        axes.yaxis.label.set_fontsize(size.font)
        axes.tick_params(labelsize=size.small)
        drawn = [*axes.lines, *axes.collections, *axes.patches]
        thickened(drawn, size.scale)
        for artist in drawn:
            artist.set_rasterized(isinstance(artist, PathCollection) and np.shape(artist.get_offsets())[0] > MANY)


def thickened(artists: Iterable[Artist], factor: float) -> None:
    """Lines, borders and markers so many times as wide."""
    for artist in artists:
        if isinstance(artist, Line2D):
            artist.set_markersize(artist.get_markersize() * factor)
            artist.set_markeredgewidth(artist.get_markeredgewidth() * factor)
        if isinstance(artist, PathCollection):
            artist.set_sizes(artist.get_sizes() * factor**2)
        if isinstance(artist, Line2D | Patch):
            artist.set_linewidth(artist.get_linewidth() * factor)
        if isinstance(artist, Collection):
            artist.set_linewidth(np.multiply(artist.get_linewidth(), factor).tolist())
