"""Implementations of one algorithm as tables: scores and costs of each pair, and what their checks found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from bnnbench.reporting.comparison import row_names
from bnnbench.reporting.implementations import Implementations
from bnnbench.reporting.tables.differences import APART, DIFFERENCES, difference_grid, places_of
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import EMPTY, significant, words

SCORES = f"Above 0: better for the implementation. {DIFFERENCES}"
SPEED = (
    "Seconds a cell until its posterior is there: with compiling, or starting a process and loading a library, which "
    "short trainings mostly consist of; without scoring. Both on the same device with the same number of threads. Many "
    "cells of ours are trained as one program, whose size stands in brackets and whose wall time its cells share "
    "equally. Times as long: seconds a cell of the implementation over ours; above 1 ours is faster. A gradient: the "
    "same of the seconds a minibatch gradient."
)
VERDICTS = (
    "What the checks found, each on a posterior that is known exactly. Figure and limit are in units of its standard "
    "deviation (means), logarithms of standard deviations (spread) or temperatures. –: does not apply."
)
UNCHECKED = " What was not checked into this database is, by bnnbench check METHOD --db DATABASE."


def conclusion(found: Implementations) -> str:
    """What the tables say in two sentences."""
    lines = found.scores
    lines = lines[lines["metric"] == lines["metric"].iloc[0]] if len(lines) else lines
    parts = []
    if len(lines):
        apart = lines["verdict"].isin(APART).sum()
        splits, budgets = sorted(set(lines["splits"])), ", ".join(sorted(set(lines["budget"])))
        span = f"{splits[0]}" if len(splits) == 1 else f"{splits[0]} to {splits[-1]}"
        parts.append(
            f"By {words(str(lines['metric'].iloc[0]))}, {apart} of {len(lines)} pairs of implementations and data sets "
            f"can be told apart (budget {budgets}, {span} splits)."
        )
    if len(found.costs):
        faster = int((found.costs["times_as_long"] > 1).sum())
        middle = significant(float(found.costs["times_as_long"].median()))
        parts.append(f"Ours is the faster one a cell in {faster} of {len(found.costs)}; the median ratio is {middle}.")
    return " ".join(parts)


def implementation_tables(found: Implementations) -> Iterator[Table]:
    """Differences of scores, one table a metric; speed; verdicts."""
    for metric, lines in found.scores.groupby("metric", sort=False):
        name = str(metric)
        grid = difference_grid(lines, lines["a"] + " − " + lines["b"])
        title = f"Difference of {words(name)} (above 0: the implementation is better)"
        yield Table(f"implementations-{name}", title, grid, SCORES, lines)
    if len(found.costs):
        places = places_of(found.costs)
        rows = [_speed(line, place) for line, place in zip(found.costs.to_dict("records"), places, strict=True)]
        header = ["implementation", "ours", "data set", "seconds", "seconds of ours", "times as long", "a gradient",
                  "gradients", "gradients of ours"]  # fmt: skip
        yield Table("implementations-speed", "Speed", Grid.of_texts(header, rows), SPEED, found.costs)
    caption, title = VERDICTS + UNCHECKED * bool(found.unchecked), "Do they draw from the posterior?"
    yield Table("implementations-verdicts", title, _verdicts(found), caption, found.verdicts)


def _speed(line: Mapping[str, Any], place: str) -> list[str]:
    return [
        line["a"],
        line["b"],
        place,
        _seconds(line, "a"),
        _seconds(line, "b"),
        significant(line["times_as_long"]),
        significant(line["times_as_long_a_gradient"]),
        f"{line['gradients_a']:,.0f}",
        f"{line['gradients_b']:,.0f}",
    ]


def _seconds(line: Mapping[str, Any], side: str) -> str:
    pack = int(line[f"pack_size_{side}"])
    return significant(line[f"seconds_per_cell_{side}"]) + f" (pack of {pack})" * (pack > 1)


def _verdicts(found: Implementations) -> Grid:
    """A row a configuration, a column a check that any of them can take."""
    applied = found.verdicts[found.verdicts["passed"].notna()]
    row = row_names(applied)
    texts = [_verdict(line) for line in applied.to_dict("records")]
    checked = zip(row, applied["name"], texts, [not passed for passed in applied["passed"]], strict=True)
    columns = {name: name for name in applied["name"]} or {"checks": "checks"}
    missing = ((method, next(iter(columns)), "not checked", False) for method in found.unchecked)
    frame = pd.DataFrame([*checked, *missing], columns=["method", "column", "text", "best"])
    return Grid.from_long(frame, list(dict.fromkeys(frame["method"])), columns)


def _verdict(line: Mapping[str, Any]) -> str:
    """`pass`, or what fails: `fails: 1.61 > 0.41`."""
    if line["passed"]:
        return "pass"
    figure, limit = (EMPTY if pd.isna(line[name]) else significant(line[name]) for name in ("figure", "limit"))
    return f"fails: {figure} > {limit}"
