"""Test sets, and families of them that are made from those of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bnnbench.data.arrays import spread
from bnnbench.model.truth import Truth
from bnnbench.tasks.attacks import Attack

SWEEP_IMAGES, SWEEP_SAMPLES = 2000, 30


class TestSet(NamedTuple):
    """A test set in original units.

    Attributes:
        x: inputs [M, ...]. y: targets [M], None where no labels fit.
        truth: what is known of the true distribution at these inputs.
        out_of_distribution: whether the inputs are out of distribution, hence scored against those of `test`.
        attack: how the inputs are changed by the gradient of the posterior that is scored, if they are.
        change: what is made of the inputs when they are predicted, where that is too much to be kept.
        metrics: names of those that score it, None for all.
        samples: predictive samples at most, None for those of the budget.
    """

    x: np.ndarray
    y: np.ndarray | None
    truth: Truth | None = None
    out_of_distribution: bool = False
    attack: Attack | None = None
    samples: int | None = None
    change: Callable[[np.ndarray], np.ndarray] | None = None
    metrics: tuple[str, ...] | None = None

    __test__ = False  # or pytest takes it for a class of tests


def swept(test: TestSet, exhaustive: bool) -> TestSet:
    """The rows of a sweep, with its limit of samples."""
    assert test.y is not None
    rows = spread(len(test.x), len(test.x) if exhaustive else SWEEP_IMAGES)
    return TestSet(test.x[rows], test.y[rows], samples=None if exhaustive else SWEEP_SAMPLES)


@dataclass(frozen=True)
class TestSetFamily(ABC):
    """Further test sets under one name (`--test-sets rotation`), all scored from one trained posterior.

    Attributes:
        name: of the family on the command line. Names of its test sets are made in `bnnbench.names`.
        groups: names of groups of families that it belongs to.
        optional: whether it is left out of `all`.
    """

    name: str
    groups: tuple[str, ...] = ()
    optional: bool = False

    __test__ = False

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Names of further data sets that it reads; they must be there before a run begins."""
        return ()

    @abstractmethod
    def make(self, test: TestSet, other: Callable[[str], np.ndarray], exhaustive: bool) -> dict[str, TestSet]:
        """Name -> test set.

        Args:
            test: the task's own test set.
            other: the inputs of another data set, in the shape of this task's.
            exhaustive: whether a sweep takes all test rows and all samples, under a name of its own.
        """
