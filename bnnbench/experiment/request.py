"""What a run is asked for, before any name in it is looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bnnbench.experiment.overrides import Grid
from bnnbench.methods import Method
from bnnbench.tasks import Task
from bnnbench.tasks.budget import Budget


@dataclass(frozen=True)
class Request:
    """A run as its user asks for it.

    Attributes:
        methods: names and groups of methods, or objects with their own configuration.
        tasks: names and groups of tasks, or objects.
        budget: budget; a task may grant other numbers under its name.
        test_sets: names and groups of families of further test sets.
        split_rule: split rule, None for each task's own default.
        splits: indices of the splits to run, None for all.
        seeds: number of training seeds.
        settings: hyperparameters by method, of the methods that are named.
        root: the data root.
        exhaustive: whether sweeps of further test sets take all rows and samples.
    """

    methods: Sequence[str | Method]
    tasks: Sequence[str | Task]
    budget: Budget
    test_sets: Sequence[str] = ()
    split_rule: str | None = None
    splits: Sequence[int] | None = None
    seeds: int = 1
    settings: Mapping[str, Grid] = field(default_factory=dict)
    root: Path | None = None
    exhaustive: bool = False

    def names_method(self, cls: type[Method]) -> bool:
        """Whether a method is asked for itself, not by a group: then what it cannot do is an error."""
        return any(entry == cls.name if isinstance(entry, str) else type(entry) is cls for entry in self.methods)

    def names_task(self, task: Task) -> bool:
        """The same of a task."""
        return any(entry in (task.name, task) for entry in self.tasks)
