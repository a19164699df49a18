"""Hyperparameters of a run that differ from the defaults: `--set method.param=value`, and the grids they make."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from bnnbench.arguments import text_of
from bnnbench.errors import UserError
from bnnbench.methods import METHODS, Method, configure

Grid = dict[str, list[str]]  # field -> values; several values make a grid
Overrides = dict[str, Grid]  # method -> grid


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


def configurations(cls: type[Method], grid: Grid, tuned: Mapping[str, Any] | None = None) -> list[Method]:
    """All combinations of the values of a grid, each once; a single default configuration without one.

    Args:
        tuned: a task's own defaults.

    Raises:
        UserError: a value that the method does not take.
    """
    combinations = itertools.product(*grid.values())
    return list(dict.fromkeys(configure(cls, dict(zip(grid, values, strict=True)), tuned) for values in combinations))
