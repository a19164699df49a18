"""Predictions of a trained pack on its test sets, with what several test sets share kept from one to the next."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from bnnbench import names
from bnnbench.engine.fit import Trained
from bnnbench.engine.pack import Pack, padded
from bnnbench.engine.predict import Component, joined
from bnnbench.engine.products import fast_products
from bnnbench.engine.size import parameters
from bnnbench.evaluation.attack import attacked, gradient_sign
from bnnbench.model import Params, Predictive
from bnnbench.model.predictive import each
from bnnbench.tasks import TestSet
from bnnbench.tasks.sets import SWEEP_SAMPLES

KEPT_WEIGHTS = 2**28  # numbers in the weight samples that stay in memory from one test set to the next

TestSets = dict[str, TestSet]  # of one replica, by the name of the evaluation


def sets_of(pack: Pack, shifted: bool) -> list[TestSets]:
    """The test sets of every replica; those under distribution shift only if asked for."""
    return [
        cell.task.test_sets(data, split, cell.test_sets if shifted else (), cell.root)
        for cell, data, split in zip(pack.cells, pack.encoded, pack.splits, strict=True)
    ]


def samples_within(granted: int, limit: int | None) -> int:
    """Predictive samples of a test set: those that a budget grants, at most the limit of a sweep; of a picture, whose
    limit is higher, 5 times as many."""
    if limit is None:
        return granted
    return min(limit, granted if limit <= SWEEP_SAMPLES else 5 * granted)


class Evaluator:
    """Predicts for a trained pack.

    It keeps the predictive at the test rows, with which out-of-distribution inputs are compared, and at the validation
    rows, on which calibrations are fitted; weight samples, as
    long as they are few; and the sign of the attacker's gradient at unchanged images, which attacks share.
    """

    def __init__(self, fitted: Trained) -> None:
        self.fitted, self.pack = fitted, fitted.pack
        self._sampled: dict[int, list[Component]] = {}
        self._signs: dict[tuple[torch.Size, int], Tensor] = {}

    @cached_property
    def test(self) -> list[Predictive]:
        """The predictive of each replica at its test rows."""
        return self.predictions([sets[names.TEST].x for sets in sets_of(self.pack, shifted=False)])

    @cached_property
    def validation(self) -> list[Predictive]:
        """The same at its validation rows, which calibrations share."""
        return self.predictions([sets[names.VALIDATION].x for sets in sets_of(self.pack, shifted=False)])

    def predictions(
        self, inputs: list[np.ndarray], samples: int | None = None, factors: Params | None = None
    ) -> list[Predictive]:
        """Predictive of each replica at its own inputs; `samples` at most, weights times `factors` (pruning)."""
        x, samples = self._stacked(inputs), self._samples(samples)
        rows = self.fitted.rows_at_once(samples)
        with fast_products():
            found = joined(self._components(samples, factors), x, rows)
        found, sizes = each(Tensor.cpu, found), [len(own) for own in inputs]
        return [each(lambda part, r=r, n=n: part[r, :, :n], found) for r, n in enumerate(sizes)]

    def predictions_on(self, name: str, sets: list[TestSet]) -> list[Predictive]:
        """Predictive of each replica on its own test set of this name, after an attack where one is asked for."""
        if name in (names.TEST, names.VALIDATION):
            return self.test if name == names.TEST else self.validation
        return self.predictions(self.inputs(sets), sets[0].samples)

    def inputs(self, sets: list[TestSet]) -> list[np.ndarray]:
        """The inputs of a test set of each replica, changed or attacked through its own posterior where that is asked
        for."""
        if sets[0].attack is not None:
            return list(self.adversarial(sets).cpu().numpy())
        return [own.x if own.change is None else own.change(own.x) for own in sets]

    def adversarial(self, sets: list[TestSet]) -> Tensor:
        """Images [R, N, C, H, W] of a test set with an attack, after it."""
        attack, samples = sets[0].attack, self._samples(sets[0].samples)
        assert attack is not None
        x = self._stacked([own.x for own in sets])
        y = torch.stack([torch.as_tensor(own.y, device=x.device) for own in sets])
        rows = max(1, self.fitted.rows_at_once(samples) // 2)
        some = cache(lambda: list(self._components(samples)))

        def sign(image: Tensor) -> Tensor:
            return gradient_sign(some(), image, y, rows)

        shared = x.shape, samples  # of a task's images: those of a sweep, or all of them
        with fast_products():
            if shared not in self._signs:
                self._signs[shared] = sign(x)
            return attacked(x, self._signs[shared], sign, attack, self.pack.problem.rows.x_scale)

    def _stacked(self, inputs: list[np.ndarray]) -> Tensor:
        """Inputs of all replicas [R, longest, ...] in the problem's dtype, padded by repetition."""
        index, _ = padded([np.arange(len(x)) for x in inputs], self.pack.keys.device)
        like = {"dtype": self.pack.problem.table.x.dtype, "device": self.pack.keys.device}
        return torch.stack([torch.as_tensor(x, **like)[i] for x, i in zip(inputs, index, strict=True)])

    def _samples(self, limit: int | None) -> int:
        return samples_within(self.pack.budget.samples, limit)

    def _components(self, samples: int, factors: Params | None = None) -> Iterable[Component]:
        """The predictive as functions of the inputs; its weights are kept for the test sets to come, unless they are
        too many or pruned."""
        if factors is None and samples in self._sampled:
            return self._sampled[samples]
        made = self.fitted.components(samples, factors)
        if factors is None and samples * len(self.pack.cells) * parameters(self.pack.problem.network) <= KEPT_WEIGHTS:
            made = self._sampled[samples] = list(made)
        return made
