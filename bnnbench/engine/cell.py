"""The unit of work: one method on one split of one task, and what tells two of them apart."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from bnnbench import names, random
from bnnbench.methods import Inference
from bnnbench.records import CellRecord, Purpose, canonical
from bnnbench.tasks import Task
from bnnbench.tasks.budget import Budget


@dataclass(frozen=True)
class Cell:
    """One method with one configuration on one split of one task, with one seed and budget.

    Attributes:
        purpose: what it is run for. named: its label, where it is not what differs from the defaults.
    """

    task: Task
    method: Inference
    rule: str
    index: int
    seed: int
    budget: Budget
    root: Path | None = None
    test_sets: tuple[str, ...] = field(default=(), compare=False)  # families beside what is always scored
    calibrations: tuple[str, ...] = field(default=(), compare=False)  # after training, each an evaluation of its own
    purpose: Purpose = Purpose.RESULT
    named: str = ""

    @cached_property
    def record(self) -> CellRecord:
        """The cell as the store knows it."""
        return CellRecord(
            task=self.task.name,
            task_version=self.task.versioned(self.root),
            method=self.method.name,
            method_version=self.method.version,
            config=configuration(self.method),
            label=self.named or label(self.method, self.task),
            rule=self.rule,
            index=self.index,
            seed=self.seed,
            budget=self.budget.name,
            purpose=self.purpose.value,
        )

    @property
    def key(self) -> Tensor:
        """Depends on task, split and seed alone: methods that train the same network share start and minibatches."""
        return random.key_of("cell", self.task.name, self.rule, self.index, self.seed)

    @property
    def steps(self) -> int:
        """Updates of this cell."""
        return self.budget.steps * self.method.steps_multiplier if self.method.num_networks else 0


def _fields(method: Inference) -> dict[str, Any]:
    return dataclasses.asdict(method)  # type: ignore[call-overload]


def configuration(method: Inference) -> str:
    """All hyperparameters, as canonical JSON."""
    return canonical(_fields(method))


def default(cls: type[Inference], task: Task) -> Inference:
    """A method with its defaults on a task."""
    return cls(**task.defaults(cls.name, cls.tags))


def label(method: Inference, task: Task | None = None) -> str:
    """What differs from the defaults, of a task or of no special one; `default` if nothing."""
    plain = _fields(type(method)() if task is None else default(type(method), task))
    changed = [f"{name}={value}" for name, value in _fields(method).items() if value != plain[name]]
    return ",".join(changed) or names.DEFAULT
