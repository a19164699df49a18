"""Methods over several data sets: mean ranks with intervals, normalised scores, and who cannot be told from the first.

A rank is that of a method's mean among all methods of the scope on one data set, 1 the best; means that are equal share
theirs. A method with cells that failed or are missing on a data set is last there: a mean over what it survived is no
mean over the data set. One that was never run on some data set is not ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnnbench.reporting.page.samples import Samples
from bnnbench.reporting.page.scopes import Column
from bnnbench.reporting.separable import inseparable, ranked
from bnnbench.reporting.statistics import Entry

DRAWS = 2000  # of the bootstrap
COVERAGE = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Ranking:
    """Ranks of methods [m] over data sets [k].

    Attributes:
        rows: the methods that were run on every data set.
        ranks: [k, m].
        low, high: of the mean rank [m], by the bootstrap; NaN where nothing is repeated.
        normalised: [m]; the mean over data sets of (median - x) / (median - best) of each, at least 0.
        able: those that compete to be called the best: no baselines, none with failed cells or flagged by itself.
        tied: the first of these and those not separable from it, in the order of their mean ranks.
        absent: method -> number of data sets that it was not run on.
    """

    rows: tuple[str, ...]
    ranks: np.ndarray
    low: np.ndarray
    high: np.ndarray
    normalised: np.ndarray
    able: tuple[str, ...]
    tied: tuple[str, ...]
    absent: Mapping[str, int]

    @property
    def mean(self) -> np.ndarray:
        """Mean rank [m]."""
        return self.ranks.mean(0)


def ranking(rows: Sequence[str], columns: Sequence[Column], repeated: Sequence[Samples]) -> Ranking | None:
    """Of the rows over the data sets, or None where no method was run on all of them.

    Args:
        rows: all methods of the scope.
        columns, repeated: the data sets, and what is repeated on each.
    """
    there = {row: [column.table.entries.get((row, column.task)) for column in columns] for row in rows}
    absent = {row: own.count(None) for row, own in there.items() if None in own}
    entries = {row: [e for e in own if e is not None] for row, own in there.items() if row not in absent}
    if not entries or not columns:
        return None
    better = np.array([[-column.table.better] for column in columns], dtype=float)
    values = better * np.array([[_value(e) for e in own] for own in entries.values()]).T
    values = np.where(np.isfinite(values), values, np.inf)
    ranks, shown = ranked(values), tuple(entries)
    low, high = _interval(shown, values, repeated, better)
    baselines = {row for column in columns for row in column.table.baselines}
    able = [row for row, own in entries.items() if row not in baselines and all(map(_competes, own))]
    tied = _tied(shown, ranks, able, entries)
    return Ranking(shown, ranks, low, high, _normalised(values), tuple(able), tied, absent)


def _competes(entry: Entry) -> bool:
    return entry.complete and not entry.unconverged and bool(np.isfinite(entry.mean))


def _value(entry: Entry) -> float:
    return entry.mean if entry.complete else np.nan


def _normalised(values: np.ndarray) -> np.ndarray:
    """From values [k, m], lower is better; as TabArena (Erickson et al. 2025, arXiv:2506.16791): 1 the best, 0 the
    median and whatever is worse."""
    best, median = values.min(1, keepdims=True), np.median(values, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (median - values) / (median - best)
    share = np.where(np.isposinf(median) & np.isfinite(values), 1.0, share)
    share = np.where(median == best, values == best, share)  # most are equal
    share = np.where(np.isfinite(values), share, 0.0)
    return np.clip(np.nan_to_num(share, nan=0.0), 0.0, 1.0).mean(0)


def _interval(
    rows: Sequence[str], values: np.ndarray, repeated: Sequence[Samples], better: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """95 % of mean ranks [m] when data sets are drawn again with replacement, and the splits of each."""
    k, m = values.shape
    if k == 1 and repeated[0].count < 2:
        return np.full(m, np.nan), np.full(m, np.nan)
    draw = np.random.default_rng([k, m])
    drawn = np.stack([_drawn(rows, own, sample, sign, draw)
                      for own, sample, sign in zip(values, repeated, better, strict=True)])  # fmt: skip
    counts = draw.multinomial(k, np.full(k, 1 / k), size=DRAWS)
    means = np.einsum("bk,kbm->bm", counts, drawn) / k
    low, high = np.percentile(means, COVERAGE, axis=0)
    return low, high


def _drawn(
    rows: Sequence[str], own: np.ndarray, sample: Samples, sign: np.ndarray, draw: np.random.Generator
) -> np.ndarray:
    """Ranks [DRAWS, m] on one data set, of means over splits that are drawn again; of one split as they are."""
    again = np.repeat(own[None], DRAWS, 0)
    if sample.count > 1:
        weights = draw.multinomial(sample.count, np.full(sample.count, 1 / sample.count), size=DRAWS) / sample.count
        for place, row in enumerate(rows):
            if row in sample.scores and np.isfinite(own[place]):
                again[:, place] = sign * (weights @ sample.scores[row])
    return ranked(again)


def _tied(
    rows: Sequence[str], ranks: np.ndarray, able: Sequence[str], entries: Mapping[str, Sequence[Entry]]
) -> tuple[str, ...]:
    """By the test of the bold numbers: on one data set its own; over several, on the ranks, which share a scale."""
    if not able:
        return ()
    places = [rows.index(row) for row in able]
    means = ranks.mean(0)[places]
    order: list[int] = np.argsort(means, kind="stable").tolist()
    if len(ranks) == 1:
        return tuple(able[i] for i in order if entries[able[i]][0].best)
    kept = inseparable(ranked(ranks[:, places]).T, order[0], 0.0)
    return tuple(able[i] for i in order if kept[i])
