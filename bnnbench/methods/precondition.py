r"""A low-rank preconditioner from the curvature of the likelihood.

In coordinates u = w / s of unit prior variance the generalised Gauss-Newton matrix of the posterior is I + G with
G = sum_i J_i^T F_i J_i, J the Jacobian of the network's outputs and F their Fisher information. With its r leading
eigenpairs (v_j, lambda_j),

    A = I - sum_j (1 - 1 / sqrt(1 + lambda_j)) v_j v_j^T  ~  (I + G)^(-1/2),

and u = A z moves in a landscape whose stiffest directions are as wide as the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from bnnbench import random
from bnnbench.methods.parameters import flatten
from bnnbench.model import Batch, Params, Problem

ITERATIONS = 6  # of the subspace iteration; leading eigenvalues are separated by orders of magnitude


class LowRank(NamedTuple):
    """Orthonormal rows v_j [r, P], and 1 - 1 / sqrt(1 + lambda_j) [r]."""

    basis: Tensor
    shrink: Tensor

    def apply(self, params: Params) -> Params:
        """A times parameters stacked along a leading dimension."""
        flat = torch.cat([value.flatten(1) for value in params.values()], 1)
        flat = flat - ((flat @ self.basis.T) * self.shrink) @ self.basis
        pieces = torch.split(flat, [value.flatten(1).shape[1] for value in params.values()], 1)
        return {name: piece.reshape(value.shape) for (name, value), piece in zip(params.items(), pieces, strict=True)}


def identity(like: Params, rank: int) -> LowRank:
    """A = I, for parameters of one network."""
    flat = flatten(like)
    return LowRank(flat.new_zeros(rank, len(flat)), flat.new_zeros(rank))


def precondition(key: Tensor, params: Params, problem: Problem, rank: int) -> LowRank:
    """A at the mean curvature over stacked parameter samples [S, ...], by subspace iteration (Halko et al. 2011)."""
    one = {name: value[0] for name, value in params.items()}
    scale = flatten({name: problem.scale_of(name, value).expand_as(value) for name, value in one.items()})

    def curvature(v: Tensor) -> Tensor:
        return vmap(lambda w: problem.over_data(lambda batch: _product(w, batch, problem, scale, v), 256))(params).mean(0)

    basis = random.normal(key, (len(scale), rank)).to(scale)
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(curvature(basis).double())[0].to(scale)
    values, rotation = torch.linalg.eigh((basis.T @ curvature(basis)).double())
    shrink = 1 - torch.rsqrt(1 + values.clamp(min=0.0))
    return LowRank((basis @ rotation.to(scale)).T.contiguous(), shrink.to(scale))


def _product(params: Params, batch: Batch, problem: Problem, scale: Tensor, v: Tensor) -> Tensor:
    """(sum_i w_i J_i^T F_i J_i) v over the rows of a batch, v [P, r], with respect to u."""
    weights = {name: value for name, value in params.items() if value.dim()}

    def outputs(w: Params, x: Tensor) -> Tensor:
        return problem.apply(w, x[None])[0]

    jacobian = vmap(jacrev(outputs), (None, 0))(weights, batch.x)
    full = {k: jacobian.get(k, value.new_zeros(len(batch.x), problem.likelihood.outputs)) for k, value in params.items()}
    rows = torch.cat([value.flatten(2) if value.dim() > 2 else value[..., None] for value in full.values()], -1) * scale
    root = problem.likelihood.fisher_root(params, problem.apply(params, batch.x))
    rows = (root.mT @ rows * batch.weight.sqrt()[:, None, None]).flatten(0, 1)
    return rows.T @ (rows @ v)
