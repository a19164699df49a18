"""What the methods of a scope cost, how many terms their predictions have, and what became of their cells."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnnbench.records import SCORED, Status
from bnnbench.reporting.comparison import CALIBRATION
from bnnbench.reporting.page.scopes import Scope
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.costs import costs, machine

COUNTED = ("members", "samples", "num_chains")  # hyperparameters whose product is the number of a predictive's terms
COSTS = ("gradients", "seconds")


@dataclass(frozen=True)
class Spent:
    """Of one method in a scope.

    Attributes:
        gradients, seconds: of a cell, mean over data sets; a pack's seconds are shared by its cells. NaN: unknown.
        terms: how many networks a prediction averages over, by the configuration; None where it does not say.
        cells, failed, unconverged: numbers of cells: all, without a score, flagged by their own diagnostics.
    """

    gradients: float
    seconds: float
    terms: int | None
    cells: int
    failed: int
    unconverged: int


def spent(scope: Scope) -> dict[str, Spent]:
    """By row."""
    attempts: Frame = pd.concat([section.attempts for section in scope.sections])
    means = _means(scope)
    found = {}
    for row, own in attempts.groupby("row"):
        status, cost = own["status"], means.loc[row] if row in means.index else dict.fromkeys(COSTS, np.nan)
        found[str(row)] = Spent(
            gradients=float(cost["gradients"]),
            seconds=float(cost["seconds"]),
            terms=_terms(str(own["configuration"].iloc[0])),
            cells=len(own),
            failed=int((~status.isin(SCORED)).sum()),
            unconverged=int((status == Status.UNCONVERGED.value).sum()),
        )
    return found


def _means(scope: Scope) -> Frame:
    """Rows x costs: over settings by their cells, then over data sets."""
    table: Frame = pd.concat([costs(section) for section in scope.sections])
    table = table.assign(seconds=table["seconds_per_cell"] * table["cells"])
    own = table.groupby(["method", "task"]).agg(
        gradients=("gradients", "max"), seconds=("seconds", "sum"), cells=("cells", "sum")
    )
    return own.assign(seconds=own["seconds"] / own["cells"]).groupby("method")[list(COSTS)].mean()


def _terms(configuration: str) -> int | None:
    try:
        settings = json.loads(configuration)
    except ValueError:
        return None
    known = [settings.get(name) for name in COUNTED] if isinstance(settings, dict) else []
    counts = [value for value in known if isinstance(value, int)]
    return int(np.prod(counts)) if counts else None


def machines(sections: Iterable[Section]) -> list[str]:
    """Devices and threads that cells were trained with."""
    found: Frame = pd.concat([section.attempts[["device", "threads"]] for section in sections]).drop_duplicates()
    return sorted({machine(str(device), int(threads)) for device, threads in found.itertuples(index=False)})


def calibration(selection: Selection, scope: Scope) -> dict[str, float]:
    """By row the mean over data sets of the calibration error that each has."""
    own = [(section, metric) for section in scope.sections for metric in section.metrics if metric in CALIBRATION]
    found: dict[str, list[float]] = {row: [] for row in scope.rows}
    for table in (compared(selection, section, metric) for section, metric in own):
        for (row, _), entry in table.entries.items():
            found[row].append(entry.mean)
    return {row: float(np.mean(values)) if values else float("nan") for row, values in found.items()}
