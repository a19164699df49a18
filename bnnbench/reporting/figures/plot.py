"""A figure with the words that belong to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pages speak of figures without drawing them
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure that is not drawn yet: its file stem, its text alternative, what to see in it, and what makes it.

    `figure` is a `partial` of a function of a module, so that another process can call it.
    """

    name: str
    alt: str
    text: str
    figure: Callable[[], Figure]
