r"""Mixture of Laplace approximations: a Gaussian around every member of a deep ensemble,

    q(w) = (1/K) sum_k N(w_k, Sigma_k),

w_k the MAP network of member k and Sigma_k the inverse of the curvature there, as in `bnnbench.methods.laplace`: by
default Kronecker-factored in every layer, with the precision chosen for each member alone. The predictive of a
component is that of the network linearised around its own w_k. Of S predictive samples every member has S / K.
"""

from __future__ import annotations

from dataclasses import dataclass

from bnnbench.methods.base import METHODS
from bnnbench.methods.laplace import LaplaceKron
from bnnbench.methods.members import Members


@METHODS.register
@dataclass(frozen=True)
class EnsembleLaplace(Members, LaplaceKron):
    """Mixture of Kronecker-factored Laplace approximations of MAP networks, each with the full number of gradients.

    Attributes:
        members: number of networks, K; the other hyperparameters are those of `laplace-kron`.
    """

    name = "ensemble-laplace"
    citation = "Eschenhagen et al. 2021, arXiv 2111.03577"
    tags = ("ensembles", "laplace")
