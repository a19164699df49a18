"""The leaderboard of a scope: one for each metric, what every method cost, and the sentence over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnnbench.reporting.page.compact import number, numbers
from bnnbench.reporting.page.differences import Differences, differences, pairs, signed_rank
from bnnbench.reporting.page.ranking import Ranking, ranking
from bnnbench.reporting.page.samples import samples
from bnnbench.reporting.page.scopes import Column, Scope
from bnnbench.reporting.page.sentence import UNRANKED, sentence
from bnnbench.reporting.page.spent import COSTS, Spent, calibration, machines, spent
from bnnbench.reporting.select import Selection
from bnnbench.reporting.separable import ALPHA


def board(selection: Selection, scope: Scope) -> dict[str, Any]:
    """All that the first screen shows of a scope; methods are places in `rows`. Made once: the texts show it too."""
    return scope.sections[0].once(("board", scope.name), lambda: _board(selection, scope))


def _board(selection: Selection, scope: Scope) -> dict[str, Any]:
    found = spent(scope)
    own, calibrated = [found[row] for row in scope.rows], calibration(selection, scope)
    by_metric = {metric: _of_metric(selection, scope, metric, found) for metric in scope.metrics}
    return {
        "name": scope.name,
        "title": scope.title,
        "rule": scope.rule,
        "budget": scope.budget,
        "rows": list(scope.rows),
        "tasks": [task for section in scope.sections for task in section.tasks],
        "metrics": {metric: columns for metric, columns in by_metric.items() if columns},
        "unranked": UNRANKED,
        "cost": {name: numbers(getattr(each, name) for each in own) for name in COSTS},
        "machines": machines(scope.sections),
        "samples": [each.terms for each in own],
        "calibration": numbers((calibrated[row] for row in scope.rows), 4),
        "failed": [each.failed for each in own],
        "unconverged": [each.unconverged for each in own],
        "cells": [each.cells for each in own],
    }


def _of_metric(selection: Selection, scope: Scope, metric: str, cost: Mapping[str, Spent]) -> dict[str, Any] | None:
    """Ranks, wins and costs by one metric; None where neither way is better, or no method was run everywhere."""
    definition, columns = selection.metric(metric), scope.columns(selection, metric)
    if not definition.better or not columns:
        return None
    columns, thin = covered(scope.competing, columns)
    repeated = [samples(selection, column) for column in columns]
    found = ranking(scope.competing, columns, repeated)
    if found is None:
        return None
    apart = [differences(scope.rows, c, definition.unit, own) for c, own in zip(columns, repeated, strict=True)]
    wins = [_wins(scope.rows, c, d) for c, d in zip(columns, apart, strict=True)]
    ties = [_ties(d, own) for d, own in zip(apart, wins, strict=True)]
    better, same = signed_rank(np.stack([own.relative for own in apart]))
    places = [scope.rows.index(row) for row in found.rows]
    shown: dict[str, Any] = {
        "tasks": [column.task for column in columns],
        "thin": [column.task for column in thin],
        "kinds": [own.kind for own in repeated],
        "repeats": [own.count for own in repeated],
        "ranked": places,
        "rank": numbers(found.mean, 4),
        "low": numbers(found.low, 4),
        "high": numbers(found.high, 4),
        "ranks": [numbers(own) for own in found.ranks],
        "normalised": numbers(found.normalised, 3),
        "able": [scope.rows.index(row) for row in found.able],
        "tied": [scope.rows.index(row) for row in found.tied],
        "absent": {scope.rows.index(row): n for row, n in found.absent.items()},
        "nemenyi": number(nemenyi(len(found.rows), len(columns)), 4),
        "first": scope.rows.index(found.tied[0]) if found.tied else places[int(found.mean.argmin())],
        "wins": np.sum(wins, axis=0).tolist(),
        "ties": np.sum(ties, axis=0).tolist(),
        "signed": {"better": numbers(better, 3), "same": numbers(same, 3)},
        "pairs": {c.task: _pairs(d) for c, d in zip(columns, apart, strict=True)},
        "front": {name: front(found, {row: getattr(cost[row], name) for row in found.rows}) for name in COSTS},
        "cheapest": _cheapest(found, cost, scope.rows),
    }
    return shown | {"sentence": sentence(scope, metric, shown)}


def covered(rows: Sequence[str], columns: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """Data sets to rank the rows over, and those on which fewer than half as many of them were run as on the fullest:
    with them hardly any method would have a rank."""
    counts = [sum((row, column.task) in column.table.entries for row in rows) for column in columns]
    counted = list(zip(columns, counts, strict=True))
    enough = max(counts) / 2
    return [column for column, n in counted if n >= enough], [column for column, n in counted if n < enough]


def _pairs(found: Differences) -> dict[str, Any]:
    """The upper triangle of pairs, row after row."""
    return {
        "mean": numbers(found.mean, 4),
        "half": numbers(found.half, 3),
        "better": numbers(found.better, 3),
        "same": numbers(found.same, 3),
        "region": numbers(found.region, 4) if len(np.unique(found.region)) > 1 else number(found.region.max(initial=0)),
    }


def _wins(rows: Sequence[str], column: Column, found: Differences) -> np.ndarray:
    """[m, m]: 1 where the row is better than the column on this data set, its interval without zero; one with cells
    that failed loses to one without."""
    m, (first, second) = len(rows), pairs(len(rows))
    entries = [column.table.entries.get((row, column.task)) for row in rows]
    won = np.zeros((m, m), dtype=int)
    ahead = found.mean > found.half
    behind = found.mean < -found.half
    won[first[ahead], second[ahead]] = 1
    won[second[behind], first[behind]] = 1
    able = [e is not None and e.complete and bool(np.isfinite(e.mean)) for e in entries]
    lost = [e is not None and not able[i] for i, e in enumerate(entries)]
    won[np.ix_(np.flatnonzero(able), np.flatnonzero(lost))] = 1
    return won


def _ties(found: Differences, won: np.ndarray) -> np.ndarray:
    """[m, m]: 1 where both have a score on this data set and neither is better."""
    met = np.zeros(won.shape, dtype=int)
    met[pairs(len(met))] = ~np.isnan(found.mean)
    return (met + met.T) * (won + won.T == 0)


def nemenyi(m: int, k: int) -> float:
    """Critical difference of mean ranks of m methods on k data sets (Demšar 2006, JMLR 7): q sqrt(m (m + 1) / 6 k)."""
    from scipy.stats import studentized_range  # two seconds to import

    if m < 2:
        return float("nan")
    return float(studentized_range.ppf(1 - ALPHA, m, np.inf) / np.sqrt(2) * np.sqrt(m * (m + 1) / (6 * k)))


def front(found: Ranking, cost: Mapping[str, float]) -> list[int]:
    """Places among those ranked: no other is as cheap and ranks before it. What costs nothing is no training."""
    price = np.array([cost[row] for row in found.rows], dtype=float)
    price = np.where(price > 0, price, np.inf)
    order = np.lexsort([found.mean, price])
    kept, least = [], np.inf
    for place in order:
        if np.isfinite(price[place]) and found.mean[place] < least:
            kept.append(int(place))
            least = found.mean[place]
    return kept


def _cheapest(found: Ranking, spending: Mapping[str, Spent], rows: Sequence[str]) -> dict[str, Any] | None:
    """Of those not separable from the first the one of the fewest gradients, if they are fewer than the first's."""
    if not found.tied:
        return None
    cost = {row: spending[row].gradients for row in found.tied if spending[row].gradients > 0}
    own = cost.get(found.tied[0])
    least = min(cost, key=lambda row: cost[row], default=None)
    if own is None or least is None or cost[least] >= own:
        return None
    return {"row": rows.index(least), "share": number(cost[least] / own, 2)}
