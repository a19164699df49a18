"""Hyperparameters are chosen on the validation rows, never on the test rows: this is the table to choose by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnnbench.names import VALIDATION
from bnnbench.records import Purpose
from bnnbench.reporting.comparison import Comparison, comparison
from bnnbench.reporting.escape import escape_markdown
from bnnbench.reporting.select import Section
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import markdown
from bnnbench.reporting.tables.text import cell


@dataclass(frozen=True)
class Tuning:
    """Configurations of one method: validation scores, mean rank over data sets, and the one to take."""

    method: str
    table: Comparison
    rank: dict[str, float]
    chosen: str | None


def tunings(section: Section) -> list[Tuning]:
    """One for each method that has several configurations here."""
    found = []
    given = section.scores[section.scores["purpose"] != Purpose.TUNED.value]  # chosen by these rows before
    for method, own in given.groupby("method", sort=False):
        if own["config"].nunique() >= 2:
            rows = set(own["row"])
            made = tuning(own, str(method), [row for row in section.rows if row in rows], section.tasks)
            found += [made] if made.table.tasks else []
    order = {row: i for i, row in enumerate(section.rows)}
    return sorted(found, key=lambda t: order[t.table.rows[0]])


def tuning(scores: Frame, method: str, rows: Sequence[str], tasks: Sequence[str]) -> Tuning:
    """Of one method's scores, whose configurations are these rows, on these data sets."""
    table = comparison(scores, "log_likelihood", VALIDATION, better=1, rows=list(rows), tasks=list(tasks))
    rank = _mean_ranks(table)
    return Tuning(method, table, rank, _choose(table, rank))


def _mean_ranks(table: Comparison) -> dict[str, float]:
    """Mean rank (1 is best) over data sets; a configuration that lost cells ranks behind all that did not."""
    means: Frame = pd.DataFrame(index=list(table.rows), columns=list(table.tasks), dtype=float)
    for (row, task), entry in table.entries.items():
        means.loc[row, task] = entry.mean if entry.complete and np.isfinite(entry.mean) else -np.inf
    return means.fillna(-np.inf).rank(ascending=False, method="average").mean(axis=1).to_dict()


def _choose(table: Comparison, rank: dict[str, float]) -> str | None:
    """Smallest mean rank among the configurations that are complete and converged everywhere; ties go to the first."""
    found = {r: [table.entries.get((r, t)) for t in table.tasks] for r in table.rows}
    able = [r for r, own in found.items() if all(e and e.complete and not e.unconverged for e in own)]
    return min(able, key=lambda r: rank[r], default=None)


def tuning_markdown(tuning: Tuning) -> str:
    """The configurations, the chosen one in bold."""
    rows = []
    for row in tuning.table.rows:
        texts = [cell(tuning.table.entries.get((row, task))) for task in tuning.table.tasks]
        name = escape_markdown(row)
        shown = [f"{text} {mark}".strip() for text, _, mark in texts]
        rows.append([f"**{name}**" if row == tuning.chosen else name, *shown, f"{tuning.rank[row]:.2f}"])
    return markdown(["configuration", *map(escape_markdown, tuning.table.tasks), "mean rank"], rows)
