"""Plot data of a section out of the database."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from bnnbench.report.figures.calibration import Curves
from bnnbench.report.figures.toy import Series
from bnnbench.report.select import CELL, Section, Selection


def gather(selection: Selection, section: Section, name: str, evaluation: str | None) -> Curves:
    """Series of the section's own cells, by row and task, in the order of splits and seeds."""
    cells = section.scores.drop_duplicates("fingerprint").set_index("fingerprint")
    by_key = {tuple(r[c] for c in CELL): (f, r) for f, r in cells.iterrows()}
    found: dict[tuple[str, str], list[tuple[tuple[int, int], Series]]] = {}
    for task in section.tasks:
        for info, where, series in selection.store.curves(name, task=task, budget=section.budget):
            if (where or None) != evaluation:
                continue
            fingerprint, cell = by_key.get(tuple(info[c] for c in CELL), (None, None))
            if cell is None or info.get("fingerprint", fingerprint) != fingerprint:
                continue
            place = (int(cell["index"]), int(cell["seed"]))
            arrays = {k: np.array(v, dtype=float) for k, v in series.items()}
            found.setdefault((str(cell["row"]), task), []).append((place, arrays))
    return {key: [s for _, s in sorted(cells, key=lambda c: c[0])] for key, cells in found.items()}


def shown(section: Section, keys: Collection[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Rows and tasks that have curves, in the section's order."""
    rows, tasks = {row for row, _ in keys}, {task for _, task in keys}
    return [r for r in section.rows if r in rows], [t for t in section.tasks if t in tasks]
