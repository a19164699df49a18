"""Inference methods, one file per family; see docs/extending.md for how to add one."""

from bnnbench.methods.base import METHODS, Method, configure, valid

# Imported here in the order of rows and colours in every table and figure; discovery appends what is not listed.
from bnnbench.methods import (  # isort: skip  # noqa: F401
    constant, map, ensemble, mc_dropout, bbp, bbp_local, ivon, vbll, mnf, laplace, swag, sgld, psgld, sghmc, csgmcmc,
    hmc, gp, flow,
)  # fmt: skip

__all__ = ["METHODS", "Method", "configure", "valid"]
