"""Which method `bnnbench check` puts to the test."""

from __future__ import annotations

from typing import Any

from bnnbench.arguments import text_of
from bnnbench.errors import UserError
from bnnbench.experiment.overrides import Overrides, configurations
from bnnbench.methods import METHODS, Method, valid


def method_to_check(method: Any, settings: Overrides) -> Method:
    """A method by its name, with settings of its own, or as an object.

    Raises:
        UserError: no such method, settings of others or a grid, or a method without regression.
    """
    found = _given(method, settings) if isinstance(method, Method) else _named(text_of(method, "METHOD"), settings)
    if "regression" not in found.supports:
        raise UserError(f"The checks are regressions, which {found.name!r} does not support.")
    return found


def _given(method: Method, settings: Overrides) -> Method:
    METHODS.admitted(type(method))
    if settings:
        raise UserError(f"--set is for a method that is named; {method.name!r} was given as an object, configured.")
    return valid(method)


def _named(name: str, settings: Overrides) -> Method:
    cls = METHODS.get(name)
    if others := sorted(set(settings) - {cls.name}):
        raise UserError(f"--set names {others[0]!r}, and the method to be checked is {cls.name!r}.")
    grid = settings.get(cls.name, {})
    if any(len(values) > 1 for values in grid.values()):
        raise UserError("bnnbench check takes one value a parameter, no grid.")
    (configured,) = configurations(cls, grid)
    return configured
