"""Defaults beside the hyperparameters that trials chose: what tuning brings each method, and whether ranks move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from bnnbench import names
from bnnbench.reporting.paired import Side, differences
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.differences import DIFFERENCES, difference_grid
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import number, words

METRICS = ("log_likelihood", "rmse", "error")
Pair = tuple[str, str]  # rows: tuned, default
GAINS = f"Tuned minus default; above 0: tuning helps. {DIFFERENCES} A split's hyperparameters are chosen on its own "
GAINS += "validation rows, among as many trials as the name says."
RANKS = (
    "Mean ranks (1 is best) among the methods of this table, over the data sets that all of them have under both, on "
    "the splits that all were run on: all by their defaults, and all tuned with the same number of trials each."
)


def tuned_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """For every metric what tuning brings, and the ranks under both; nothing where nothing was tuned."""
    pairs = _pairs(section)
    for metric in (metric for metric in METRICS if pairs and metric in section.metrics):
        about = selection.metric(metric)
        sides = [[_side(selection, section, row) for row in pair] for pair in pairs]
        lines = [
            line
            for tuned, default in sides
            for line in differences(tuned, default, metric, about.better, about.unit, names.TEST)
            if line["pairs"]
        ]
        if lines:
            frame: Frame = pd.DataFrame(lines)
            title = f"{section.group}: what tuning brings, {words(metric)}"
            yield Table(f"{section.name}-tuned-{metric}", title, difference_grid(frame, frame["a"]), GAINS, frame)
        for label in dict.fromkeys(row.partition(" ")[2] for row, _ in pairs):
            own = [pair for pair in pairs if pair[0].partition(" ")[2] == label]
            if ranks := _ranks(selection, section, metric, own):
                name = label.strip("[]")
                title = f"{section.group}: ranks by defaults and {name}, {words(metric)}"
                header = ["method", "by default", name, "moves by"]
                texts = [[row, number(d, 2), number(t, 2), number(d - t, 2)] for row, d, t in ranks]
                numbers = pd.DataFrame(ranks, columns=["method", "rank_default", "rank_tuned"])
                yield Table(
                    f"{section.name}-{name}-ranks-{metric}", title, Grid.of_texts(header, texts), RANKS, numbers
                )


def _pairs(section: Section) -> list[Pair]:
    """Every tuned row beside that of the same method by its defaults."""
    rows = section.scores[["row", "method", "config"]].drop_duplicates()
    plain = dict(rows.loc[rows["config"] == names.DEFAULT, ["method", "row"]].itertuples(index=False))
    tuned = rows[rows["row"].isin(section.tuned) & rows["method"].isin(list(plain))]
    pairs = {str(line.row): plain[line.method] for line in tuned.itertuples()}
    return [(row, pairs[row]) for row in section.rows if row in pairs]


def _side(selection: Selection, section: Section, row: str) -> Side:
    part = section.scores[section.scores["row"] == row]
    return Side(row, part.assign(wanted=part["evaluation"] == names.TEST), selection.store)


def _ranks(
    selection: Selection, section: Section, metric: str, pairs: Sequence[Pair]
) -> list[tuple[str, float, float]]:
    """Method and mean ranks by its defaults and tuned, in the order of the former."""
    means = _means(section, metric, [row for pair in pairs for row in pair]).dropna()
    if means.empty or len(pairs) < 2:
        return []
    better = selection.metric(metric).better
    # Whatever the column, the same methods are ranked in it: all tuned, or all by their defaults.
    tuned, default = ((-better * means[list(rows)]).rank(axis=1).mean() for rows in zip(*pairs, strict=True))
    lines = [(name, float(default[name]), float(tuned[row])) for row, name in pairs]
    return sorted(lines, key=lambda line: line[1])


def _means(section: Section, metric: str, rows: Sequence[str]) -> Frame:
    """Mean of a data set's splits on which all rows were run, [task, row]; NaN where a cell there has no score."""
    own = section.scores[section.scores["row"].isin(list(rows))]
    tested = own[(own["evaluation"] == names.TEST) & (own["metric"] == metric)]
    cells = own[["fingerprint", "row", "task", "split"]].drop_duplicates()
    cells = cells.merge(tested[["fingerprint", "value"]], how="left", on="fingerprint")
    shared = cells.groupby(["task", "split"])["row"].transform("nunique") == len(rows)
    seeds = cells[shared].groupby(["task", "split", "row"])["value"].agg(lambda values: values.mean(skipna=False))
    return seeds.unstack().groupby("task").agg(lambda values: values.mean(skipna=False))
