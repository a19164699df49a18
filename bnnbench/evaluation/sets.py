"""Test sets of a trained pack: what they are, what an attack makes of their images, and the predictives on them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from bnnbench import random
from bnnbench.engine.pack import Pack, padded
from bnnbench.engine.predict import Terms, joined, rows_at_once, terms
from bnnbench.engine.products import fast_products
from bnnbench.engine.size import parameters
from bnnbench.engine.step import PREDICT
from bnnbench.engine.train import Trained
from bnnbench.evaluation.attack import attacked, gradient_sign
from bnnbench.model import Params, Predictive
from bnnbench.model.predictive import each
from bnnbench.tasks import TestSet
from bnnbench.tasks.shifts import SWEEP_SAMPLES

KEPT_WEIGHTS = 2**28  # numbers in the weight samples that stay in memory from one test set to the next


def test_sets(pack: Pack, shifted: bool) -> list[dict[str, TestSet]]:
    """Name -> test set of every replica; those of families only if asked for."""
    return [
        cell.task.test_sets(pack.data, split, cell.test_sets if shifted else (), cell.root)
        for cell, split in zip(pack.cells, pack.splits, strict=True)
    ]


def _samples(trained: Trained, limit: int | None) -> int:
    """Predictive samples of a test set: of the budget, at most the limit of a sweep; of a picture, 5 times as many."""
    granted = trained.pack.cells[0].budget.samples
    if limit is None:
        return granted
    return min(limit, granted if limit <= SWEEP_SAMPLES else 5 * granted)


def inputs_of(trained: Trained, sets: list[TestSet]) -> list[np.ndarray]:
    """The inputs of a test set of each replica, attacked through its own posterior where that is asked for."""
    if sets[0].attack is None:
        return [p.x for p in sets]
    return list(adversarial(trained, sets).cpu().numpy())


def adversarial(trained: Trained, sets: list[TestSet]) -> Tensor:
    """Images [R, N, C, H, W] of a test set with an attack, after it."""
    pack, attack, samples = trained.pack, sets[0].attack, _samples(trained, sets[0].samples)
    assert attack is not None
    x = stacked_inputs(pack, [p.x for p in sets])
    y = torch.stack([torch.as_tensor(p.y, device=x.device) for p in sets])
    rows = max(1, rows_at_once(pack, trained.state, trained.draws, samples) // 2)
    some = cache(lambda: list(_drawn(trained, samples)))

    def sign(image: Tensor) -> Tensor:
        return gradient_sign(some(), image, y, rows)

    shared = x.shape, samples  # of a task's images: those of a sweep, or all of them
    with fast_products():
        if shared not in trained.signs:
            trained.signs[shared] = sign(x)
        return attacked(x, trained.signs[shared], sign, attack, pack.problem.rows.x_scale)


def stacked_inputs(pack: Pack, inputs: list[np.ndarray]) -> Tensor:
    """Inputs of all replicas [R, longest, ...] in the problem's dtype, padded by repetition."""
    index, _ = padded([np.arange(len(x)) for x in inputs], pack.keys.device)
    like = {"dtype": pack.problem.table.x.dtype, "device": pack.keys.device}
    return torch.stack([torch.as_tensor(x, **like)[i] for x, i in zip(inputs, index, strict=True)])


def predictions(
    trained: Trained, inputs: list[np.ndarray], samples: int | None = None, factors: Params | None = None
) -> list[Predictive]:
    """Predictive of each replica at its own inputs; `samples` at most, weights times `factors` (pruning)."""
    pack = trained.pack
    x, samples = stacked_inputs(pack, inputs), _samples(trained, samples)
    rows = rows_at_once(pack, trained.state, trained.draws, samples)
    with fast_products():
        found = joined(_drawn(trained, samples, factors), x, rows)
    found, sizes = each(Tensor.cpu, found), [len(own) for own in inputs]
    return [each(lambda part, r=r, n=n: part[r, :, :n], found) for r, n in enumerate(sizes)]


def _drawn(trained: Trained, samples: int, factors: Params | None = None) -> Iterable[Terms]:
    """The predictive as functions of the inputs; its weights are kept for the test sets to come, unless they are too
    many or pruned."""
    pack = trained.pack
    if factors is None and samples in trained.drawn:
        return trained.drawn[samples]
    key = random.fold_in(pack.keys, PREDICT)
    made = terms(pack, trained.state, trained.draws, key, samples, factors)
    if factors is None and samples * len(pack.cells) * parameters(pack.problem.network) <= KEPT_WEIGHTS:
        made = trained.drawn[samples] = list(made)
    return made
