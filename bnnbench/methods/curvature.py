r"""Generalised Gauss-Newton curvature of linear layers, and the Gaussian posteriors it gives.

With L_i L_i^T the Fisher information of the outputs of example i, J_i their Jacobian and w_i the example's weight,

    H = sum_i w_i J_i^T L_i L_i^T J_i,    posterior of u: N(u_map, (H + delta I)^{-1}),    u = weights / prior scale,

in coordinates where the prior is N(0, I / delta). A layer's coordinates are the matrix [W / s_W, b / s_b], shape
[out, in + 1]; its rows of J_i^T L_i are g_ik a_i^T, where a_i = [s_W input, s_b] and g_ik is the gradient with respect
to the pre-activation. Sums and factorisations run in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import vjp, vmap

from bnnbench.layers.taps import tapped
from bnnbench.methods.parameters import flatten, unflatten
from bnnbench.model import Batch, Params, Problem

Matrices = dict[str, Tensor]  # by layer: its coordinates, [out, in + 1]
Choose = Callable[[Callable[[], Tensor]], Tensor]  # from what computes the eigenvalues of H to delta
DENSE_NUMBERS = 2**24  # of Jacobian rows alive at once


class Tap(NamedTuple):
    """Of one layer: scaled inputs a [B, in + 1], gradients g of the K root-weighted outputs [K, B, out]; float64."""

    inputs: Tensor
    gradients: Tensor


def taps(problem: Problem, params: Params, x: Tensor, names: Sequence[str]) -> dict[str, Tap]:
    """Taps of the layers `names` at standardised inputs x [B, ...]; the problem's network is one `with_taps`."""
    offsets = {name: x.new_zeros(x.shape[0], params[_of(name, "weight")].shape[0]) for name in names}

    def outputs(offsets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        with tapped(offsets) as inputs:
            out = problem.apply(params, x)
        return out, inputs

    out, pull, inputs = vjp(outputs, offsets, has_aux=True)  # pyright: ignore[reportAssignmentType]
    root = problem.likelihood.fisher_root(params, out)
    (gradients,) = vmap(pull)(root.permute(2, 0, 1))
    return {name: Tap(_scaled(problem, params, name, inputs[name]), gradients[name].double()) for name in names}


def _scaled(problem: Problem, params: Params, name: str, inputs: Tensor) -> Tensor:
    """[s_W input, s_b], or without the last column where there is no bias."""
    weight, bias = _of(name, "weight"), _of(name, "bias")
    columns = [inputs * problem.scale_of(weight, params[weight])]
    if bias in params:
        columns.append(torch.ones_like(inputs[:, :1]) * problem.scale_of(bias, params[bias]))
    return torch.cat(columns, 1).double()


def _of(layer: str, parameter: str) -> str:
    return f"{layer}.{parameter}" if layer else parameter


def to_matrices(params: Params, names: Sequence[str]) -> Matrices:
    """[W, b] of each layer."""
    matrices = {}
    for name in names:
        bias = params.get(_of(name, "bias"))
        columns = [params[_of(name, "weight")]] + ([] if bias is None else [bias[:, None]])
        matrices[name] = torch.cat(columns, 1)
    return matrices


def from_matrices(matrices: Matrices, like: Params) -> Params:
    """The inverse of `to_matrices`: parameters of the layers, in the dtype of `like`; zeros for all others."""
    params = {name: torch.zeros_like(value) for name, value in like.items()}
    for name, matrix in matrices.items():
        weight, bias = _of(name, "weight"), _of(name, "bias")
        params[weight] = matrix[:, : like[weight].shape[1]].to(like[weight])
        if bias in like:
            params[bias] = matrix[:, -1].to(like[bias])
    return params


class Diagonal(NamedTuple):
    """N(0, diag(sd^2)), sd by layer."""

    scale: Matrices

    def colour(self, z: Matrices) -> Matrices:
        """A draw from standard normals z."""
        return {name: self.scale[name] * value for name, value in z.items()}

    def sd(self, like: Matrices) -> Matrices:
        """Standard deviation of every coordinate."""
        del like
        return self.scale


class Kronecker(NamedTuple):
    """Independent layers, each N(0, (G (x) A + delta I)^{-1}) on its matrix [out, in + 1].

    The factors are kept and not their eigenvectors, which are not unique. Draws are: (..)^{-1/2} is symmetric.
    In float64, since directions that only the prior holds have eigenvalues far below the factors' rounding.
    """

    inputs: Matrices  # A, [in + 1, in + 1]
    outputs: Matrices  # G, [out, out]
    delta: Tensor

    def colour(self, z: Matrices) -> Matrices:
        """A draw from standard normals z: V_G [(V_G^T z V_A) / sqrt(l_G l_A^T + delta)] V_A^T."""
        draw = {}
        for name, value in z.items():
            (a, va), (g, vg) = eigen(self.inputs[name]), eigen(self.outputs[name])
            inner = vg.mT @ value.double() @ va
            draw[name] = vg @ (inner * (torch.outer(g, a) + self.delta).rsqrt()) @ va.mT
        return draw

    def sd(self, like: Matrices) -> Matrices:
        """Standard deviation of every coordinate."""
        sd = {}
        for name in like:
            (a, va), (g, vg) = eigen(self.inputs[name]), eigen(self.outputs[name])
            sd[name] = (vg**2 @ (torch.outer(g, a) + self.delta).reciprocal() @ va.mT**2).sqrt()
        return sd


class Dense(NamedTuple):
    """N(0, L^{-T} L^{-1}) on all layers' coordinates in one vector [P]; L L^T = H + delta I."""

    inverse: Tensor  # L^{-1}, [P, P]

    def colour(self, z: Matrices) -> Matrices:
        """A draw L^{-T} z from standard normals z."""
        return unflatten(flatten(z).to(self.inverse) @ self.inverse, z)

    def sd(self, like: Matrices) -> Matrices:
        """Standard deviation of every coordinate."""
        return unflatten(self.inverse.square().sum(0).sqrt(), like)


Covariance = Diagonal | Kronecker | Dense


def diagonal(problem: Problem, params: Params, names: Sequence[str], choose: Choose) -> Diagonal:
    """The diagonal of H, exact: sum_i w_i sum_k (g_ik^2) (a_i^2)^T."""

    def total(batch: Batch) -> Matrices:
        weight = batch.weight.double()[:, None]
        found = taps(problem, params, batch.x, names)
        return {name: (g.square().sum(0) * weight).mT @ a.square() for name, (a, g) in found.items()}

    h = problem.over_data(total)
    delta = choose(lambda: flatten(h))
    return Diagonal({name: (value + delta).rsqrt().to(problem.rows.weight) for name, value in h.items()})


def kronecker(problem: Problem, params: Params, names: Sequence[str], choose: Choose) -> Kronecker:
    """G (x) A for each layer: A = sum_i w_i a_i a_i^T, G = (1/n) sum_i w_i sum_k g_ik g_ik^T.

    Martens & Grosse 2015 (arXiv 1503.05671), with the exact expectation over the labels.
    """

    def total(batch: Batch) -> tuple[Matrices, Matrices]:
        weight = batch.weight.double()[:, None]
        found = taps(problem, params, batch.x, names)
        inputs = {name: (weight * a).mT @ a for name, (a, _) in found.items()}
        outputs = {name: torch.einsum("kbi,kbj->ij", weight * g, g) / problem.n for name, (_, g) in found.items()}
        return inputs, outputs

    inputs, outputs = problem.over_data(total)

    def eigenvalues() -> Tensor:
        return torch.cat([torch.outer(eigen(outputs[name])[0], eigen(inputs[name])[0]).reshape(-1) for name in names])

    return Kronecker(inputs, outputs, choose(eigenvalues))


def dense(problem: Problem, params: Params, names: Sequence[str], choose: Choose) -> Dense:
    """H between all coordinates of the layers, [P, P]."""
    coordinates = sum(value.numel() for value in to_matrices(params, names).values())
    chunk = max(1, min(1024, DENSE_NUMBERS // (coordinates * problem.likelihood.outputs)))

    def total(batch: Batch) -> Tensor:
        found = taps(problem, params, batch.x, names).values()
        rows = torch.cat([torch.einsum("kbi,bj->kbij", g, a).flatten(2) for a, g in found], 2)
        return (batch.weight.double()[:, None] * rows).flatten(0, 1).mT @ rows.flatten(0, 1)

    h = problem.over_data(total, chunk)
    identity = torch.eye(coordinates).to(h)
    factor, failed = torch.linalg.cholesky_ex(h + choose(lambda: eigen(h)[0]) * identity)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
    return Dense(torch.where(failed == 0, inverse, torch.nan).to(problem.rows.weight))


def eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, not below 0, and eigenvectors of a positive semi-definite matrix; NaN for one that is not finite,
    which LAPACK would answer with an exception for all replicas."""
    finite = torch.isfinite(matrix).all()
    values, vectors = torch.linalg.eigh(torch.where(finite, matrix, torch.eye(matrix.shape[-1]).to(matrix)))
    return torch.where(finite, values.clamp(min=0.0), torch.nan), vectors
