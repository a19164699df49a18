"""Toy tasks know the true density of y: how far is each predictive from it, where there are data and where not?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnnbench.reporting.extra import Extra
from bnnbench.reporting.images import barred
from bnnbench.reporting.select import Section
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import EMPTY, UNCONVERGED, Grid, Text, measured

KL, COVERAGE, RIGHT = "kl_to_truth", "truth_coverage_95", 0.95
COLUMNS = {
    ("grid", KL): "KL: grid",
    ("inside", KL): "KL: inside",
    ("outside", KL): "KL: outside",
    ("inside", COVERAGE): "coverage: inside",
    ("outside", COVERAGE): "coverage: outside",
}
CAPTION = (
    "On the whole grid, inside the range of the training data and outside of it. KL: divergence of the predictive from "
    "the true density of y in nats, mean over grid points (0 is perfect; lowest bold, baselines and "
    "unconverged methods apart). Coverage: probability that the "
    "true y falls into the central 95 % interval of the predictive (0.95 is right, and the nearest to it is bold: less "
    "is overconfident, more underconfident)."
)


def truth_tables(section: Section) -> list[Extra]:
    """One table a toy task."""
    found = []
    for task in section.tasks:
        numbers = _numbers(section, task)
        if len(numbers):
            name = f"{section.name}-truth-{task}"
            found.append(Extra(name, f"{task}: distance from the truth", _grid(numbers), CAPTION, numbers))
    return found


def _numbers(section: Section, task: str) -> Frame:
    """Mean over seeds of every method and column, in their order."""
    keys = ["evaluation", "metric", "row"]
    scores = section.scores[section.scores["task"] == task]
    scores = scores.assign(unconverged=scores["status"] == "unconverged")
    table = scores.groupby(keys).agg(
        value=("value", "mean"), spread=("value", "sem"), stderr=("stderr", "mean"), cells=("value", "size"),
        unconverged=("unconverged", "any"),
    )  # fmt: skip
    order = [(*c, row) for c in COLUMNS for row in section.rows if (*c, row) in table.index]
    table = table.reindex(pd.MultiIndex.from_tuples(order, names=keys)).reset_index()
    se = table["spread"].where(table["cells"] > 1, table["stderr"])
    best = _best(table.assign(value=table["value"].mask(table["row"].isin(barred(section, task)))))
    found = table[["evaluation", "metric", "row", "value"]].rename(columns={"row": "method"})
    return found.assign(stderr=se, best=best, unconverged=table["unconverged"])


def _best(table: Frame) -> Frame:
    """The value nearest to what is right, of each column."""
    distance = (table["value"] - table["metric"].map({KL: 0.0, COVERAGE: RIGHT})).abs().replace(np.inf, np.nan)
    least = distance.groupby([table["evaluation"], table["metric"]]).transform("min")
    return distance == least


def _grid(numbers: Frame) -> Grid:
    present = {(str(r["evaluation"]), str(r["metric"]), str(r["method"])): r for _, r in numbers.iterrows()}
    columns = [c for c in COLUMNS if any(key[:2] == c for key in present)]
    rows = dict.fromkeys(numbers["method"])

    def text(column: tuple[str, str], row: str) -> Text:
        entry = present.get((*column, row))
        if entry is None:
            return EMPTY, False, ""
        value, se = float(entry["value"]), float(entry["stderr"])
        shown = measured(value, se)
        return shown, bool(entry["best"]), UNCONVERGED * bool(entry["unconverged"])

    body = tuple((str(row), tuple(text(c, row) for c in columns)) for row in rows)
    return Grid(("method", *(COLUMNS[c] for c in columns)), body)
