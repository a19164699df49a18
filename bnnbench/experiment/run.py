"""A run: the plan of a request, carried out as far as the database lacks it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from rich.console import Console

from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import all_packs
from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.definitions import definitions
from bnnbench.experiment.machine import command, session_record
from bnnbench.experiment.outstanding import outstanding, read_outstanding
from bnnbench.experiment.pack import Ended, work
from bnnbench.experiment.plan import Plan, build_plan
from bnnbench.experiment.progress import RunProgress
from bnnbench.experiment.request import Request
from bnnbench.experiment.resources import Resources
from bnnbench.experiment.runner import run_cells
from bnnbench.experiment.shipping import refuse_while_unpacking
from bnnbench.experiment.stages import run_stages
from bnnbench.experiment.threads import memory_of
from bnnbench.experiment.tuned import tuned_plan
from bnnbench.records import Status
from bnnbench.store.store import ResultStore

MOST_SHOWN = 20  # reasons why cells failed


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        cells: cells of the plan. missing: those that were not finished before.
        statuses: how many of those ended in which status.
        packs: (task, method, cells) of what was to be trained.
        warnings: what was left out and why cells failed, one sentence each.
        rescored: how often a finished cell was given evaluations that it lacked, counted once a stage.
    """

    cells: int
    missing: int
    statuses: Mapping[Status, int] = field(default_factory=dict)
    packs: tuple[tuple[str, str, int], ...] = ()
    warnings: tuple[str, ...] = ()
    rescored: int = 0

    @property
    def all_failed(self) -> bool:
        """Whether every cell that was to be trained failed."""
        return set(self.statuses) == {Status.FAILED}


def run_request(
    request: Request,
    db: str | os.PathLike[str],
    artifacts: str | os.PathLike[str] | None,
    resources: Resources,
    *,
    dry_run: bool,
    force: bool,
    quiet: bool,
    tuned: str | os.PathLike[str] | None = None,
) -> Summary:
    """Train and score what is missing of a request, and add the evaluations that finished cells lack."""
    refuse_while_unpacking()
    plan = build_plan(request)
    if tuned is not None:
        plan = tuned_plan(plan, request, tuned)
    return run_plan(plan, db, artifacts, resources, dry_run=dry_run, force=force, quiet=quiet)


def run_plan(
    plan: Plan,
    db: str | os.PathLike[str],
    artifacts: str | os.PathLike[str] | None,
    resources: Resources,
    *,
    dry_run: bool,
    force: bool,
    quiet: bool,
    keep: bool = True,
) -> Summary:
    """Carry out a plan as far as the database lacks it.

    Args:
        keep: whether posteriors, predictives and curves are stored, from which cells get later evaluations.
    """
    device = resources.device
    left = read_outstanding(db, plan.cells, force, dry_run, artifacts)
    if dry_run:
        return _planned(plan, plan.cells if left is None else left.missing, device)
    if left is not None and not left.writes:
        return Summary(len(plan.cells), 0, warnings=(*plan.warnings, *left.warnings))
    with ResultStore(db, artifacts=artifacts) as store:
        left = left or outstanding(store, plan.cells, force)
        store.register(*definitions(plan.cells))
        packs, silent = len(all_packs(left.missing, device)), quiet or not left.writes
        with RunProgress(Console(stderr=True), packs, work(left.missing), silent) as progress:
            ended, faults = run_cells(
                store,
                plan.cells,
                left.missing,
                lambda *means: store.start_session(session_record(device, command(), *means)),
                Settings(
                    device,
                    resources.timeout,
                    force,
                    store.checkpoints,
                    memory_of(resources.memory),
                    resources.precision,
                    keep,
                ),
                progress,
                resources.executor,
                resources.large_threads,
            )
            later = plan.cells if keep else []  # what has no posterior gets no further evaluations
            scored = run_stages(store, later, device, progress, resources.large_threads)
    said = (*plan.warnings, *left.warnings, *dict.fromkeys(faults + scored.faults), *_failures(ended))
    statuses = Counter(end.status for end in ended.elements())
    return Summary(len(plan.cells), len(left.missing), statuses, warnings=said, rescored=scored.cells)


def _planned(plan: Plan, missing: Sequence[Cell], device: torch.device) -> Summary:
    packs = tuple((pack[0].task.name, pack[0].method.name, len(pack)) for pack in all_packs(missing, device))
    return Summary(len(plan.cells), len(missing), packs=packs, warnings=tuple(plan.warnings))


def _failures(ended: Counter[Ended]) -> list[str]:
    """Why cells failed, one sentence for each reason."""
    failed = [(end, n) for end, n in ended.items() if end.status is Status.FAILED]
    sentences = [
        f"{end.task} {end.method}: {n} cell{'s' if n > 1 else ''} failed: {' '.join(end.message.split())}"
        for end, n in failed[:MOST_SHOWN]
    ]
    more = len(failed) - MOST_SHOWN
    return [*sentences, f"{more} more reasons why cells failed are in the database."] if more > 0 else sentences
