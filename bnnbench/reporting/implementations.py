"""One algorithm in several implementations: the same splits, paired differences, costs, and what the checks found.

The cells come from several sections, so this stands apart from them, on a page of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bnnbench import names
from bnnbench.reporting.comparison import method_of
from bnnbench.reporting.paired import Side, differences
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.costs import costs

MACHINE = ["device", "threads"]  # what two times must have in common; a pack is part of an implementation


@dataclass(frozen=True)
class Implementations:
    """What reports know of the methods that implement another one.

    Attributes:
        scores: a line a pair, data set and metric, as of `paired.differences`; `a` is the implementation.
        costs: a line a pair, data set and machine: seconds a cell and gradients of both, and how many times as long a
            cell and a gradient of the implementation take.
        verdicts: what `bnnbench check` found of methods of these pairs, a line a check.
        unchecked: those of which nothing is known.
    """

    scores: Frame
    costs: Frame
    verdicts: Frame
    unchecked: tuple[str, ...]


def implementations(selection: Selection) -> Implementations | None:
    """All pairs of the selected cells, or None without any."""
    return selection.once("implementations", lambda: _implementations(selection))


def _implementations(selection: Selection) -> Implementations | None:
    of = {str(m["name"]): str(m["implements"]) for _, m in selection.methods.iterrows() if m["implements"]}
    pairs = [(section, *pair) for section in selection.sections for pair in _pairs(section, of)]
    if not pairs:
        return None
    scores = [line for section, one, other in pairs for line in _scores(selection, section, one, other)]
    spent = [line for section, one, other in pairs for line in _costs(section, one, other)]
    shown = dict.fromkeys(method_of(row) for _, *pair in pairs for row in pair)
    verdicts = selection.store.verdicts()
    verdicts = verdicts[verdicts["method"].isin(list(shown))]
    unchecked = tuple(method for method in shown if method not in set(verdicts["method"]))
    return Implementations(pd.DataFrame(scores), pd.DataFrame(spent), verdicts, unchecked)


def _pairs(section: Section, of: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Rows of a section: every configuration of an implementation beside those of what it implements."""
    method = dict(zip(section.scores["row"], section.scores["method"], strict=True))
    for one in section.rows:
        for other in section.rows:
            if of.get(method[one]) == method[other]:
                yield one, other


def _scores(selection: Selection, section: Section, one: str, other: str) -> Iterator[dict[str, Any]]:
    parts = [section.scores[section.scores["row"] == row] for row in (one, other)]
    own, theirs = (
        Side(row, part.assign(wanted=part["evaluation"] == names.TEST), selection.store)
        for row, part in zip((one, other), parts, strict=True)
    )
    for metric in section.metrics:
        about = selection.metric(metric)
        if about.better:
            for line in differences(own, theirs, metric, about.better, about.unit, names.TEST):
                if line["pairs"]:
                    yield line


def _costs(section: Section, one: str, other: str) -> Iterator[dict[str, Any]]:
    """Of several sizes of packs the one in which most cells were trained."""
    table = costs(section).sort_values("cells", ascending=False, kind="stable")
    table = table.drop_duplicates(["task", "method", *MACHINE])
    parts = [table[table["method"] == row] for row in (one, other)]
    keep = ["task", *MACHINE, "pack_size", "seconds_per_cell", "ms_per_gradient", "gradients"]
    both = parts[0][keep].merge(parts[1][keep], on=["task", *MACHINE], suffixes=("_a", "_b"))
    for line in both.to_dict("records"):
        yield {
            "a": one, "b": other, "split_rule": section.rule, **line,
            "times_as_long": line["seconds_per_cell_a"] / line["seconds_per_cell_b"],
            "times_as_long_a_gradient": line["ms_per_gradient_a"] / line["ms_per_gradient_b"],
        }  # fmt: skip
