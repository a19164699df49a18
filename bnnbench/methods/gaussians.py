"""Gaussians over the weights of linear and convolutional layers, by the structure of their covariance.

A layer's coordinates are the matrix [W, b], shape [out, in + 1], as in `bnnbench.methods.curvature`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bnnbench.model import Params
from bnnbench.model.parameters import flatten, unflatten

Matrices = dict[str, Tensor]  # by layer: its coordinates, [out, in + 1]
Eigen = dict[str, tuple[Tensor, Tensor]]  # by layer: eigenvalues and eigenvectors


def parameter_name(layer: str, parameter: str) -> str:
    """The name under which a layer's parameter stands among those of the network."""
    return f"{layer}.{parameter}" if layer else parameter


def to_matrices(params: Params, names: Sequence[str]) -> Matrices:
    """[W, b] of each layer."""
    matrices = {}
    for name in names:
        bias = params.get(parameter_name(name, "bias"))
        columns = [params[parameter_name(name, "weight")].flatten(1)] + ([] if bias is None else [bias[:, None]])
        matrices[name] = torch.cat(columns, 1)
    return matrices


def from_matrices(matrices: Matrices, like: Params) -> Params:
    """The inverse of `to_matrices`: parameters of the layers, in the dtype of `like`; zeros for all others."""
    params = {name: torch.zeros_like(value) for name, value in like.items()}
    for name, matrix in matrices.items():
        weight, bias = parameter_name(name, "weight"), parameter_name(name, "bias")
        patch = like[weight].shape[1:]
        params[weight] = matrix[:, : patch.numel()].unflatten(1, patch).to(like[weight])
        if bias in like:
            params[bias] = matrix[:, -1].to(like[bias])
    return params


class Diagonal(NamedTuple):
    """N(0, diag(sd^2)), sd by layer."""

    scale: Matrices

    def prepared(self) -> Diagonal:
        """Itself: nothing is to be computed before draws."""
        return self

    def colour(self, z: Matrices) -> Matrices:
        """A draw from standard normals z."""
        return {name: self.scale[name] * value for name, value in z.items()}

    def sd(self, like: Matrices) -> Matrices:
        """Standard deviation of every coordinate."""
        del like
        return self.scale


class Rows(NamedTuple):
    """Independent rows, row k being N(0, L_k L_k^T); L by layer, lower triangular, [out, in + 1, in + 1]."""

    factor: Matrices

    def prepared(self) -> Rows:
        """Itself: nothing is to be computed before draws."""
        return self

    def colour(self, z: Matrices) -> Matrices:
        """A draw from standard normals z."""
        return {name: (factor @ z[name].to(factor)[..., None])[..., 0] for name, factor in self.factor.items()}

    def sd(self, like: Matrices) -> Matrices:
        """Standard deviation of every coordinate."""
        del like
        return {name: value.square().sum(-1).sqrt() for name, value in self.factor.items()}


class Kronecker(NamedTuple):
    """Independent layers, each N(0, (G (x) A + delta I)^{-1}) on its matrix [out, in + 1].

    The factors are kept and not their eigenvectors, which are not unique. Draws are: (..)^{-1/2} is symmetric.
    In float64, since directions that only the prior holds have eigenvalues far below the factors' rounding.
    """

    inputs: Matrices  # A, [in + 1, in + 1]
    outputs: Matrices  # G, [out, out]
    delta: Tensor

    def prepared(self) -> Rotated:
        """The same Gaussian ready for draws."""
        inputs, outputs = ({name: eigen(m) for name, m in factor.items()} for factor in (self.inputs, self.outputs))
        return Rotated(inputs, outputs, self.delta)

    def colour(self, z: Matrices) -> Matrices:
        """A draw from standard normals z."""
        return self.prepared().colour(z)

    def sd(self, like: Matrices) -> Matrices:
        """Standard deviation of every coordinate."""
        return self.prepared().sd(like)


class Rotated(NamedTuple):
    """A `Kronecker` by eigenvalues and eigenvectors, to be computed once for many draws and not to be kept."""

    inputs: Eigen  # l_A [in + 1], V_A
    outputs: Eigen  # l_G [out], V_G
    delta: Tensor

    def prepared(self) -> Rotated:
        """Itself."""
        return self

    def colour(self, z: Matrices) -> Matrices:
        """A draw from standard normals z: V_G [(V_G^T z V_A) / sqrt(l_G l_A^T + delta)] V_A^T."""
        draw = {}
        for name, value in z.items():
            (a, va), (g, vg) = self.inputs[name], self.outputs[name]
            inner = vg.mT @ value.double() @ va
            draw[name] = vg @ (inner * (torch.outer(g, a) + self.delta).rsqrt()) @ va.mT
        return draw

    def sd(self, like: Matrices) -> Matrices:
        """Standard deviation of every coordinate."""
        sd = {}
        for name in like:
            (a, va), (g, vg) = self.inputs[name], self.outputs[name]
            sd[name] = (vg**2 @ (torch.outer(g, a) + self.delta).reciprocal() @ va.mT**2).sqrt()
        return sd


class Dense(NamedTuple):
    """N(0, L^{-T} L^{-1}) on all layers' coordinates in one vector [P]; L L^T = H + delta I."""

    inverse: Tensor  # L^{-1}, [P, P]

    def prepared(self) -> Dense:
        """Itself: nothing is to be computed before draws."""
        return self

    def colour(self, z: Matrices) -> Matrices:
        """A draw L^{-T} z from standard normals z."""
        return unflatten(flatten(z).to(self.inverse) @ self.inverse, z)

    def sd(self, like: Matrices) -> Matrices:
        """Standard deviation of every coordinate."""
        return unflatten(self.inverse.square().sum(0).sqrt(), like)


Covariance = Diagonal | Rows | Kronecker | Rotated | Dense


def eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, not below 0, and eigenvectors of a positive semi-definite matrix; NaN for one that is not finite,
    which LAPACK would answer with an exception for all replicas."""
    finite = torch.isfinite(matrix).all()
    values, vectors = torch.linalg.eigh(torch.where(finite, matrix, torch.eye(matrix.shape[-1]).to(matrix)))
    return torch.where(finite, values.clamp(min=0.0), torch.nan), vectors
