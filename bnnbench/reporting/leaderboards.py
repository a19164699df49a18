"""The leaderboards as tables: those of the page `index.html`, a row a method in the order of their mean ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from bnnbench.reporting.page.boards import board
from bnnbench.reporting.page.scopes import Scope, scopes
from bnnbench.reporting.page.sentence import spoken
from bnnbench.reporting.select import Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import EMPTY, OTHER_TARGET, UNCONVERGED, Text, number, significant, words

Board = Mapping[str, Any]  # of a scope, or of one metric in it, as `boards` has them
COLUMNS = ("mean rank", "95 % interval", "won / tied / lost", "normalised score", "calibration error", "gradients",
           "seconds", "samples", "failed")  # fmt: skip
TUNED = " Tuned hyperparameters are compared in tables of their own."
FEW = 5  # data sets below which ranks say little of others


def shown(selection: Selection) -> list[Scope]:
    """The scopes of the sections that the tables show, in the order of the page `index.html`."""
    every = scopes(selection)
    return [scope for scope in every if all(section in selection.sections for section in scope.sections)]


def answer(selection: Selection, scope: Scope) -> str:
    """The sentence over the leaderboard of the scope's first metric, as a plain text."""
    found = board(selection, scope)
    metric = next(iter(found["metrics"].values()), None)
    if metric is None:
        return found["unranked"]
    return spoken(metric["sentence"], lambda place: selection.marked(scope.rows[place]))


def leaderboard_tables(selection: Selection, scope: Scope) -> Iterator[Table]:
    """The leaderboard by the first metric, and mean ranks by all of them; nothing where no method is ranked."""
    found = board(selection, scope)
    if not found["metrics"]:
        return
    metric = next(iter(found["metrics"]))
    title, numbers = scope.heading, _numbers(found)
    text, warned = _caption(selection, scope, found, metric), _warnings(scope)
    yield Table(f"leaderboard-{scope.name}", title, _grid(selection, scope, metric), text + warned, numbers)
    if len(found["metrics"]) > 1:
        yield Table(f"ranks-{scope.name}", f"{title}: mean ranks by every metric", _ranks(found), RANKS + warned, None)


def _warnings(scope: Scope) -> str:
    """What must stand over every table of the sections."""
    return "".join(f" {text}" for text in dict.fromkeys(section.warning for section in scope.sections) if text)


def _order(metric: Board) -> list[int]:
    """Places of the methods that compete: by mean rank, then those that have none."""
    ranks = dict(zip(metric["ranked"], metric["rank"], strict=True))
    return sorted({*ranks, *metric["absent"]}, key=lambda place: (ranks.get(place, math.inf), place))


def _grid(selection: Selection, scope: Scope, name: str) -> Grid:
    found = board(selection, scope)
    metric = found["metrics"][name]
    others = {row for section in scope.sections for row in _moved(section.scores)}
    rows = []
    for place in _order(metric):
        row = found["rows"][place]
        marks = UNCONVERGED * bool(found["unconverged"][place]) + OTHER_TARGET * (row in others)
        rows.append((row, (*_rank(metric, place, marks), *_cells(found, metric, place))))
    return Grid(("method", *COLUMNS), tuple(rows))


def _moved(scores: Frame) -> set[str]:
    return set(scores.loc[scores["other_target"], "row"])


def _rank(metric: Board, place: int, marks: str) -> tuple[Text, Text]:
    """Mean rank and its interval, or on how many data sets the method was not run."""
    if place not in metric["ranked"]:
        return (EMPTY, False, marks), (f"not on {metric['absent'][place]} of {len(metric['tasks'])}", False, "")
    at = metric["ranked"].index(place)
    low, high = metric["low"][at], metric["high"][at]
    interval = EMPTY if low is None else f"{number(low, 1)} to {number(high, 1)}"
    return (number(metric["rank"][at], 2), place in metric["tied"], marks), (interval, False, "")


def _cells(found: Board, metric: Board, place: int) -> list[Text]:
    """What stands beside a rank, in the order of `COLUMNS`."""
    normalised = metric["normalised"][metric["ranked"].index(place)] if place in metric["ranked"] else None
    failed, terms = found["failed"][place], found["samples"][place]
    texts = [
        _against(metric, place),
        EMPTY if normalised is None else number(normalised, 2),
        _short(found["calibration"][place]),
        _short(found["cost"]["gradients"][place], ",.0f"),
        _short(found["cost"]["seconds"][place]),
        EMPTY if terms is None else str(terms),
        f"{failed} of {found['cells'][place]}" if failed else "0",
    ]
    return [(text, False, "") for text in texts]


