"""Former spellings of arguments: each works and says what it is now."""

from __future__ import annotations

import warnings
from typing import Any

from bnnbench.errors import RenamedWarning, UserError
from bnnbench.tasks import TASKS


def renamed(now: str, value: Any, default: Any, before: str, former: Any) -> Any:
    """The value of an argument that may be given under its former name.

    Args:
        now, before: its option on the command line, and the former one.
        value, former: what is given under each; `default` and None if nothing is.

    Raises:
        UserError: both are given.
    """
    if former is None:
        return value
    if value is not default:
        raise UserError(f"{before} is the former name of {now}, and both are given; leave out {before}.")
    _say(f"{before} is now {now}.")
    return former


def split_arguments(splits: Any, split_rule: Any, folds: Any) -> tuple[Any, Any]:
    """`--splits` and `--split-rule`, which were `--folds` and `--splits`.

    Raises:
        UserError: one of them is given under both names.
    """
    if isinstance(splits, str) and splits in {rule for task in TASKS for rule in task.rules}:
        if split_rule is not None:
            raise UserError(f"--splits {splits} is a split rule, and so is --split-rule {split_rule}; give one.")
        _say(f"--splits {splits} is now --split-rule {splits}.")
        splits, split_rule = None, splits
    return renamed("--splits", splits, None, "--folds", folds), split_rule


def _say(sentence: str) -> None:
    warnings.warn(sentence, RenamedWarning, stacklevel=4)
