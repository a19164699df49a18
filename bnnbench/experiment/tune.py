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
from bnnbench.experiment.trials import Setup, Trials, place_of, read_trials, refuse_twins, trials_of
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
        UserError: as `build_plan`; several configurations of a method, one outside its space, or more than `MOST_CELLS`
            trials.
    """
    base = build_plan(request)
    refuse_twins(base.cells, "bnnbench tune")
    if trials * len(base.cells) > MOST_CELLS:
        raise UserError(f"{trials} trials of {len(base.cells):,} cells are more than {MOST_CELLS:,}; split them.")
    for cell in base.cells:
        _refuse_outside(cell, free(cell, request))
    summaries: list[Summary] = []
    for numbers in rounds(trials, sampler):
        done = read_trials(db, base.cells) if numbers.start else {}
        plan = trial_plan(request, base, sampler, done, numbers)
        summaries.append(run_plan(plan, db, None, resources, dry_run=dry_run, force=False, quiet=quiet, keep=False))
        if dry_run:
            break
    if export and not dry_run:
        spaces = [(cell, setup_of(cell, request, sampler), free(cell, request)) for cell in base.cells]
        write_studies(db, spaces, studies_beside(db))
    return _in_all(summaries)


def trial_plan(request: Request, base: Plan, sampler: str, done: Trials, numbers: range) -> Plan:
    """The trials with these numbers, given those that are done."""
    cells: list[Cell] = []
    for cell in base.cells:
        setup = setup_of(cell, request, sampler)
        before = [t for t in done.get((place_of(cell, cell.budget.name), setup), []) if t.number < numbers.start]
        cells += trials_of(cell, free(cell, request), setup, before, numbers)
    return Plan(cells, base.warnings)


def free(cell: Cell, request: Request) -> Space:
    """The fields of a cell's method that are tuned: those of its space that the request does not set."""
    fixed = request.settings.get(cell.method.name, {})
    return {name: domain for name, domain in cell.method.space().items() if name not in fixed}


def setup_of(cell: Cell, request: Request, sampler: str) -> Setup:
    """Which trials those of a cell are."""
    fixed = sorted(request.settings.get(cell.method.name, {}))
    return Setup(sampler, ",".join(f"{name}={getattr(cell.method, name)}" for name in fixed))


def _refuse_outside(cell: Cell, space: Space) -> None:
    for name, domain in space.items():
        if (value := getattr(cell.method, name)) not in domain:
            raise UserError(
                f"{cell.method.name}.{name} is {value}, outside of where it is tuned ({domain}); begin within."
            )


def _in_all(summaries: Sequence[Summary]) -> Summary:
    """What all rounds did."""
    statuses: Counter = sum((Counter(each.statuses) for each in summaries), Counter())
    return replace(
        summaries[-1],
        cells=sum(each.cells for each in summaries),
        missing=sum(each.missing for each in summaries),
        statuses=statuses,
        warnings=tuple(dict.fromkeys(warning for each in summaries for warning in each.warnings)),
    )
