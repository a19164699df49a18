"""Plans of results with the hyperparameters that trials chose, each split its own."""

from __future__ import annotations

import os
from dataclasses import replace

from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.plan import Plan
from bnnbench.experiment.trials import Place, Trial, best, finished_trials, place_of
from bnnbench.methods import valid
from bnnbench.records import Purpose
from bnnbench.store.address import Address
from bnnbench.tasks.budget import BUDGETS


def tuned_plan(plan: Plan, db: str | os.PathLike[str]) -> Plan:
    """The cells of a plan, each with the configuration that was best on its validation rows, under a label like
    `tuned-16`: how many trials there were.

    A method on a task is left out, with a warning, where a split has no trials.

    Raises:
        UserError: there is no such database, or it has no trials of any cell.
    """
    if not Address.parse(db).exists():
        raise UserError(f"There is no database {db} with trials; make it by `bnnbench tune --db {db}`.")
    trials = finished_trials(db, plan.cells)
    chosen = {cell: _chosen(cell, trials) for cell in plan.cells}
    lacking = {(cell.task.name, cell.method.name) for cell, found in chosen.items() if found is None}
    cells = [found for cell, found in chosen.items() if found and (cell.task.name, cell.method.name) not in lacking]
    if not cells:
        raise UserError(f"{db} holds no trials of what is to be run; make them by `bnnbench tune --db {db}`.")
    missing = [f"{method} on {task}: skipped, for a split has no trials in {db}." for task, method in sorted(lacking)]
    return Plan(cells, [*plan.warnings, *missing])


def _chosen(cell: Cell, trials: dict[Place, list[Trial]]) -> Cell | None:
    """Of the longest budget that the cell was tried at; None where no trial has a score."""
    own = next((found for budget in reversed(BUDGETS) if (found := trials.get(place_of(cell, budget)))), [])
    if (taken := best(own)) is None:
        return None
    method = valid(type(cell.method)(**taken.settings))
    return replace(cell, method=method, purpose=Purpose.TUNED, named=f"tuned-{len(own)}")
