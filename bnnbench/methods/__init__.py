"""Inference methods, one file per family; see docs/extending.md for how to add one."""

from bnnbench.methods.base import METHODS, Inference, Method, configure, valid
from bnnbench.methods.estimator import Estimator

# Imported here in the order of rows and colours in every table and figure; discovery appends what is not listed.
from bnnbench.methods import (  # isort: skip  # noqa: F401
    constant, map, ensemble, ensemble_adversarial, ensemble_repulsive, svgd, batch_ensemble, mc_dropout, bbp, bbp_local,
    ivon, vbll, rank_1, mnf, laplace, ensemble_laplace, swag, multi_swag, sngp, sgld, psgld, sghmc, csgmcmc, hmc, mclmc,
    gp, flow,
)  # fmt: skip

__all__ = ["METHODS", "Estimator", "Inference", "Method", "configure", "valid"]
