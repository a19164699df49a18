"""What is known of the true distribution at some points, in arrays or in tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar


class NormalTruth(NamedTuple):
    """The normal distribution of y given x, of a regression.

    Attributes:
        mean, sd: its mean and standard deviation at the points, each [N].
    """

    mean: Any
    sd: Any


class DensityTruth(NamedTuple):
    """The density of x, of a density task.

    Attributes:
        log_density: log p at the points [N].
        area: what each point of a grid stands for [N]; 0 of random samples.
    """

    log_density: Any
    area: Any


Truth = NormalTruth | DensityTruth
T = TypeVar("T", bound=Truth)


def mapped(f: Callable[[Any], Any], truth: T) -> T:
    """The truth of what f makes of each of its arrays: other points, another type."""
    return type(truth)(*map(f, truth))
