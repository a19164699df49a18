"""Estimators in the engine: one cell, with its rows as arrays, its generators seeded, its predictions checked."""

from __future__ import annotations

import random as python
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnnbench import random
from bnnbench.engine.pack import Pack, Replicas
from bnnbench.engine.predict import Component
from bnnbench.engine.step import INIT, PREDICT, TRAIN
from bnnbench.engine.train import History
from bnnbench.errors import UserError
from bnnbench.methods.estimator import Assignment, Estimator, Examples, Spending
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Params, Predictive, Problem

PREFIX = "fitted/"  # of the names of what an estimator saves
NORMALISED = 1e-3  # by how much the logarithm of a sum of probabilities may differ from 0


@dataclass(frozen=True)
class Estimated:
    """A fitted estimator in the place of a trained pack, of one cell.

    Attributes:
        fitted: what `fit` returned. live: whether it was fitted, [1].
    """

    pack: Replicas
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

    def arrays(self, replica: int) -> dict[str, np.ndarray]:
        """What the estimator saves of itself, `fitted/...`."""
        del replica
        return {f"{PREFIX}{name}": np.asarray(values) for name, values in self.estimator.save(self.fitted).items()}

    @classmethod
    def from_arrays(cls, estimator: Estimator, pack: Replicas, arrays: Mapping[str, np.ndarray]) -> Estimated:
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
        return type(checked)(*(None if part is None else part[None] for part in in_units(checked, problem)))


def one(pack: Replicas) -> Problem:
    """The problem of a pack's only cell."""
    rows = type(pack.problem.rows)(*(values[0] for values in pack.problem.rows))
    return pack.problem_of(pack.problem.table, rows, pack.problem.t)


def estimate(estimator: Estimator, pack: Pack) -> tuple[Estimated, History]:
    """Fit an estimator to the training rows of a pack of one cell."""
    problem, split = one(pack), pack.splits[0]
    key, spending = random.fold_in(pack.keys[0], TRAIN), Spending(pack.budget.steps, pack.budget.samples)
    train, validation = (_examples(problem, rows) for rows in (split.train, split.validation))
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


@singledispatch
def in_order(found: Any, rows: int, classes: int) -> Predictive:
    """A predictive as the metrics take it, in float64 and with components; what is wrong with it is a sentence.

    Raises:
        UserError: it is none, or of other shapes, or holds what no distribution has.
    """
    raise UserError(f"predict must return a GaussianPredictive or a CategoricalPredictive, not {type(found).__name__}.")


@in_order.register
def _gaussian(found: GaussianPredictive, rows: int, classes: int) -> GaussianPredictive:
    if classes:
        raise UserError("predict returned a GaussianPredictive for a classification; return CategoricalPredictive.")
    mean, scale = (_components(part, 2, (rows,), name) for part, name in zip(found, ("mean", "scale"), strict=True))
    mean, scale = torch.broadcast_tensors(mean, scale)
    if not bool((scale > 0).all()):
        raise UserError("predict returned a scale that is not positive; it is a standard deviation.")
    return GaussianPredictive(mean, scale)


@in_order.register
def _categorical(found: CategoricalPredictive, rows: int, classes: int) -> CategoricalPredictive:
    if not classes:
        raise UserError("predict returned a CategoricalPredictive for a regression; return GaussianPredictive.")
    log_probs = _components(found.log_probs, 3, (rows, classes), "log_probs")
    totals = log_probs.logsumexp(-1)
    if not bool((totals.abs() < NORMALISED).all()):
        raise UserError(
            f"predict returned log-probabilities whose sum of probabilities is {float(totals.exp().min()):.4g} to "
            f"{float(totals.exp().max()):.4g} and not 1; they are logarithms, as of log_softmax."
        )
    return CategoricalPredictive(log_probs - totals[..., None], torch.zeros_like(totals))


def _components(values: Any, dims: int, shape: tuple[int, ...], name: str) -> Tensor:
    """[S, *shape] in float64; a single component may have no leading dimension."""
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    if array.dtype.kind not in "fiu":
        raise UserError(f"predict returned {name} that holds no numbers.")
    given = torch.as_tensor(array).double()
    whole = given[None] if given.dim() == dims - 1 else given
    if whole.dim() != dims or tuple(whole.shape[1:]) != shape or not len(whole):
        wanted = ", ".join(map(str, shape))
        raise UserError(f"predict returned {name} of shape {list(given.shape)}; it must be [S, {wanted}].")
    if bool(whole.isnan().any()) or (name != "log_probs" and not bool(whole.isfinite().all())):
        raise UserError(f"predict returned {name} with values that are not finite.")
    return whole


@singledispatch
def in_units(found: Any, problem: Problem) -> Predictive:
    """A predictive of the standardised target in the target's own units."""
    return found


@in_units.register
def _(found: GaussianPredictive, problem: Problem) -> GaussianPredictive:
    shift, scale = problem.rows.y_shift, problem.rows.y_scale
    return GaussianPredictive(shift + scale * found.mean, scale * found.scale)
