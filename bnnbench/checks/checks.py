"""The checks of `bnnbench check`, each on a problem whose answer is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bnnbench.checks import truth
from bnnbench.checks.compare import (
    Verdict,
    compare_means,
    compare_spread,
    compare_temperature,
    not_applicable,
)
from bnnbench.checks.problems import Known, task
from bnnbench.checks.sample import CPU, as_checked, budget, means, problem, sample, weights
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import stack
from bnnbench.engine.train import train
from bnnbench.methods import Inference
from bnnbench.model import GaussianPrior, Prior

BATCH = 512  # as large as leaves a sampler's minibatch noise without weight
LINEAR = task(BATCH, rows=64)
VAGUE = task(BATCH, rows=64, noise=3.0)  # where prior and data say as much, as of most weights of a network
FACTORISED = task(BATCH, rows=16, orthogonal=True)
SCALED = [task(32, rows=64, orthogonal=True), task(32, rows=512, orthogonal=True)]
EMPTY = task(BATCH, rows=64, empty=True)
CURVED = task(BATCH, rows=4, banana=True)

NO_CLAIM = "the method does not say what it comes to (`family`)"


def checks(method: Inference) -> Iterator[Verdict]:
    """All checks of a method, as they are done."""
    for part in (linear_regression, vague_regression, no_data, scaling, curved_target, packed_equals_alone):
        yield from part(method)


def _spread(draws: np.ndarray) -> np.ndarray | None:
    """Standard deviations within a seed [d + 1], None where they are no fitted q's."""
    sd = draws.std(1).mean(0)
    return sd if np.isfinite(sd).all() and (sd > 0).all() else None


def _prior(method: Inference, known: Known) -> Prior:
    """The prior the method has on a task: its own, or the task's."""
    pack = stack([Cell(known, method, "known", 0, 0, budget(method))], CPU)
    return method.target(problem(pack)).prior


def _factorised(method: Inference, known: Known, name: str) -> Iterator[Verdict]:
    """Mean and spread where every weight has a posterior of its own; a point estimate has no spread."""
    draws = weights(sample(method, known))
    mean, sd = truth.factorised(known, _prior(method, known), method.family != "exact", _spread(draws))
    yield compare_means(f"{name} mean", draws, mean, sd)
    if method.family != "point":
        yield compare_spread(f"{name} spread", draws, sd, bool(method.num_chains))


def _conjugate(method: Inference, known: Known, prior: GaussianPrior) -> tuple[np.ndarray, np.ndarray]:
    """Mean and precision of what the method comes to: the posterior, or the best product of normals, which has the same
    mean and 1 / diag(precision)."""
    mean, precision = truth.conjugate(known, prior)
    return mean, np.diag(np.diag(precision)) if method.family == "mean-field" else precision


def linear_regression(method: Inference) -> Iterator[Verdict]:
    """Posterior mean, spread and temperature of a linear regression."""
    names = [f"linear regression: {what}" for what in ("mean", "spread", "temperature")]
    if method.family not in {"exact", "mean-field", "point"}:
        yield from (not_applicable(name, NO_CLAIM) for name in names)
        return
    prior = _prior(method, LINEAR)
    if not isinstance(prior, GaussianPrior):
        yield from _factorised(method, FACTORISED, "linear regression, own prior:")
        return
    draws = weights(sample(method, LINEAR))
    mean, precision = _conjugate(method, LINEAR, prior)
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    yield compare_means(names[0], draws, mean, sd)
    if method.family == "point":
        yield from (not_applicable(name, "a point estimate") for name in names[1:])
        return
    yield compare_spread(names[1], draws, sd, bool(method.num_chains))
    yield compare_temperature(names[2], draws, mean, precision)


def vague_regression(method: Inference) -> Iterator[Verdict]:
    """Mean and temperature of a linear regression that the data leave open. The prior moves its mean by as much as the
    data leave open, so that a prior which acts on the spread alone shows. And it is slow to warm up, so that a chain
    that is cooled on its way to its draws is still cold when they are kept; the data of a well determined regression
    warm it at once."""
    names = [f"vague linear regression: {what}" for what in ("mean", "temperature")]
    prior = _prior(method, VAGUE)
    if method.family not in {"exact", "mean-field"} or not isinstance(prior, GaussianPrior):
        yield from (not_applicable(name, "for posteriors under a Gaussian prior") for name in names)
        return
    draws = weights(sample(method, VAGUE))
    mean, precision = _conjugate(method, VAGUE, prior)
    yield compare_means(names[0], draws, mean, np.sqrt(np.diag(np.linalg.inv(precision))))
    yield compare_temperature(names[1], draws, mean, precision)


def no_data(method: Inference) -> Iterator[Verdict]:
    """Without data the posterior is the prior."""
    name = "no data: the prior"
    if method.isolated:
        yield not_applicable(name, "an estimator is never without rows")
        return
    if method.family not in {"exact", "mean-field"}:
        yield not_applicable(name, "a point estimate" if method.family == "point" else NO_CLAIM)
        return
    yield from _factorised(method, EMPTY, f"{name}'s")


def scaling(method: Inference) -> Iterator[Verdict]:
    """The prior counts once a data set: minibatches of 32 out of 64 and out of 512 rows."""
    name = "prior against n data in batches of 32"
    if method.family not in {"mean-field", "point"}:
        why = "minibatch noise is part of what a sampler samples" if method.family else NO_CLAIM
        yield not_applicable(name, why)
        return
    for known in SCALED:
        yield from _factorised(method, known, f"n = {known.rows}, batch 32:")


def curved_target(method: Inference) -> Iterator[Verdict]:
    """Moments of b and w^2 on a banana, against quadrature; for Markov chains."""
    name = "two-dimensional banana"
    if not method.num_chains or method.family != "exact":
        yield not_applicable(name, "for samplers of the exact posterior")
        return
    values = sample(method, CURVED)  # f(0) = b, f(1) = w^2 + b
    draws = np.stack([values[..., 0], values[..., 1] - values[..., 0]], -1)
    known = truth.banana(CURVED, _prior(method, CURVED))
    mean, sd = np.array([known["b"], known["w^2"]]), np.array([known["sd b"], known["sd w^2"]])
    yield compare_means(f"{name}: mean", draws, mean, sd)
    yield compare_spread(f"{name}: spread", draws, sd)


def packed_equals_alone(method: Inference) -> Iterator[Verdict]:
    """The engine's law for this method: a cell's predictions do not depend on the pack it is in (float64)."""
    name, method = "packed equals alone", as_checked(method)
    if method.isolated:
        yield not_applicable(name, "an estimator is always alone")
        return
    few = budget(method, 100)
    cells = [Cell(LINEAR, method, "known", 0, seed, few) for seed in range(3)]
    together = means(train(stack(cells, CPU, torch.float64), False)[0])
    alone = np.concatenate([means(train(stack([cell], CPU, torch.float64), False)[0]) for cell in cells])
    difference = float(np.abs(together - alone).max())
    yield Verdict(name, difference, 1e-5, bool(difference <= 1e-5), "largest difference of a prediction")
