"""Tuning: every method gets the same number of trials on every split, round by round."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.candidates import rounds
from bnnbench.experiment.plan import MOST_CELLS, Plan, build_plan
from bnnbench.experiment.request import Request
from bnnbench.experiment.resources import Resources
from bnnbench.experiment.run import Summary, run_plan
from bnnbench.experiment.studies import studies_beside, write_studies
from bnnbench.experiment.trials import Place, Trial, finished_trials, place_of, trials_of
from bnnbench.methods.space import Space


def tune_request(
    request: Request,
    trials: int,
    sampler: str,
    db: str | os.PathLike[str],
    resources: Resources,
    *,
    dry_run: bool,
    quiet: bool,
    export: bool = False,
) -> Summary:
    """Run what is missing of the trials of a request; of a dry run, the first round.

    Args:
        export: whether they are also written as studies of Optuna.

    Raises:
        UserError: as `build_plan`; several values of a hyperparameter, or more than `MOST_CELLS` trials.
    """
    _refuse_grids(request)
    base = build_plan(request)
    if trials * len(base.cells) > MOST_CELLS:
        raise UserError(f"{trials} trials of {len(base.cells):,} cells are more than {MOST_CELLS:,}; split them.")
    done: dict[Place, list[Trial]] = {}
    summaries: list[Summary] = []
    for upto in rounds(trials, sampler):
        plan = trial_plan(request, base, sampler, done, upto)
        summaries.append(run_plan(plan, db, None, resources, dry_run=dry_run, force=False, quiet=quiet, keep=False))
        if dry_run:
            break
        done = finished_trials(db, base.cells) if upto < trials else done
    if export and not dry_run:
        write_studies(db, base.cells, studies_beside(db))
    return _in_all(summaries)


def trial_plan(request: Request, base: Plan, sampler: str, done: dict[Place, list[Trial]], upto: int) -> Plan:
    """All trials up to a number, given those that are done."""
    cells = [
        trial
        for cell in base.cells
        for trial in trials_of(cell, free(cell, request), sampler, _known(cell, done, upto), upto)
    ]
    return Plan(cells, base.warnings)


def free(cell: Cell, request: Request) -> Space:
    """The fields of a cell's method that are tuned: those of its space that the request does not set."""
    fixed = request.settings.get(cell.method.name, {})
    return {name: domain for name, domain in cell.method.space().items() if name not in fixed}


def _known(cell: Cell, done: dict[Place, list[Trial]], upto: int) -> Sequence[Trial]:
    return [trial for trial in done.get(place_of(cell, cell.budget.name), []) if trial.number < upto]


def _refuse_grids(request: Request) -> None:
    for method, grid in request.settings.items():
        for name, values in grid.items():
            if len(values) > 1:
                raise UserError(f"tune takes one value of {method}.{name}, which then stays as it is; leave out --set.")


def _in_all(summaries: Sequence[Summary]) -> Summary:
    """What all rounds did: the last one's plan holds those before it."""
    last = summaries[-1]
    statuses: Counter = sum((Counter(each.statuses) for each in summaries), Counter())
    warnings = tuple(dict.fromkeys(warning for each in summaries for warning in each.warnings))
    return replace(last, missing=sum(each.missing for each in summaries), statuses=statuses, warnings=warnings)
