"""Plans of results with the hyperparameters that trials chose, each split its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.plan import Plan
from bnnbench.experiment.request import Request
from bnnbench.experiment.trials import Trial, Trials, best, place_of, read_trials, refuse_twins
from bnnbench.methods import valid
from bnnbench.records import Purpose
from bnnbench.store.address import Address
from bnnbench.tasks.budget import BUDGETS


def tuned_plan(plan: Plan, request: Request, db: str | os.PathLike[str]) -> Plan:
    """The cells of a plan, each with the configuration that was best on its validation rows, under a label like
    `tuned-16`: how many trials there were.

    A method on a task is left out, with a warning, where its splits have no equal number of trials, or no score.

    Raises:
        UserError: there is no such database, it has no trials of any cell, or the request configures methods itself.
    """
    if request.settings or any(not isinstance(entry, str) for entry in request.methods):
        raise UserError("--tuned chooses the configurations itself; name the methods, and leave --set out.")
    if not Address.parse(db).exists():
        raise UserError(f"There is no database {db} with trials; make it by `bnnbench tune --db {db}`.")
    refuse_twins(plan.cells, "--tuned")
    trials = read_trials(db, plan.cells)
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in plan.cells:
        groups.setdefault((cell.task.name, cell.method.name), []).append(cell)
    cells, warnings = list[Cell](), list(plan.warnings)
    for (task, method), own in groups.items():
        try:
            cells += _chosen(own, trials)
        except UserError as reason:
            warnings.append(f"{method} on {task}: skipped. {reason}")
    if not cells:
        raise UserError(f"{db} holds no trials of what is to be run; make them by `bnnbench tune --db {db}`.")
    return Plan(cells, warnings)


def _chosen(cells: Sequence[Cell], trials: Trials) -> list[Cell]:
    """Of the longest budget at which they were tried."""
    tried = [_longest(cell, trials) for cell in cells]
    if len({(budget, len(own)) for budget, own in tried}) > 1:
        raise UserError("Its splits have no equal number of trials; run `bnnbench tune` to its end.")
    taken = [best(own) for _, own in tried]
    if not all(taken):
        raise UserError("No trial of one of its splits has a score.")
    return [
        replace(cell, method=valid(type(cell.method)(**trial.settings)), purpose=Purpose.TUNED, named=f"tuned-{number}")
        for cell, trial, number in zip(cells, taken, (len(own) for _, own in tried), strict=True)
        if trial
    ]


def _longest(cell: Cell, trials: Trials) -> tuple[str, list[Trial]]:
    for budget in reversed(BUDGETS):
        place = place_of(cell, budget)
        found = {setup: own for (where, setup), own in trials.items() if where == place}
        if len(found) > 1:
            setups = " and ".join(sorted(setup.label(0) for setup in found))
            raise UserError(f"Its trials are of several kinds ({setups}); keep these in databases of their own.")
        if found:
            (own,) = found.values()
            return budget, own
    raise UserError("One of its splits has no trials.")
