"""What a run is asked for, before any name in it is looked up."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bnnbench.arguments import text_of
from bnnbench.errors import UserError
from bnnbench.methods import METHODS, Inference, configure
from bnnbench.tasks import Task
from bnnbench.tasks.budget import Budget

Grid = dict[str, list[str]]  # field -> values; several values make a grid
Overrides = dict[str, Grid]  # method -> grid


@dataclass(frozen=True)
class Request:
    """A run as its user asks for it.

    Attributes:
        methods: names and groups of methods, or objects with their own configuration.
        tasks: names and groups of tasks, or objects.
        budget: budget; a task may grant other numbers under its name.
        test_sets: names and groups of families of further test sets.
        calibrations: names of calibrations after training, or `all`.
        split_rule: split rule, None for each task's own default.
        splits: indices of the splits to run, None for all.
        seeds: number of training seeds.
        settings: hyperparameters by method, of the methods that are named.
        root: the data root.
        exhaustive: whether sweeps of further test sets take all rows and samples.
    """

    methods: Sequence[str | Inference]
    tasks: Sequence[str | Task]
    budget: Budget
    test_sets: Sequence[str] = ()
    calibrations: Sequence[str] = ()
    split_rule: str | None = None
    splits: Sequence[int] | None = None
    seeds: int = 1
    settings: Mapping[str, Grid] = field(default_factory=dict)
    root: Path | None = None
    exhaustive: bool = False

    def names_method(self, cls: type[Inference]) -> bool:
        """Whether a method is asked for itself, not by a group: then what it cannot do is an error."""
        return any(entry == cls.name if isinstance(entry, str) else type(entry) is cls for entry in self.methods)

    def names_task(self, task: Task) -> bool:
        """The same of a task."""
        return any(entry in (task.name, task) for entry in self.tasks)


def parse_overrides(texts: str | Iterable[str]) -> Overrides:
    """`method.param=value[,value...]` strings to a nested dict.

    Raises:
        UserError: no strings, one of another form, an unknown method, or a parameter that is named twice.
    """
    texts = [texts] if isinstance(texts, str) else texts
    if isinstance(texts, (bytes, dict)) or not isinstance(texts, Iterable):
        raise UserError(f"--set takes strings method.param=value, not {texts!r}.")
    overrides: Overrides = {}
    for text in texts:
        path, equals, values = text_of(text, "--set").partition("=")
        method, dot, parameter = path.strip().rpartition(".")
        if not (equals and dot and method and parameter and values):
            raise UserError(f"--set takes method.param=value (several values with commas), not {text!r:.200}.")
        METHODS.get(method)
        if parameter in overrides.setdefault(method, {}):
            raise UserError(f"--set names {path} twice; give its values in one --set, with commas.")
        overrides[method][parameter] = [value.strip() for value in values.split(",")]
    return overrides


def configurations(cls: type[Inference], grid: Grid, tuned: Mapping[str, Any] | None = None) -> list[Inference]:
    """All combinations of the values of a grid, each once; a single default configuration without one.

    Args:
        tuned: a task's own defaults.

    Raises:
        UserError: a value that the method does not take.
    """
    combinations = itertools.product(*grid.values())
    return list(dict.fromkeys(configure(cls, dict(zip(grid, values, strict=True)), tuned) for values in combinations))
