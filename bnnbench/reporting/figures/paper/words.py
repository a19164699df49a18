"""Words of captions: what was run, of whom, and what marks mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bnnbench.reporting.comparison import method_of
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.text import words


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 method`, `2 methods`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def conditions(sections: Iterable[Section]) -> str:
    """Split rules and budgets of the cells shown."""
    own = list(sections)
    rules = listed(list(dict.fromkeys(section.rule for section in own)))
    budgets = listed(list(dict.fromkeys(section.budget for section in own)))
    return f"Splits: {rules}; budget: {budgets}."


def spread(sections: Iterable[Section]) -> str:
    """What standard errors are over."""
    counts = [section.scores.groupby("task")["split"].nunique() for section in sections]
    kinds = {"splits" if number > 1 else "test points" for own in counts for number in own}
    return "splits, of a single one over test points" if len(kinds) > 1 else kinds.pop()


def origins(selection: Selection, rows: Iterable[str]) -> str:
    """Whose results are older than what is installed, and whose were made elsewhere."""
    methods = {method_of(row) for row in rows}
    elsewhere, old = sorted(methods & selection.external), selection.superseded
    told = f" Results of older versions than those installed: {old}." * bool(old.names)
    return told + f" Predictions made elsewhere: {listed(elsewhere)}." * bool(elsewhere)


def named(metric: str, unit: str) -> str:
    """A metric with its unit, as the label of an axis."""
    return f"{words(metric)} ({unit})" if unit else words(metric)


def capital(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]
