"""A figure with the words that belong to it."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure, its file stem, its text alternative, and what to see in it."""

    name: str
    alt: str
    text: str
    figure: Figure
