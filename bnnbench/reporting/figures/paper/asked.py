"""What a figure is asked to show, and what the database has of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bnnbench.errors import UserError
from bnnbench.registry import nearest
from bnnbench.reporting.figures.paper.size import Size
from bnnbench.reporting.figures.style import Style
from bnnbench.reporting.gather import Curves, gather
from bnnbench.reporting.select import Section, Selection

Key = tuple[str, str]  # row and data set


@dataclass(frozen=True)
class Asked:
    """Sections that hold nothing but the methods and data sets asked for.

    Attributes:
        rows: methods, as named; all in the order of registration where none is.
        named: whether the methods were named: then each must be shown.
        metric: None for the usual one of the figure.
        reference: the row whose line others are beside, None for the usual one.
    """

    selection: Selection
    rows: tuple[str, ...]
    named: bool
    styles: dict[str, Style]
    size: Size
    metric: str | None = None
    reference: str | None = None

    @property
    def sections(self) -> tuple[Section, ...]:
        """In the order of their tasks."""
        return self.selection.sections

    @property
    def metrics(self) -> tuple[str, ...]:
        """Headline metrics of any of the sections."""
        return tuple(dict.fromkeys(metric for section in self.sections for metric in section.metrics))

    def gathered(self, name: str, evaluation: str | None, column: str = "") -> Curves:
        """Stored curves of all sections; see `gather`."""
        return self.joined(lambda selection, section: gather(selection, section, name, evaluation, column))

    def joined(self, of: Callable[[Selection, Section], Mapping[Any, Any]]) -> dict[Any, Any]:
        """What a function gives for each of the sections, in one."""
        return {key: value for section in self.sections for key, value in of(self.selection, section).items()}

    def metric_of(self, usual: Iterable[str], known: Iterable[str]) -> str:
        """The metric asked for, or the first usual one of those known.

        Raises:
            UserError: the one asked for is not known, or none is.
        """
        choices = list(dict.fromkeys(known))
        if self.metric is None:
            found = next((metric for metric in usual if metric in choices), None)
            if found is None:
                raise UserError("There are no scores to draw of these methods on these tasks.")
            return found
        if self.metric not in choices:
            raise UserError(f"No scores by --metric '{self.metric}' here{nearest(self.metric, choices)}")
        return self.metric


@dataclass(frozen=True)
class Found:
    """What there is to draw, by row and data set, with both in the order that they are drawn in.

    Attributes:
        note: what the caption says of what is left out.
    """

    data: dict[Key, Any]
    rows: tuple[str, ...]
    tasks: tuple[str, ...]
    note: str = ""


def found(asked: Asked, data: Mapping[Key, Any], note: str = "") -> Found:
    """In the order of the methods as named, and of tasks in their sections."""
    tasks = dict.fromkeys(task for section in asked.sections for task in section.tasks)
    rows, there = {row for row, _ in data}, {task for _, task in data}
    return Found(dict(data), tuple(r for r in asked.rows if r in rows), tuple(t for t in tasks if t in there), note)
