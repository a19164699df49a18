"""Trials: the cells by which hyperparameters are chosen, nested in each split.

Every cell of a plan, a method on a split, becomes as many trials, each of another configuration. They are scored as all
cells are, and the validation rows of that very split choose among them: its test rows have no say.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bnnbench.engine.cell import Cell
from bnnbench.experiment.candidates import Told, candidates
from bnnbench.methods.space import Space
from bnnbench.names import VALIDATION
from bnnbench.records import SCORED, Purpose, Status
from bnnbench.store.address import Address
from bnnbench.store.store import ResultStore

METRIC = "log_likelihood"  # on the validation rows, by which a configuration is chosen
LABEL = "trial-"
Place = tuple[str, str, str, int, str, int, str]
_PLACE = ("task", "task_version", "method", "method_version", "split", "seed", "budget")  # what trials of a cell share


class Trial(NamedTuple):
    """A finished trial.

    Attributes:
        number: its number. settings: all hyperparameters. score: on the validation rows, None if it has none.
        flagged: whether the method's own diagnostics flag it.
    """

    number: int
    settings: Mapping[str, Any]
    score: float | None
    flagged: bool


def place_of(cell: Cell, budget: str) -> Place:
    """What the trials of a cell at a budget share."""
    record = cell.record
    return (record.task, record.task_version, record.method, record.method_version, record.split, record.seed, budget)


def trials_of(cell: Cell, space: Space, sampler: str, done: Sequence[Trial], upto: int) -> list[Cell]:
    """The trials of a cell up to a number, those that are done among them."""
    told: Told = [(type(cell.method)(**trial.settings), trial.score) for trial in done]
    return [
        replace(cell, method=method, purpose=Purpose.TUNE, named=f"{LABEL}{number:02d}")
        for number, method in enumerate(candidates(cell.method, space, sampler, told, upto))
    ]


def finished_trials(db: str | os.PathLike[str], cells: Sequence[Cell]) -> dict[Place, list[Trial]]:
    """Finished trials of these cells, whatever their budget, in the order of their numbers."""
    if not Address.parse(db).exists():
        return {}
    chosen: dict[str, Any] = {
        "purpose": Purpose.TUNE.value,
        "task": sorted({cell.task.name for cell in cells}),
        "method": sorted({cell.method.name for cell in cells}),
    }
    with ResultStore(db, read_only=True) as store:
        attempts: Any = store.attempts(**chosen, status=[status.value for status in Status if status.finished])
        scores: Any = store.scores(**chosen, evaluation=VALIDATION, metric=METRIC, status=SCORED)
    scores = scores[(scores["metric"] == METRIC) & scores["value"].map(math.isfinite)]
    values = dict(zip(scores["fingerprint"], scores["value"], strict=True))
    found: dict[Place, list[Trial]] = {}
    for row in attempts.to_dict("records"):
        number, settings = int(row["config"].removeprefix(LABEL)), json.loads(row["configuration"])
        trial = Trial(number, settings, values.get(row["fingerprint"]), row["status"] == Status.UNCONVERGED.value)
        found.setdefault(tuple(row[name] for name in _PLACE), []).append(trial)
    return {place: sorted(own, key=lambda trial: trial.number) for place, own in found.items()}


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the largest score among those that are not flagged, or among all where all are; of equal ones the
    first. None where none has a score."""
    scored = [trial for trial in trials if trial.score is not None]
    able = [trial for trial in scored if not trial.flagged] or scored
    return max(able, key=lambda trial: (trial.score, -trial.number), default=None)
