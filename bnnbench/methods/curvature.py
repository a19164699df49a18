r"""Generalised Gauss-Newton curvature of linear and convolutional layers: the Gaussian posteriors it gives.

With L_i L_i^T the Fisher information of the outputs of example i, J_i their Jacobian and w_i the example's weight,

    H = sum_i w_i J_i^T L_i L_i^T J_i,    posterior of u: N(u_map, (H + delta I)^{-1}),    u = weights / prior scale,

in coordinates where the prior is N(0, I / delta). A layer's coordinates are the matrix [W / s_W, b / s_b], shape
[out, in + 1]; its rows of J_i^T L_i are g_ik a_i^T, where a_i = [s_W input, s_b] and g_ik is the gradient with respect
to the pre-activation. A convolution has the sum over its T locations, sum_t g_ikt a_it^T, W being [out, in k k] and
a_it the patch at t. Sums and factorisations run in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import vjp, vmap

from bnnbench.layers.taps import tapped
from bnnbench.methods.gaussians import Dense, Diagonal, Kronecker, Matrices, eigen, parameter_name, to_matrices
from bnnbench.model import Batch, Params, Problem
from bnnbench.model.parameters import flatten

Locations = dict[str, int]  # T of each convolution; linear layers are not in it
Choose = Callable[[Callable[[], Tensor]], Tensor]  # from what computes the eigenvalues of H to delta
DENSE_NUMBERS = 2**24  # of Jacobian rows alive at once
WIDE = 512  # columns from which a sum of outer products is computed by blocks of its upper half
TAP_NUMBERS = 2**25  # in the taps of convolutions alive at once


class Tap(NamedTuple):
    """Of one layer: scaled inputs a [B, in + 1], gradients g of the K root-weighted outputs [K, B, out]; float64.

    Of a convolution with T locations: a [B, T, in + 1], g [K, B, T, out].
    """

    inputs: Tensor
    gradients: Tensor

    def jacobian(self) -> Tensor:
        """Rows of J_i^T L_i: sum_t g_ikt a_it^T, [K, B, out, in + 1]."""
        a, g = self
        return torch.einsum("kbi,bj->kbij", g, a) if a.dim() == 2 else torch.einsum("kbti,btj->kbij", g, a)


def taps(problem: Problem, params: Params, x: Tensor, names: Sequence[str], places: Locations) -> dict[str, Tap]:
    """Taps of the layers `names` at standardised inputs x [B, ...]; the problem's network is one `with_taps`."""
    offsets = _offsets(params, x, names, places)

    def outputs(offsets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        with tapped(offsets) as inputs:
            out = problem.apply(params, x)
        return out, inputs

    out, pull, inputs = vjp(outputs, offsets, has_aux=True)  # pyright: ignore[reportAssignmentType]
    root = problem.likelihood.fisher_root(params, out)
    (gradients,) = vmap(pull)(root.permute(2, 0, 1))
    return {name: Tap(_scaled(problem, params, name, inputs[name]), gradients[name].double()) for name in names}


def _offsets(params: Params, x: Tensor, names: Sequence[str], places: Locations) -> dict[str, Tensor]:
    sizes = {name: (x.shape[0], places[name]) if name in places else (x.shape[0],) for name in names}
    return {name: x.new_zeros(*size, params[parameter_name(name, "weight")].shape[0]) for name, size in sizes.items()}


def locations(problem: Problem, params: Params, names: Sequence[str]) -> Locations:
    """T of every convolution, as one example shows it; a network without any is not run."""
    convolutions = [name for name in names if params[parameter_name(name, "weight")].dim() == 4]
    if not convolutions:
        return {}
    x = problem.standardise(problem.table.x[:1])
    with tapped(_offsets(params, x, convolutions, dict.fromkeys(convolutions, 1))) as inputs:
        problem.apply(params, x)
    return {name: inputs[name].shape[1] for name in convolutions}


def _chunk(problem: Problem, params: Params, places: Locations) -> int:
    """Rows at once: convolutions have taps at every location, and a Jacobian of their own on the way to a diagonal."""
    K, numbers = problem.likelihood.outputs, 0
    for name, count in places.items():
        out, patch = params[parameter_name(name, "weight")].flatten(1).shape
        numbers += count * (K * out + patch + 1) + K * out * (patch + 1)
    return max(1, min(1024, TAP_NUMBERS // max(1, numbers)))


def _scaled(problem: Problem, params: Params, name: str, inputs: Tensor) -> Tensor:
    """[s_W input, s_b], or without the last column where there is no bias."""
    weight, bias = parameter_name(name, "weight"), parameter_name(name, "bias")
    columns = [inputs * problem.scale_of(weight, params[weight])]
    if bias in params:
        columns.append(torch.ones_like(inputs[..., :1]) * problem.scale_of(bias, params[bias]))
    return torch.cat(columns, -1).double()


def diagonal(problem: Problem, params: Params, names: Sequence[str], choose: Choose) -> Diagonal:
    """The diagonal of H, exact: sum_i w_i sum_k (g_ik^2) (a_i^2)^T, of a convolution sum_i w_i sum_k of the squares of
    sum_t g_ikt a_it^T."""
    places = locations(problem, params, names)

    def one(tap: Tap, weight: Tensor) -> Tensor:
        a, g = tap
        if a.dim() == 2:
            return (g.square().sum(0) * weight[:, None]).mT @ a.square()
        return torch.einsum("b,kbij->ij", weight, tap.jacobian().square())

    def total(batch: Batch) -> Matrices:
        weight = batch.weight.double()
        return {name: one(tap, weight) for name, tap in taps(problem, params, batch.x, names, places).items()}

    h = problem.over_data(total, _chunk(problem, params, places))
    delta = choose(lambda: flatten(h))
    return Diagonal({name: (value + delta).rsqrt().to(problem.rows.weight) for name, value in h.items()})


def kronecker(problem: Problem, params: Params, names: Sequence[str], choose: Choose) -> Kronecker:
    """G (x) A for each layer: A = sum_i w_i a_i a_i^T, G = (1/n) sum_i w_i sum_k g_ik g_ik^T.

    Martens & Grosse 2015 (arXiv 1503.05671), with the exact expectation over the labels. Of a convolution
    (Grosse & Martens 2016, arXiv 1602.01407)

        A = sum_i w_i sum_t a_it a_it^T,    G = 1 / (n T) sum_i w_i sum_t sum_k g_ikt g_ikt^T,

    which is its block of H if patches and gradients are independent, gradients at two locations are uncorrelated, and
    both have the same second moments at every location: then H = n sum_t E[a_t a_t^T] (x) E[sum_k g_kt g_kt^T]. With
    one location it is the linear layer's.
    """
    places = locations(problem, params, names)

    def total(batch: Batch) -> tuple[Matrices, Matrices]:
        weight, inputs, outputs = batch.weight.double()[:, None], {}, {}
        for name, (a, g) in taps(problem, params, batch.x, names, places).items():
            count = places.get(name, 1)
            w = weight.repeat_interleave(count, 0) if count > 1 else weight
            inputs[name] = _gram(a.flatten(0, -2), w)
            outputs[name] = _gram(g.flatten(1, -2), w) / (problem.n * count)
        return inputs, outputs

    inputs, outputs = problem.over_data(total, _chunk(problem, params, places))

    def eigenvalues() -> Tensor:
        return torch.cat([torch.outer(eigen(outputs[name])[0], eigen(inputs[name])[0]).reshape(-1) for name in names])

    return Kronecker(inputs, outputs, choose(eigenvalues))


def _gram(x: Tensor, weight: Tensor) -> Tensor:
    """Sum of w x x^T over the rows of x [B, d] or [K, B, d], weights [B, 1]: [d, d].

    A wide one by 4 x 4 blocks, of which 10 are computed: BLAS's product would not use the symmetry.
    """
    weighted, width = weight * x, x.shape[-1]
    if width < WIDE:
        return weighted.mT @ x if x.dim() == 2 else torch.einsum("kbi,kbj->ij", weighted, x)
    step = -(-width // 4)
    lefts, rights = (value.flatten(0, -2).split(step, 1) for value in (weighted, x))
    upper = {(i, j): lefts[i].mT @ rights[j] for j in range(len(rights)) for i in range(j + 1)}
    places = range(len(rights))
    rows = [torch.cat([upper[i, j] if i <= j else upper[j, i].mT for j in places], 1) for i in places]
    return torch.cat(rows)


def dense(problem: Problem, params: Params, names: Sequence[str], choose: Choose) -> Dense:
    """H between all coordinates of the layers, [P, P]."""
    coordinates = sum(value.numel() for value in to_matrices(params, names).values())
    places = locations(problem, params, names)
    chunk = max(1, min(_chunk(problem, params, places), DENSE_NUMBERS // (coordinates * problem.likelihood.outputs)))

    def total(batch: Batch) -> Tensor:
        found = taps(problem, params, batch.x, names, places).values()
        rows = torch.cat([tap.jacobian().flatten(2) for tap in found], 2)
        return (batch.weight.double()[:, None] * rows).flatten(0, 1).mT @ rows.flatten(0, 1)

    h = problem.over_data(total, chunk)
    identity = torch.eye(coordinates).to(h)
    factor, failed = torch.linalg.cholesky_ex(h + choose(lambda: eigen(h)[0]) * identity)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
    found = torch.where(failed == 0, inverse, torch.nan).to(problem.rows.weight)
    return Dense(found.contiguous())  # as it is loaded again: products differ in last digits by the layout
