"""Ranges of hyperparameters, which `bnnbench tune` draws its trials from.

A method declares its own by `Inference.space()`: the fields that users tune, in ranges so wide around the defaults that
an optimum seldom lies at an end. What buys accuracy by cost alone (members of an ensemble, posterior samples, steps) is
no part of it, for the trials of all methods are to cost what their defaults cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Uniform:
    """A real number in [low, high], all equally likely."""

    low: float
    high: float

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class LogUniform(Uniform):
    """A positive number in [low, high] whose logarithm is uniform."""

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}, by its logarithm"


@dataclass(frozen=True)
class Integer:
    """A whole number in [low, high]."""

    low: int
    high: int

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}, whole"


@dataclass(frozen=True)
class OneOf:
    """One of several values, in no order."""

    values: tuple[str, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return " or ".join(self.values)


Domain = Uniform | Integer | OneOf
Space = Mapping[str, Domain]  # field -> its range

RATE = LogUniform(1e-4, 0.1)  # learning rates of Adam
PRIOR_SCALE = LogUniform(0.1, 10.0)
