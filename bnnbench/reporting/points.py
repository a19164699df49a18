"""The comparisons that tables and figures show: over splits, or over blocks of test points where there is one split."""

from __future__ import annotations

import numpy as np

from bnnbench import names
from bnnbench.reporting.comparison import Blocks, Comparison, comparison
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame


def compared(selection: Selection, section: Section, metric: str, evaluation: str = names.TEST) -> Comparison:
    """A metric on one test set of the section's data sets; on the test rows over `blocks`, where there are such."""

    def made() -> Comparison:
        points = blocks(selection, section) if evaluation == names.TEST else None
        rows, tasks, better = list(section.rows), list(section.tasks), selection.metric(metric).better
        return comparison(section.scores, metric, evaluation, better=better, rows=rows, tasks=tasks, blocks=points)

    return section.once(("compared", metric, evaluation), made)


def blocks(selection: Selection, section: Section) -> Blocks:
    """(row, task) -> metric -> means over blocks of test points, seeds averaged; of tasks with a single split.

    A row is there if all its cells have stored them, and as many.
    """
    return section.once("blocks", lambda: _blocks(selection, section))


def _blocks(selection: Selection, section: Section) -> Blocks:
    cells: Frame = section.scores.drop_duplicates("fingerprint")
    one = cells.groupby("task")["split"].transform("nunique") == 1
    rows = {f: (row, task) for f, row, task in cells.loc[one, ["fingerprint", "row", "task"]].itertuples(index=False)}
    if not rows:
        return {}
    found: dict[tuple[str, str], list[dict[str, np.ndarray]]] = {}
    stored = selection.store.curves("blocks", evaluation=names.TEST, task=sorted({task for _, task in rows.values()}))
    for cell, _, series in stored:
        if (key := rows.get(cell["fingerprint"])) is not None:
            found.setdefault(key, []).append(series)
    expected = {key: list(rows.values()).count(key) for key in found}
    return {key: _averaged(own) for key, own in found.items() if len(own) == expected[key]}


def _averaged(cells: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Mean over seeds of every metric that all have, finite and of one length."""
    shared = set.intersection(*(set(series) for series in cells))
    arrays = {m: [np.asarray(series[m], dtype=float) for series in cells] for m in sorted(shared)}
    return {m: np.mean(values, axis=0) for m, values in arrays.items()
            if len({v.shape for v in values}) == 1 and np.isfinite(values).all()}  # fmt: skip
