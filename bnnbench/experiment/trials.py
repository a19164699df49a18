"""Trials: the cells by which hyperparameters are chosen, nested in each split.

Every cell of a plan, a method on a split, becomes as many trials, each of another configuration. They are scored as all
cells are, and the validation rows of that very split choose among them: its test rows have no say.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.candidates import Told, candidates
from bnnbench.methods.space import Space
from bnnbench.names import VALIDATION
from bnnbench.records import SCORED, Purpose, Status
from bnnbench.store.address import Address
from bnnbench.store.store import ResultStore

METRIC = "log_likelihood"  # on the validation rows, by which a configuration is chosen
Place = tuple[str, str, str, int, str, str]
_PLACE = ("task", "task_version", "method", "method_version", "split", "budget")  # what trials of a cell share


class Setup(NamedTuple):
    """What trials have in common beside method and task; those of another are told apart by their labels.

    Attributes:
        sampler: who draws them. fixed: hyperparameters that are not tuned, as text.
    """

    sampler: str
    fixed: str = ""

    def label(self, number: int) -> str:
        """`qmc-03`, `tpe-03 prior_scale=3.0`."""
        return f"{self.sampler}-{number:02d} {self.fixed}".rstrip()

    @classmethod
    def parse(cls, label: str) -> tuple[Setup, int]:
        """Back from the label."""
        name, _, fixed = label.partition(" ")
        sampler, _, number = name.rpartition("-")
        return cls(sampler, fixed), int(number)


class Trial(NamedTuple):
    """A trial that was run.

    Attributes:
        number: its number. settings: all hyperparameters. score: on the validation rows, None if it has none.
        flagged: whether the method's own diagnostics flag it.
    """

    number: int
    settings: Mapping[str, Any]
    score: float | None
    flagged: bool


Trials = dict[tuple[Place, Setup], list[Trial]]


def place_of(cell: Cell, budget: str) -> Place:
    """What the trials of a cell at a budget share, whatever the seed of the cell."""
    record = cell.record
    return (record.task, record.task_version, record.method, record.method_version, record.split, budget)


def trials_of(cell: Cell, space: Space, setup: Setup, done: Sequence[Trial], numbers: range) -> list[Cell]:
    """The trials of a cell with these numbers, given those before."""
    told: Told = [(type(cell.method)(**trial.settings), trial.score) for trial in done]
    found = candidates(cell.method, space, setup.sampler, told, len(numbers))
    return [
        replace(cell, method=method, purpose=Purpose.TUNE, named=setup.label(number))
        for number, method in zip(numbers, found, strict=False)  # one alone where nothing is tuned
    ]


def read_trials(db: str | os.PathLike[str], cells: Sequence[Cell]) -> Trials:
    """The trials of these cells that were run, failed ones too, at any budget, in the order of their numbers."""
    if not Address.parse(db).exists():
        return {}
    chosen: dict[str, Any] = {
        "purpose": Purpose.TUNE.value,
        "task": sorted({cell.task.name for cell in cells}),
        "method": sorted({cell.method.name for cell in cells}),
    }
    with ResultStore(db, read_only=True) as store:
        attempts: Any = store.attempts(**chosen)
        scores: Any = store.scores(**chosen, evaluation=VALIDATION, metric=METRIC, status=SCORED)
    scores = scores[(scores["metric"] == METRIC) & scores["value"].map(math.isfinite)]
    values = dict(zip(scores["fingerprint"], scores["value"], strict=True))
    found: Trials = {}
    for row in attempts.to_dict("records"):
        (setup, number), settings = Setup.parse(row["config"]), json.loads(row["configuration"])
        trial = Trial(number, settings, values.get(row["fingerprint"]), row["status"] == Status.UNCONVERGED.value)
        found.setdefault((tuple(row[name] for name in _PLACE), setup), []).append(trial)
    return {key: sorted(own, key=lambda trial: trial.number) for key, own in found.items()}


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the largest score among those that are not flagged, or among all where all are; of equal ones the
    first. None where none has a score."""
    scored = [trial for trial in trials if trial.score is not None]
    able = [trial for trial in scored if not trial.flagged] or scored
    return max(able, key=lambda trial: (trial.score, -trial.number), default=None)


def refuse_twins(cells: Sequence[Cell], what: str) -> None:
    """Raise where a method has several configurations on a task, of which trials can belong to one alone.

    Raises:
        UserError: it has.
    """
    count = Counter((cell.task.name, cell.method.name, cell.record.split, cell.seed) for cell in cells)
    for (task, method, *_), number in count.items():
        if number > 1:
            raise UserError(
                f"{what} takes one configuration of {method} on {task}, not {number}; leave out the others."
            )
