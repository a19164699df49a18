"""GPyTorch: a Gaussian process with inducing points, fitted by minibatches (Hensman et al. 2013)."""

# The library is an extra; where it is missing, pyright takes the name for this file.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bnnbench.adapters.base import OTHER, Adapter
from bnnbench.adapters.training import descend, minibatches
from bnnbench.methods.base import METHODS, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.space import RATE, Space
from bnnbench.model import GaussianPredictive, Predictive


@METHODS.register
@dataclass(frozen=True)
class GPyTorchSVGP(Adapter):
    """Sparse variational Gaussian process regression with one length scale a column and one noise for all inputs;
    hyperparameters and inducing points are fitted by the evidence lower bound.

    It has neither the task's network nor its prior. `gp` is exact.

    Attributes:
        inducing: most inducing points; they start at training rows.
        lr: peak learning rate of Adam's one-cycle schedule.
    """

    name: ClassVar[str] = "gpytorch-svgp"
    library, module = "gpytorch", "gpytorch"
    tags: ClassVar[tuple[str, ...]] = OTHER
    citation: ClassVar[str] = "Hensman et al. 2013, arXiv 1309.6835; Gardner et al. 2018, arXiv 1809.11165"
    supports: ClassVar[tuple[str, ...]] = ("regression",)
    implements: ClassVar[str] = "gp"
    inducing: int = 500
    lr: float = 0.01

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE}

    def check(self) -> None:
        positive(self, "inducing", "lr")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        import gpytorch

        x, _ = train.tensors()
        model = process(x[torch.randperm(len(x))[: self.inducing]])
        likelihood = gpytorch.likelihoods.GaussianLikelihood()
        bound = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=len(x))

        def loss(x: Tensor, y: Tensor) -> Tensor:
            return -bound(model(x), y)

        whole = nn.ModuleList([model, likelihood])
        descend(whole, loss, minibatches(train, problem, budget), budget.steps, self.lr)
        return model, likelihood

    @torch.no_grad()
    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        model, likelihood = fitted
        found = likelihood(model(torch.as_tensor(x, dtype=torch.float32)))
        return GaussianPredictive(found.mean, found.stddev)


def process(inducing: Tensor) -> Any:
    """The model of the library's tutorial, with these inducing points at the start [M, d]."""
    from gpytorch.distributions import MultivariateNormal
    from gpytorch.kernels import RBFKernel, ScaleKernel
    from gpytorch.means import ConstantMean
    from gpytorch.models import ApproximateGP
    from gpytorch.variational import CholeskyVariationalDistribution, VariationalStrategy

    class Process(ApproximateGP):
        def __init__(self) -> None:
            q = CholeskyVariationalDistribution(len(inducing))
            super().__init__(VariationalStrategy(self, inducing, q, learn_inducing_locations=True))
            self.mean = ConstantMean()
            self.kernel = ScaleKernel(RBFKernel(ard_num_dims=inducing.shape[1]))

        def forward(self, x: Tensor) -> Any:
            return MultivariateNormal(self.mean(x), self.kernel(x))

    return Process()
