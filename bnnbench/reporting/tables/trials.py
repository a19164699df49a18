"""Trials of hyperparameters as tables: score against their number, and what was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from bnnbench.reporting.paired import interval
from bnnbench.reporting.tables.differences import interval_text
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import number, significant
from bnnbench.reporting.trials import Trials, importance

COUNTS = (
    "Log-likelihood on the test rows (nats per point, mean over splits and its 95 % interval, corrected resampled "
    "t-test): of the defaults, and to be expected of the trial that is best on its split's validation rows among so "
    "many drawn at random (Dodge et al. 2019). −∞: a trial has diverged, which may be the only one drawn. Gradients: "
    "of all trials on a split."
)
CHOSEN = (
    "Median over splits of what was chosen, and its range. Kept: splits on which no trial was better than the "
    "defaults. Matters: the share of the variance of the trials' ranks that the hyperparameter explains (functional "
    "ANOVA, Hutter et al. 2014). At an end: the splits that chose the least or the largest value that was tried."
)


def trial_tables(found: Sequence[Trials]) -> Iterator[Table]:
    """Two tables a data set and split rule."""
    places = list(dict.fromkeys((each.task, each.rule, each.budget, each.setup) for each in found))
    for task, rule, budget, setup in places:
        own = [each for each in found if (each.task, each.rule, each.budget, each.setup) == (task, rule, budget, setup)]
        name, place = f"trials-{task}-{rule}-{budget}-{setup}", f"{task} ({rule}, budget {budget}, {setup})"
        lines = [line for each in own for line in _counts(each)]
        title = f"{place}: score against the number of trials"
        yield Table(name, title, _count_grid(own, lines), COUNTS, pd.DataFrame(lines))
        chosen = [line for each in own for line in _chosen(each)]
        header = ["method", "hyperparameter", "chosen", "range", "kept", "at an end", "matters"]
        texts = [_chosen_texts(line) for line in chosen]
        if texts:
            yield Table(f"{name}-chosen", f"{place}: what was chosen", Grid.of_texts(header, texts), CHOSEN,
                        pd.DataFrame(chosen))  # fmt: skip


def _counts(trials: Trials) -> Iterator[dict[str, Any]]:
    """A line for the defaults, with 0 trials, and for each number of them."""
    first = trials.test[:, 0]
    low, high = interval(first, trials.ratio)
    shared = {"method": trials.method, "gradients": trials.gradients}
    yield {**shared, "trials": 0, "score": float(first.mean()), "low": low, "high": high}
    for n in trials.numbers():
        score, low, high = trials.best_of(n)
        yield {**shared, "trials": n, "score": score, "low": low, "high": high}


def _count_grid(found: Sequence[Trials], lines: Sequence[dict[str, Any]]) -> Grid:
    texts = [
        {"method": line["method"], "column": line["trials"], "text": interval_text(line, "score")} for line in lines
    ]
    texts += [{"method": each.method, "column": -1, "text": f"{each.gradients:,.0f}"} for each in found]
    numbers = sorted({line["trials"] for line in lines} - {0})
    columns = {0: "default", **{n: f"best of {n}" for n in numbers}, -1: "gradients"}
    return Grid.from_long(pd.DataFrame(texts), [each.method for each in found], columns)


def _chosen(trials: Trials) -> Iterator[dict[str, Any]]:
    """A line a hyperparameter."""
    chosen, matters = trials.chosen, importance(trials)
    for field in trials.fields if chosen else ():
        values = [trials.settings[split][number][field] for split, number in chosen]
        tried = {each[field] for own in trials.settings for each in own}
        ordered = not any(isinstance(value, str | bool) for value in tried)
        yield {
            "method": trials.method, "hyperparameter": field, "median": sorted(values)[(len(values) - 1) // 2],
            "least": min(values), "largest": max(values), "splits": len(values),
            "kept": sum(number == 0 for _, number in chosen),
            "at_an_end": sum(value in (min(tried), max(tried)) for value in values) if ordered else None,
            "importance": matters.get(field, float("nan")),
        }  # fmt: skip


def _chosen_texts(line: dict[str, Any]) -> list[str]:
    ends = "–" if line["at_an_end"] is None else f"{line['at_an_end']} of {line['splits']}"
    return [
        line["method"],
        line["hyperparameter"],
        _shown(line["median"]),
        f"{_shown(line['least'])} to {_shown(line['largest'])}",
        f"{line['kept']} of {line['splits']}",
        ends,
        number(line["importance"], 2),
    ]


def _shown(value: Any) -> str:
    return significant(value) if isinstance(value, float) else str(value)
