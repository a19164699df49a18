"""What a chart is: how its data are found, how it is drawn, and for whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bnnbench.reporting.figures.paper.asked import Asked, Found
from bnnbench.reporting.figures.paper.sheet import Sheet


@dataclass(frozen=True)
class Chart:
    """One figure by its name.

    Attributes:
        shows: one sentence.
        needs: which results it is drawn from, and how they come into the database.
        find: what there is to draw; no data where the database has none.
        draw: the sheet of what was found, with at least one method and data set.
        most: methods that can be told apart. tasks: data sets, the same.
        takes: options that mean something here, of `metric` and `reference`.
    """

    name: str
    shows: str
    needs: str
    find: Callable[[Asked], Found]
    draw: Callable[[Asked, Found], Sheet]
    most: int = 40
    tasks: int = 12
    takes: tuple[str, ...] = ()
