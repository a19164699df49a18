"""Every bijection of the library, away from where it starts."""

import torch

from bnnbench import random
from bnnbench.flows import (
    ActNorm,
    Affine,
    Autoregressive,
    Chain,
    Constant,
    Coupling,
    Gate,
    Inverse,
    InvertibleLinear,
    Planar,
    Radial,
    RationalQuadratic,
    Reverse,
    Shift,
    spline_coupling,
)

WIDTHS = (16, 16)

# Name -> constructor of (dim, context); None where the bijection takes no context.
BIJECTIONS = {
    "nice": lambda dim, c=0: Coupling(dim, Shift(), WIDTHS, c),
    "realnvp": lambda dim, c=0: Coupling(dim, Affine(), WIDTHS, c),
    "realnvp-swapped": lambda dim, c=0: Coupling(dim, Affine(), WIDTHS, c, swap=True),
    "gated": lambda dim, c=0: Coupling(dim, Gate(), (16,), c, activation="tanh"),
    "spline-coupling": lambda dim, c=0: Coupling(dim, RationalQuadratic(), WIDTHS, c),
    "maf": lambda dim, c=0: Autoregressive(dim, Affine(), WIDTHS, c),
    "maf-reversed": lambda dim, c=0: Autoregressive(dim, Affine(), WIDTHS, c, reverse=True),
    "iaf": lambda dim, c=0: Inverse(Autoregressive(dim, Affine(), WIDTHS, c)),
    "spline-autoregressive": lambda dim, c=0: Autoregressive(dim, RationalQuadratic(), WIDTHS, c),
    "spline-two-bins": lambda dim, c=0: Autoregressive(dim, RationalQuadratic(2), WIDTHS, c),
    "planar": lambda dim, c=0: Planar(dim, c),
}
WITHOUT_CONTEXT = {
    "radial": Radial,
    "constant": Constant,
    "actnorm": ActNorm,
    "invertible-linear": InvertibleLinear,
    "reverse": Reverse,
    "inverse-planar": lambda dim: Inverse(Planar(dim)),
    "chain": lambda dim: Chain(
        [ActNorm(dim), InvertibleLinear(dim), Coupling(dim, hidden=WIDTHS), Inverse(Planar(dim)), Reverse(dim)]
    ),
    "spline-flow": lambda dim: spline_coupling(dim, 3, WIDTHS).bijection,
}
ALL = BIJECTIONS | WITHOUT_CONTEXT


def moved(module, dtype=torch.float64, scale=0.1, seed=0):
    """A module in this precision, each of its parameters away from its start."""
    module = module.to(dtype)
    with torch.no_grad():
        for i, value in enumerate(module.parameters()):
            value += scale * random.normal(random.key_of("moved", seed, i), value.shape, dtype)
    return module


def points(n, dim, dtype=torch.float64, scale=2.0, seed=0):
    return scale * random.normal(random.key_of("points", seed), (n, dim), dtype)
