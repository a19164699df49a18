"""What an estimator's `predict` returned: checked, and brought into the units of the target."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnnbench.errors import UserError
from bnnbench.model import (
    BinnedPredictive,
    CategoricalPredictive,
    GaussianPredictive,
    Predictive,
    Problem,
    QuantilePredictive,
    SamplePredictive,
)

NORMALISED = 1e-3  # by how much the logarithm of a sum of probabilities may differ from 0


@singledispatch
def in_order(found: Any, rows: int, classes: int) -> Predictive:
    """A predictive as the metrics take it, in float64 and with components; what is wrong with it is a sentence.

    Raises:
        UserError: it is none, or of other shapes, or holds what no distribution has.
    """
    raise UserError(
        f"predict must return a predictive of bnnbench.model, as GaussianPredictive, not {type(found).__name__}."
    )


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


@in_order.register
def _samples(found: SamplePredictive, rows: int, classes: int) -> SamplePredictive:
    samples = _components(found.samples, 2, (rows,), "samples")
    if len(samples) < 2:
        raise UserError("predict returned one draw a row; samples must be [S, N] with S at least 2.")
    return SamplePredictive(samples)


@in_order.register
def _quantiles(found: QuantilePredictive, rows: int, classes: int) -> QuantilePredictive:
    values, levels = (
        _components(part, 2, (rows,), name) for part, name in zip(found, ("quantiles", "levels"), strict=False)
    )
    centre = None if found.centre is None else _components(found.centre, 2, (rows,), "centre")
    if not bool((values.diff(dim=0) >= 0).all() and (levels.diff(dim=0) > 0).all()):
        raise UserError("predict returned quantiles that do not ascend with their levels.")
    return QuantilePredictive(values, levels, centre)


@in_order.register
def _bins(found: BinnedPredictive, rows: int, classes: int) -> BinnedPredictive:
    count = found.probs.shape[-1]
    probs, edges = (
        _components(found.probs, 3, (rows, count), "probs"),
        _components(found.edges, 3, (rows, count + 1), "edges"),
    )
    if not bool(
        (edges.diff(dim=-1) > 0).all() and (probs >= 0).all() and ((probs.sum(-1) - 1).abs() < NORMALISED).all()
    ):
        raise UserError("predict returned bins whose edges do not ascend, or probabilities that do not sum to 1.")
    return BinnedPredictive(probs / probs.sum(-1, keepdim=True), edges)


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


@in_units.register
def _(found: SamplePredictive, problem: Problem) -> SamplePredictive:
    return SamplePredictive(problem.rows.y_shift + problem.rows.y_scale * found.samples)


@in_units.register
def _(found: QuantilePredictive, problem: Problem) -> QuantilePredictive:
    shift, scale = problem.rows.y_shift, problem.rows.y_scale
    centre = None if found.centre is None else shift + scale * found.centre
    return QuantilePredictive(shift + scale * found.quantiles, found.levels, centre)


@in_units.register
def _(found: BinnedPredictive, problem: Problem) -> BinnedPredictive:
    return BinnedPredictive(found.probs, problem.rows.y_shift + problem.rows.y_scale * found.edges)
