"""The flows of the literature, each a few lines of composition: densities of vectors [..., dim].

All take, where they have them:

    layers: how many follow each other.
    hidden: widths of the networks that give the parameters.
    bins, bound: of the splines, which are the identity outside of [-bound, bound].
    context: length of the context on which the density depends, 0 for none.
    seed: of the start.

They raise a UserError where there is no layer, dimension or hidden unit, where a number of them is no whole one, or
where the parts refuse their settings.
"""

from __future__ import annotations

from collections.abc import Sequence

from bnnbench.errors import UserError
from bnnbench.flows.autoregressive import Autoregressive
from bnnbench.flows.bijection import Bijection, Chain, Inverse
from bnnbench.flows.coupling import Coupling
from bnnbench.flows.flow import Flow
from bnnbench.flows.inputs import check_whole
from bnnbench.flows.linear import ActNorm, Constant, InvertibleLinear
from bnnbench.flows.residual import Planar, Radial
from bnnbench.flows.scalar import Affine, Scalar, Shift
from bnnbench.flows.spline import RationalQuadratic
from bnnbench.random import checked_seed

Widths = Sequence[int]


def coupling_flow(
    dim: int, scalar: Scalar, layers: int = 8, hidden: Widths = (64, 64), context: int = 0, seed: int = 0
) -> Flow:
    """Couplings whose halves take turns."""
    return Flow(
        Chain(Coupling(dim, scalar, hidden, context, swap=bool(i % 2), seed=_seed(seed, i)) for i in _numbers(layers))
    )


def autoregressive_flow(
    dim: int, scalar: Scalar, layers: int = 5, hidden: Widths = (64, 64), context: int = 0, seed: int = 0
) -> Flow:
    """Autoregressive layers in alternating order."""
    return Flow(
        Chain(Autoregressive(dim, scalar, hidden, context, bool(i % 2), seed=_seed(seed, i)) for i in _numbers(layers))
    )


def nice(dim: int, layers: int = 8, hidden: Widths = (64, 64), context: int = 0, seed: int = 0) -> Flow:
    """NICE (Dinh et al. 2014, arXiv 1410.8516): couplings that keep volumes, then one scale for each dimension."""
    return Flow(Chain([*coupling_flow(dim, Shift(), layers, hidden, context, seed).layers, Constant(dim)]))


def realnvp(dim: int, layers: int = 8, hidden: Widths = (64, 64), context: int = 0, seed: int = 0) -> Flow:
    """RealNVP (Dinh et al. 2017, arXiv 1605.08803)."""
    return coupling_flow(dim, Affine(), layers, hidden, context, seed)


def maf(dim: int, layers: int = 5, hidden: Widths = (64, 64), context: int = 0, seed: int = 0) -> Flow:
    """Masked autoregressive flow (Papamakarios et al. 2017, arXiv 1705.07057): fast densities, slow draws."""
    return autoregressive_flow(dim, Affine(), layers, hidden, context, seed)


def iaf(dim: int, layers: int = 5, hidden: Widths = (64, 64), context: int = 0, seed: int = 0) -> Flow:
    """Inverse autoregressive flow (Kingma et al. 2016, arXiv 1606.04934): fast draws with their densities."""
    return Flow(Inverse(maf(dim, layers, hidden, context, seed).bijection))


def spline_coupling(
    dim: int, layers: int = 4, hidden: Widths = (64, 64), bins: int = 8, bound: float = 5.0, context: int = 0,
    seed: int = 0,
) -> Flow:  # fmt: skip
    """Neural spline flow by coupling (Durkan et al. 2019, arXiv 1906.04032)."""
    return coupling_flow(dim, RationalQuadratic(bins, bound), layers, hidden, context, seed)


def spline_autoregressive(
    dim: int, layers: int = 3, hidden: Widths = (64, 64), bins: int = 8, bound: float = 5.0, context: int = 0,
    seed: int = 0,
) -> Flow:  # fmt: skip
    """Neural spline flow by autoregression (Durkan et al. 2019, arXiv 1906.04032)."""
    return autoregressive_flow(dim, RationalQuadratic(bins, bound), layers, hidden, context, seed)


def planar(dim: int, layers: int = 32, context: int = 0, seed: int = 0) -> Flow:
    """Planar flow (Rezende & Mohamed 2015, arXiv 1505.05770), in closed form from noise to data."""
    return Flow(Inverse(Chain(Planar(dim, context, _seed(seed, i)) for i in _numbers(layers))))


def radial(dim: int, layers: int = 32, seed: int = 0) -> Flow:
    """Radial flow (Rezende & Mohamed 2015, arXiv 1505.05770), from noise to data."""
    return Flow(Inverse(Chain(Radial(dim, _seed(seed, i)) for i in _numbers(layers))))


def glow(dim: int, layers: int = 4, hidden: Widths = (64, 64), context: int = 0, seed: int = 0) -> Flow:
    """Glow on vectors (Kingma & Dhariwal 2018, arXiv 1807.03039): ActNorm, invertible matrix, affine coupling."""
    return normalised(coupling_flow(dim, Affine(), layers, hidden, context, seed), seed)


def normalised(flow: Flow, seed: int = 0) -> Flow:
    """A flow with an ActNorm and a rotation before each of its layers."""
    if not isinstance(flow, Flow):
        raise UserError(f"`normalised` takes a Flow, not a {type(flow).__name__}; `Flow(bijection)` makes one.")
    parts: list[Bijection] = []
    for i, layer in enumerate(flow.layers):
        parts += [ActNorm(flow.dim), InvertibleLinear(flow.dim, _seed(seed, i)), layer]
    return Flow(Chain(parts))


def _numbers(layers: int) -> range:
    check_whole("The number of a flow's layers", layers, 1)
    return range(layers)


def _seed(seed: int, layer: int) -> int:
    """A seed of its own for every layer."""
    return (checked_seed(seed) << 16) + layer
