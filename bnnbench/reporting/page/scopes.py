"""What a leaderboard is over: the data sets of one section, or those of several that share split rule and budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        name: unique; `uci-10fold-full`, or `starter+uci-10fold-full` of several.
        title: the groups in words.
    """

    name: str
    title: str
    sections: tuple[Section, ...]

    def __str__(self) -> str:
        return f"{self.title} ({self.rule})"

    @property
    def heading(self) -> str:
        """What a leaderboard is called; for one section as its page is."""
        return f"{self.title}, split rule {self.rule}, budget {self.budget}"

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
    def competing(self) -> tuple[str, ...]:
        """Those that are ranked."""
        return tuple(dict.fromkeys(row for section in self.sections for row in section.competing))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of several sections those that more than one has, for the others stand in the section itself."""
        shared = [metric for section in self.sections for metric in section.metrics]
        return tuple(m for m in dict.fromkeys(shared) if len(self.sections) == 1 or shared.count(m) > 1)

    def columns(self, selection: Selection, metric: str) -> list[Column]:
        """The data sets that have this metric."""
        tables = [(section, compared(selection, section, metric)) for section in self.sections]
        return [Column(section, task, table) for section, table in tables for task in table.tasks]


def scopes(selection: Selection) -> list[Scope]:
    """Unions first, those of most data sets first; then every section for itself; of all budgets."""
    sections, data = (*selection.sections, *selection.others), _checksums(selection)
    distinct = [_distinct(own, data) for own in _families(sections)]
    unions = [_union(own) for own in distinct if len(own) > 1]
    unions.sort(key=lambda scope: -sum(len(section.tasks) for section in scope.sections))
    return unions + [alone(section) for section in sections]


def alone(section: Section) -> Scope:
    """A section for itself."""
    return Scope(f"{section.name}-{section.budget}", section.group, (section,))


def _families(sections: Sequence[Section]) -> list[list[Section]]:
    """Sections to rank together: each has rule, budget, a metric and two methods in common with the first."""
    found: list[list[Section]] = []
    for section in sections:
        own = next((own for own in found if _comparable(own[0], section)), None)
        if own is None:
            found.append([section])
        else:
            own.append(section)
    return found


def _checksums(selection: Selection) -> dict[str, str]:
    """Task -> checksum of its data, which its version holds."""
    known = selection.tasks.drop_duplicates("name", keep="last")
    return {str(t["name"]): str(t["version"]).partition("+")[2] for t in known.to_dict("records")}


def _distinct(sections: Sequence[Section], data: Mapping[str, str]) -> list[Section]:
    """Without those whose data others have, in other settings: a mean of ranks would count them twice."""
    kept, seen = [], set[str]()
    for section in sections:
        own = {data.get(task) or task for task in section.tasks}
        if own - seen:
            kept.append(section)
            seen |= own
    return kept


def _comparable(first: Section, other: Section) -> bool:
    conditions = (first.rule, first.budget) == (other.rule, other.budget)
    return conditions and bool({*first.metrics} & {*other.metrics}) and len({*first.rows} & {*other.rows}) > 1


def _union(sections: Sequence[Section]) -> Scope:
    groups = [section.group for section in sections]
    return Scope(f"{'+'.join(groups)}-{sections[0].rule}-{sections[0].budget}", " + ".join(groups), tuple(sections))
