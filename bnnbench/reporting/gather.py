"""Plot data of a section out of the database; what cannot be plotted is left out, and said to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

import numpy as np

from bnnbench.reporting.select import CELL, Section, Selection

LONGER = "long"  # the budget that tells what training still gains
Arrays = dict[str, np.ndarray]  # one stored curve: columns of equal length
Curves = dict[tuple[str, str], list[Arrays]]  # (row, task) -> one a cell
# Columns without which there is nothing to plot, of finite numbers.
NEEDED = {
    "bands": ("x", "mean"),
    "exact": ("x", "mean", "std", "truth", "truth_std"),
    "data": ("x", "y"),
    "pit_ecdf": ("level", "ecdf"),
    "reliability": ("lower", "count"),
    "weights": ("lower", "upper", "density"),
    "training": ("step",),
    "recording": ("step",),
    "entropy": ("level",),
    "violins": ("point", "class", "level", "quantile"),
    "flow_density": ("x0", "x1"),
    "vae_images": ("kind", "image", "pixel"),
}
ALSO = {  # and those that may hold NaN or infinities
    "reliability": ("confidence", "accuracy"),
    "flow_data": ("x0", "x1", "z0", "z1"),
    "flow_samples": ("x0", "x1", "z0", "z1"),
    "flow_density": ("log_q", "log_p"),
}


def gather(selection: Selection, section: Section, name: str, evaluation: str | None, column: str = "") -> Curves:
    """Series of the section's own cells, by row and task, in the order of splits and seeds.

    Args:
        column: only series in which this one holds a finite number.
    """
    by_key = section.once("cells", lambda: _cells(section))
    found: dict[tuple[str, str], list[tuple[tuple[int, int], Arrays]]] = {}
    damaged: Counter[tuple[str, str]] = Counter()
    for info, where, series in selection.store.curves(name, task=section.tasks, budget=section.budget):
        if (where or None) != evaluation:
            continue
        fingerprint, cell = by_key.get(tuple(info[c] for c in CELL), (None, None))
        if cell is None or info.get("fingerprint", fingerprint) != fingerprint:
            continue
        arrays, key = {k: np.array(v, dtype=float) for k, v in series.items()}, (str(cell["row"]), str(cell["task"]))
        if not sound(name, arrays):
            damaged[key] += 1
        elif not column or (column in arrays and np.isfinite(arrays[column]).any()):
            found.setdefault(key, []).append(((int(cell["index"]), int(cell["seed"])), arrays))
    for (row, task), count in damaged.items():
        selection.notices.append(f"{count} curves {name} of {row} on {task}, which cannot be read")
    return {key: [s for _, s in sorted(cells, key=lambda c: c[0])] for key, cells in found.items()}


def gather_longer(selection: Selection, section: Section, name: str) -> Curves:
    """The same series of cells of the budget `long`, by the rows and tasks of a section of another budget."""
    if section.budget == LONGER:
        return {}
    found: Curves = {}
    rows = section.attempts.drop_duplicates(["method", "config"]).set_index(["method", "config"])["row"]
    for info, where, series in selection.store.curves(name, task=section.tasks, budget=LONGER):
        row, arrays = rows.get((info["method"], info["config"])), {k: np.array(v, float) for k, v in series.items()}
        own = where is None and info["split"].startswith(f"{section.rule}-")
        if row is not None and own and sound(name, arrays):
            found.setdefault((str(row), str(info["task"])), []).append(arrays)
    return found


def _cells(section: Section) -> dict[tuple, tuple[str, dict]]:
    """Fingerprint and columns of every cell, by what names it."""
    cells = section.scores.drop_duplicates("fingerprint").to_dict("records")
    return {tuple(cell[column] for column in CELL): (str(cell["fingerprint"]), cell) for cell in cells}


def sound(name: str, series: Arrays) -> bool:
    """Whether a series has the columns that its figure needs, equally long, and of the form that it needs."""
    needed = NEEDED.get(name, ())
    if not series or not {*needed, *ALSO.get(name, ())} <= set(series):
        return False
    if len({len(v) for v in series.values()}) > 1 or not all(np.isfinite(series[c]).all() for c in needed):
        return False
    if name != "training" and not len(next(iter(series.values()))):
        return False
    return name not in FORMS or FORMS[name](series)


def _is_grid(series: Arrays) -> bool:
    x, y = np.unique(series["x0"]), np.unique(series["x1"])
    return len(x) > 1 and len(y) > 1 and len(x) * len(y) == len(series["x0"])


def _are_square(series: Arrays) -> bool:
    sizes = np.unique(np.stack([series["kind"], series["image"]]), axis=1, return_counts=True)[1]
    return len(set(sizes.tolist())) == 1 and np.sqrt(sizes[0]) % 1 == 0


FORMS: dict[str, Callable[[Arrays], bool]] = {"flow_density": _is_grid, "vae_images": _are_square}


def shown(section: Section, keys: Collection[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Rows and tasks that have curves, in the section's order."""
    rows, tasks = {row for row, _ in keys}, {task for _, task in keys}
    return [r for r in section.rows if r in rows], [t for t in section.tasks if t in tasks]
