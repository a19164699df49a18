"""Arithmetic of parameters by name, shared by posteriors and by the methods that add noise to them."""

from __future__ import annotations

import torch
from torch import Tensor

from bnnbench import random
from bnnbench.model.likelihoods import Params


def noise(key: Tensor, like: Params) -> Params:
    """Standard normals in the shapes of `like`, all from one draw: many small draws are bound by their dispatch."""
    return unflatten(random.normal(key, (sum(value.numel() for value in like.values()),)), like)


def unflatten(vector: Tensor, like: Params) -> Params:
    """A flat vector [P] cut into the shapes of `like`."""
    pieces = vector.split_with_sizes([value.numel() for value in like.values()])
    return {name: piece.reshape(value.shape) for (name, value), piece in zip(like.items(), pieces, strict=True)}


def flatten(params: Params) -> Tensor:
    """All parameters in one vector [P]."""
    return torch.cat([value.reshape(-1) for value in params.values()])


def dot(a: Params, b: Params) -> Tensor:
    """Inner product over all parameters, 0-dim."""
    return torch.stack([(a[name] * b[name]).sum() for name in a]).sum()


def mean_product(a: Params, b: Params) -> Tensor:
    """Mean of a_i b_i over all parameters, 0-dim; they are counted as tensors, as in `priors.weight_scale`."""
    ones = {name: torch.ones_like(value) for name, value in a.items()}
    return dot(a, b) / dot(ones, ones)


def part(params: Params, span: random.Span) -> Params:
    """A part of stacked parameter samples."""
    return {name: value[span.start : span.stop] for name, value in params.items()}


def stacked(params: Params) -> Params:
    """A single parameter sample as a stack of one."""
    return {name: value[None] for name, value in params.items()}


def sample_moments(draws: Params) -> tuple[Params, Params]:
    """Mean and standard deviation over the leading dimension."""
    return {k: v.mean(0) for k, v in draws.items()}, {k: v.std(0, correction=0) for k, v in draws.items()}
