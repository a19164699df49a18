"""Normalizing flows: bijections with log-determinants, and the densities that they make of a standard normal."""

from bnnbench.flows.autoregressive import Autoregressive
from bnnbench.flows.bijection import Bijection, Chain, Inverse
from bnnbench.flows.coupling import Coupling
from bnnbench.flows.families import (
    autoregressive_flow,
    coupling_flow,
    glow,
    iaf,
    maf,
    nice,
    normalised,
    planar,
    radial,
    realnvp,
    spline_autoregressive,
    spline_coupling,
)
from bnnbench.flows.flow import Flow
from bnnbench.flows.linear import ActNorm, Constant, InvertibleLinear, Reverse
from bnnbench.flows.residual import Planar, Radial
from bnnbench.flows.scalar import Affine, Gate, Scalar, Shift
from bnnbench.flows.spline import RationalQuadratic

__all__ = [
    "ActNorm",
    "Affine",
    "Autoregressive",
    "Bijection",
    "Chain",
    "Constant",
    "Coupling",
    "Flow",
    "Gate",
    "Inverse",
    "InvertibleLinear",
    "Planar",
    "Radial",
    "RationalQuadratic",
    "Reverse",
    "Scalar",
    "Shift",
    "autoregressive_flow",
    "coupling_flow",
    "glow",
    "iaf",
    "maf",
    "nice",
    "normalised",
    "planar",
    "radial",
    "realnvp",
    "spline_autoregressive",
    "spline_coupling",
]
