"""Inference methods, one file per family; see CONTRIBUTING.md for how to add one."""

from bnnbench.methods.base import METHODS, Method, configure

# Imported here in the order of rows and colours in every table and figure; discovery appends what is not listed.
from bnnbench.methods import constant, map, ensemble, mc_dropout, bbp, laplace, swag, sgld, sghmc, hmc, gp  # isort: skip  # noqa: F401

__all__ = ["METHODS", "Method", "configure"]
