"""How near every predictive is to that of HMC, as columns: what the figure of fidelity draws."""

from __future__ import annotations

from typing import Any

from bnnbench.reporting.fidelity import fidelity
from bnnbench.reporting.page.compact import number, numbers
from bnnbench.reporting.select import Selection
from bnnbench.reporting.tables.fidelity import TITLES
from bnnbench.reporting.tables.text import words


def nearness(selection: Selection) -> dict[str, Any] | None:
    """By metric a column of rows, data sets and values, with the noise of HMC itself; None without comparisons."""
    found = fidelity(selection)
    if found is None:
        return None
    ranks = found.ranking().ranks
    rows = [*ranks, *(row for row in found.rows if row not in ranks)]
    return {
        "rows": rows,
        "ranks": numbers((ranks.get(row) for row in rows), 3),
        "columns": list(found.columns),
        "flagged": sorted(found.flagged),
        "other": sorted(found.other),
        "metrics": {
            metric: {
                "words": TITLES.get(metric, words(metric)),
                "unit": about.unit,
                "summary": about.summary,
                "signed": not about.better,
                "floor": {c: number(abs(v), 3) for (m, c), v in found.floor.items() if m == metric},
                "values": [
                    [row, column, number(value, 4)] for (row, column), (value, _, _) in found.own(metric).items()
                ],
            }
            for metric, about in found.metrics.items()
        },
    }
