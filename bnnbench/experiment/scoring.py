"""What is said on a command line or in Python about predictions, taken or refused in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnnbench import names
from bnnbench.arguments import path_of, text_of, wholes_of
from bnnbench.data.columns import as_array
from bnnbench.errors import UserError
from bnnbench.experiment.external import Target
from bnnbench.predictions.forms import Arrays, refuse_kind
from bnnbench.tasks import TASKS, Task
from bnnbench.tasks.own import all_tasks

LONGEST = 1000  # characters of a citation


def target_of(task: Any, split_rule: Any, data_dir: Any) -> Target:
    """The task, the split rule, and the root of the data.

    Raises:
        UserError: no such task or rule, or a task whose predictions cannot be scored.
    """
    root: Path | None = None if data_dir is None else path_of(data_dir, "--data-dir")
    found = TASKS.admitted(task) if isinstance(task, Task) else all_tasks(root).get(text_of(task, "--task"))
    refuse_kind(found.name, found.kind)
    rule = found.rules[0] if split_rule is None else text_of(split_rule, "--split-rule")
    if rule not in found.rules:
        raise UserError(f"The task {found.name!r} has no split rule {rule!r}; it has {', '.join(found.rules)}.")
    found.splits(rule, root)  # raises where the data are missing
    return Target(found, rule, root)


def indices_of(target: Target, splits: Any) -> list[int]:
    """Indices of splits, a list or one string with commas.

    Raises:
        UserError: something else, or a split that the task has not.
    """
    count = len(target.task.splits(target.rule, target.root))
    found = wholes_of(splits, "--splits")
    if unknown := [index for index in found if index not in range(count)]:
        where = f"under {target.rule!r}, no {unknown[0]}"
        raise UserError(f"The task {target.task.name!r} has splits 0 to {count - 1} {where}.")
    return found


def citation_of(value: Any) -> str:
    """A citation, which stands in tables.

    Raises:
        UserError: no text of one line.
    """
    text = text_of(value, "--citation")
    if len(text) > LONGEST or not text.isprintable():
        raise UserError(f"--citation takes one line of printable text, at most {LONGEST:,} characters.")
    return text


def from_arrays(
    target: Target, predictions: Mapping[Any, Any], splits: Sequence[int] | None
) -> dict[int, tuple[str, Arrays]]:
    """Index of a split -> how its predictions are called in a sentence, and their arrays.

    Args:
        predictions: by index or name of a split.
        splits: indices of those that are wanted, None for all that the task has.

    Raises:
        UserError: a split that does not exist or has no predictions, or what makes no arrays.
    """
    count = len(target.task.splits(target.rule, target.root))
    known = {names.split(target.rule, index): index for index in range(count)}
    given: dict[int, Any] = {}
    for key, arrays in predictions.items():
        index = known.get(key, key) if isinstance(key, str) else key
        if isinstance(index, bool) or not hasattr(index, "__index__") or index not in range(count):
            raise UserError(f"{key!r:.80} is no split of {target.task.name!r}; these are {', '.join(known)}.")
        if not isinstance(arrays, Mapping):
            raise UserError(f"The predictions of {key!r:.80} are no arrays by name, but a {type(arrays).__name__}.")
        given[int(index)] = arrays
    wanted = range(count) if splits is None else splits
    if missing := [names.split(target.rule, index) for index in wanted if index not in given]:
        raise UserError(
            f"There are no predictions of {missing[0]} ({len(missing)} splits are missing); give them, or name the "
            "splits that are there by splits=."
        )
    return {index: (f"The predictions of {names.split(target.rule, index)}", _arrays(given[index])) for index in wanted}


def _arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {str(name): as_array(value) for name, value in values.items()}
