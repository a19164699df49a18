"""Estimators in the engine: one cell, with its rows as arrays, its generators seeded, its predictions checked."""

from __future__ import annotations

import random as python
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnnbench import random
from bnnbench.engine.pack import Pack, Replicas
from bnnbench.engine.predict import Component
from bnnbench.engine.returned import in_order, in_units
from bnnbench.engine.step import INIT, PREDICT, TRAIN
from bnnbench.engine.train import History
from bnnbench.errors import UserError
from bnnbench.methods.estimator import Assignment, Estimator, Examples, Spending
from bnnbench.model import Params, Predictive, Problem
from bnnbench.model.posteriors import Posterior
from bnnbench.model.predictive import each

PREFIX = "fitted/"  # of the names of what an estimator saves


@dataclass(frozen=True)
class Estimated:
    """A fitted estimator in the place of a trained pack, of one cell.

    Attributes:
        fitted: what `fit` returned. live: whether it was fitted, [1].
    """

    pack: Pack
    estimator: Estimator
    fitted: Any
    live: Tensor
    draws: None = None

    def components(self, samples: int, factors: Params | None = None) -> Sequence[Component]:
        """The predictive as one function of the inputs; it draws the same at every call."""
        if factors is not None:
            raise UserError(f"{self.estimator.name} is an estimator, whose weights cannot be pruned.")
        return [lambda x: self._predicted(x, samples)]

    def rows_at_once(self, samples: int) -> int:
        """All rows: what it holds in memory is its own business."""
        del samples
        return 2**62

    @property
    def posterior(self) -> Posterior:
        """None that is known here."""
        raise UserError(f"{self.estimator.name} is an estimator, whose posterior is its own.")

    def arrays(self, replica: int) -> dict[str, np.ndarray]:
        """What the estimator saves of itself, `fitted/...`."""
        del replica
        return {f"{PREFIX}{name}": np.asarray(values) for name, values in self.estimator.save(self.fitted).items()}

    @classmethod
    def from_arrays(cls, estimator: Estimator, pack: Pack, arrays: Mapping[str, np.ndarray]) -> Estimated:
        """Back from what it saved."""
        own = {name.removeprefix(PREFIX): values for name, values in arrays.items() if name.startswith(PREFIX)}
        fitted = estimator.load(own, problem=assignment(pack))
        return cls(pack, estimator, fitted, torch.ones(1, dtype=torch.bool))

    def _predicted(self, x: Tensor, samples: int) -> Predictive:
        problem = one(self.pack)
        inputs = _array(problem.standardise(x[0], x.dtype))
        with generators(random.fold_in(self.pack.keys[0], PREDICT)):
            found = self.estimator.predict(self.fitted, inputs, samples)
        checked = in_order(found, len(inputs), classes(problem))
        return each(lambda part: part[None], in_units(checked, problem))


def one(pack: Replicas) -> Problem:
    """The problem of a pack's only cell."""
    rows = type(pack.problem.rows)(*(values[0] for values in pack.problem.rows))
    return pack.problem_of(pack.problem.table, rows, pack.problem.t)


def estimate(estimator: Estimator, pack: Pack) -> tuple[Estimated, History]:
    """Fit an estimator to the training rows of a pack of one cell."""
    problem, split = one(pack), pack.splits[0]
    key, spending = random.fold_in(pack.keys[0], TRAIN), Spending(pack.budget.steps, pack.budget.samples)
    train, validation = (_examples(problem, pack.offsets[0] + rows) for rows in (split.train, split.validation))
    with generators(key):
        given = {"problem": assignment(pack), "seed": random.seed_of(key), "budget": spending}
        fitted = estimator.fit(train, validation, **given)
    history = History(spending.spent, np.array([-1]), gradients=spending.spent)
    return Estimated(pack, estimator, fitted, torch.ones(1, dtype=torch.bool)), history


def assignment(pack: Replicas) -> Assignment:
    """What an estimator may know of the task of a pack of one cell."""
    problem, task = one(pack), pack.task
    make = partial(task.network, pack.rule, tuple(problem.table.x.shape[1:]))
    key = random.fold_in(pack.keys[0], INIT)
    return Assignment(task.kind, classes(problem), task.batch_size, problem, make, key)


def classes(problem: Problem) -> int:
    """Number of classes, 0 of a regression."""
    return getattr(problem.likelihood, "classes", 0)


def _examples(problem: Problem, rows: np.ndarray) -> Examples:
    x, y = problem.table.x[rows], problem.table.y[rows]
    return Examples(
        _array(problem.standardise(x, x.dtype)), _array(problem.standardise_target(y) if y.is_floating_point() else y)
    )


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().copy()


@contextmanager
def generators(key: Tensor) -> Iterator[None]:
    """The generators of Python, NumPy and PyTorch seeded from a key, and as they were afterwards; sys.exit fails like
    any error."""
    seed, before = random.seed_of(key), (python.getstate(), np.random.get_state())  # noqa: NPY002 - what libraries use
    with torch.random.fork_rng(), torch.enable_grad():
        python.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        except SystemExit as ending:
            raise RuntimeError(f"it called sys.exit({ending.code})") from ending
        finally:
            python.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
