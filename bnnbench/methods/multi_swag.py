r"""MultiSWAG: a mixture of SWAG posteriors around the solutions of K independent trainings,

    q(w) = (1/K) sum_k N(m_k, (diag(d_k) + D_k D_k^T / (R - 1)) / 2),

with mean m_k, variances d_k and deviations D_k of the iterates of training k, as in `bnnbench.methods.swag`. A deep
ensemble has one point in each basin of attraction; this has a Gaussian there, and marginalises within basins too. Of S
predictive samples every basin has S / K.
"""

from __future__ import annotations

from dataclasses import dataclass

from bnnbench.methods.base import METHODS
from bnnbench.methods.members import Members
from bnnbench.methods.swag import SWAG


@METHODS.register
@dataclass(frozen=True)
class MultiSWAG(Members, SWAG):
    """Mixture of SWAG posteriors from independent starts and minibatches, each with the full number of gradients.

    Attributes:
        members: trainings, K; the other hyperparameters are those of each.
    """

    name = "multi-swag"
    version = 1
    citation = "Wilson & Izmailov 2020, arXiv 2002.08791"
    prunable = False