def _against(metric: Board, place: int) -> str:
    """Data sets won, tied and lost against the first."""
    first = metric["first"]
    if place == first:
        return "reference"
    return f"{metric['wins'][place][first]} / {metric['ties'][place][first]} / {metric['wins'][first][place]}"


def _short(value: float | str | None, form: str = "") -> str:
    if value is None or isinstance(value, str):
        return value or EMPTY
    return format(value, form) if form else significant(value)


def _ranks(found: Board) -> Grid:
    """Methods x metrics."""
    first = next(iter(found["metrics"].values()))
    lines = [
        {"method": found["rows"][place], "column": name, "text": number(rank, 1), "best": place in metric["tied"]}
        for name, metric in found["metrics"].items()
        for place, rank in zip(metric["ranked"], metric["rank"], strict=True)
    ]
    rows = [found["rows"][place] for place in _order(first)]
    return Grid.from_long(pd.DataFrame(lines), rows, {name: words(name) for name in found["metrics"]})


def _numbers(found: Board) -> Frame:
    """Of every metric and method; costs and cells are the same under every metric."""
    return pd.DataFrame(
        [
            {"metric": name, "method": found["rows"][place], **_line(metric, place)}
            | {"calibration_error": found["calibration"][place], "gradients": found["cost"]["gradients"][place]}
            | {"seconds": found["cost"]["seconds"][place], "samples": found["samples"][place]}
            | {key: found[key][place] for key in ("cells", "failed", "unconverged")}
            for name, metric in found["metrics"].items()
            for place in _order(metric)
        ]
    )


def _line(metric: Board, place: int) -> dict[str, Any]:
    at, first = metric["ranked"].index(place) if place in metric["ranked"] else None, metric["first"]
    ranked = {"mean_rank": "rank", "low": "low", "high": "high", "normalised_score": "normalised"}
    own = {name: None if at is None else metric[key][at] for name, key in ranked.items()}
    counts = metric["wins"][place][first], metric["ties"][place][first], metric["wins"][first][place]
    return own | {"inseparable": place in metric["tied"]} | dict(zip(("won", "tied", "lost"), counts, strict=True))


RANKS = (
    "Mean rank over the data sets that have the metric, 1 is the best. Bold: the first and those that cannot be told "
    "apart from it. The numbers stand in the CSV of the leaderboard, whose order this is."
)


def _caption(selection: Selection, scope: Scope, found: Board, name: str) -> str:
    """What is ranked, over what, against whom, and with what care."""
    metric, definition = found["metrics"][name], selection.metric(name)
    direction = {1: "higher", -1: "lower"}[definition.better]
    thin = f" Not ranked over, for few methods were run there: {', '.join(metric['thin'])}." * bool(metric["thin"])
    few = len(metric["tasks"])
    machines = found["machines"]
    return (
        f"Ranks by {words(name)} ({direction} is better), 1 the best, mean over {', '.join(metric['tasks'])}; the "
        "interval draws data sets again, and the splits of each. Bold: the first and those that cannot be told apart "
        "from it; baselines, and methods with failed or flagged cells, compete for neither. Won / tied / lost: data "
        f"sets on which a method is better than {found['rows'][metric['first']]}, not told apart from it, worse; "
        "paired, each at 5 %. Normalised score: 1 the best, 0 the median method and all worse. Calibration error: mean "
        "over data sets, lower is better; a constant prediction is calibrated too. Gradients and seconds are of a "
        f"cell. Samples: networks that a prediction averages over. {UNCONVERGED}: some cells are flagged by the "
        f"method's own diagnostics. {OTHER_TARGET}: another target than the task's posterior."
        + thin
        + TUNED * (scope.competing != scope.rows)
        + f" {few} data set{' is' if few == 1 else 's are'} few: such ranks say little of others." * (few < FEW)
        + (f" Seconds on {machines[0]}." if len(machines) == 1 else
           f" Seconds come from {len(machines)} settings ({'; '.join(machines)}) and compare roughly only.")
    )  # fmt: skip
