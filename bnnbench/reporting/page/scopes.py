"""What a leaderboard is over: the data sets of one section, or those of several that share split rule and budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bnnbench.reporting.comparison import Comparison
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection


@dataclass(frozen=True)
class Column:
    """One data set of a scope: its section, and the metric compared on it."""

    section: Section
    task: str
    table: Comparison


@dataclass(frozen=True)
class Scope:
    """Sections that are ranked together.

    Attributes:
        name: unique; `uci-10fold`, or `all-10fold` of several.
        title: the groups in words.
    """

    name: str
    title: str
    sections: tuple[Section, ...]

    @property
    def rule(self) -> str:
        """Split rule of all of them."""
        return self.sections[0].rule

    @property
    def budget(self) -> str:
        """Budget of all of them."""
        return self.sections[0].budget

    @property
    def rows(self) -> tuple[str, ...]:
        """Methods of any of the sections, in their order."""
        return tuple(dict.fromkeys(row for section in self.sections for row in section.rows))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of several sections those that more than one has, for the others stand in the section itself."""
        shared = [metric for section in self.sections for metric in section.metrics]
        return tuple(m for m in dict.fromkeys(shared) if len(self.sections) == 1 or shared.count(m) > 1)

    def columns(self, selection: Selection, metric: str) -> list[Column]:
        """The data sets that have this metric."""
        tables = [(section, compared(selection, section, metric)) for section in self.sections]
        return [Column(section, task, table) for section, table in tables for task in table.tasks]


def scopes(sections: Sequence[Section]) -> list[Scope]:
    """Unions first, those of most data sets first; then every section for itself."""
    unions = [scope for key in dict.fromkeys(map(_kind, sections)) for scope in _union(_of_kind(sections, key))]
    unions.sort(key=lambda scope: -sum(len(section.tasks) for section in scope.sections))
    return unions + [Scope(f"{s.name}-{s.budget}", s.group, (s,)) for s in sections]


def _kind(section: Section) -> tuple[str, str, str]:
    return section.rule, section.budget, next(iter(section.metrics), "")


def _of_kind(sections: Iterable[Section], kind: tuple[str, str, str]) -> list[Section]:
    return [section for section in sections if _kind(section) == kind]


def _union(sections: list[Section]) -> list[Scope]:
    """None where the sections have no methods in common to rank."""
    if len(sections) < 2 or len(set.intersection(*(set(section.rows) for section in sections))) < 2:
        return []
    rule, budget = sections[0].rule, sections[0].budget
    return [Scope(f"all-{rule}-{budget}", " + ".join(section.group for section in sections), tuple(sections))]
