r"""bayesian-torch: variational inference with flipout layers.

    dnn_to_bnn(network, {"type": "Flipout", ...})
    loss = nll + get_kl_loss(network) / batch_size

That is the loss of its documentation. The library's KL is the mean over the weights of a tensor, where the evidence
lower bound has their sum, and it is divided by the rows of a minibatch, where the bound has those of the data set: q
comes to be far from the posterior, as `bnnbench check` shows (docs/adapters.md). `kl="bound"` sums the KL of its layers
and divides by n.
"""

# The library is an extra; where it is missing, pyright takes the name for this file.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import contextlib
import io
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnnbench.adapters.base import Adapter
from bnnbench.adapters.training import Model, descend, minibatches, need_gaussian_prior, predicted, sampled
from bnnbench.methods.base import METHODS, one_of, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.space import RATE, LogUniform, Space
from bnnbench.model import Params, Predictive

KLS = ("library", "bound")
PARTS = {"mu_weight": "weight", "mu_kernel": "weight", "mu_bias": "bias"}  # of a layer, by the library's names


@METHODS.register
@dataclass(frozen=True)
class BayesianTorchFlipout(Adapter):
    """Flipout, under the task's prior, which is written into the layers' buffers, as the library takes one for all.

    Prediction draws the weights of its q, so that a component is one function of the inputs. A learned noise is a point
    estimate.

    Attributes:
        lr: peak learning rate of Adam's one-cycle schedule.
        sigma: standard deviation of q at the start, the library's default (rho = -3).
        kl: "library", the loss of its documentation, or "bound", the evidence lower bound.
    """

    name: ClassVar[str] = "bayesian-torch-flipout"
    library, module = "bayesian-torch", "bayesian_torch"
    citation: ClassVar[str] = "Wen et al. 2018, arXiv 1803.04386; Krishnan et al. 2022, doi:10.5281/zenodo.5908307"
    implements: ClassVar[str] = "bbp-flipout"
    family: ClassVar[str] = "mean-field"
    lr: float = 2e-2
    sigma: float = 0.05
    kl: str = "library"

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "sigma": LogUniform(0.001, 0.2)}

    def check(self) -> None:
        positive(self, "lr", "sigma")
        one_of(self, "kl", KLS)
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        need_gaussian_prior(self, problem)
        model, n = Model(problem, self.converted(problem)), len(train.x)

        def loss(x: Tensor, y: Tensor) -> Tensor:
            return model.nll(x, y) + self.divergence(model.network, len(x), n) - model.log_prior_of_noise() / n

        descend(model, loss, minibatches(train, problem, budget), budget.steps, self.lr)
        return model

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        problem = fitted.problem
        draws = [drawn(fitted.network) for _ in range(samples)]
        return predicted(problem, sampled(problem.network(), draws, x), fitted.log_noise)

    def converted(self, problem: Assignment) -> nn.Module:
        """The task's network with the library's layers, under the task's prior."""
        from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn

        network = problem.network()
        prior = {name: float(problem.prior.scale_of(value)) for name, value in network.named_parameters()}
        settings = {
            "prior_mu": 0.0, "prior_sigma": 1.0, "posterior_mu_init": 0.0,
            "posterior_rho_init": math.log(math.expm1(self.sigma)),
            "type": "Flipout", "moped_enable": False, "moped_delta": 0.5,
        }  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            dnn_to_bnn(network, settings)
        for name, layer in stochastic(network).items():
            layer.get_buffer("prior_weight_sigma").fill_(prior[f"{name}.weight"])
            if f"{name}.bias" in prior:
                layer.get_buffer("prior_bias_sigma").fill_(prior[f"{name}.bias"])
        return network

    def divergence(self, network: nn.Module, batch: int, n: int) -> Tensor:
        """KL(q || p) as it stands in the loss, 0-dim."""
        from bayesian_torch.models.dnn_to_bnn import get_kl_loss

        return get_kl_loss(network) / batch if self.kl == "library" else summed_kl(network) / n


def stochastic(network: nn.Module) -> dict[str, Any]:
    """The library's layers by name."""
    from bayesian_torch.layers.base_variational_layer import BaseVariationalLayer_

    return {name: layer for name, layer in network.named_modules() if isinstance(layer, BaseVariationalLayer_)}


def moments(network: nn.Module) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Mean and standard deviation of q, and that of the prior, by the names of the task's network."""
    found = {}
    for place, layer in stochastic(network).items():
        for own, part in PARTS.items():
            if (mean := getattr(layer, own, None)) is not None:
                sd = F.softplus(getattr(layer, own.replace("mu_", "rho_")))
                found[f"{place}.{part}"] = mean, sd, layer.get_buffer(f"prior_{part}_sigma")
    return found


def summed_kl(network: nn.Module) -> Tensor:
    """KL(q || p), summed over all weights, 0-dim."""
    kls = [
        (scale.log() - sd.log() + (sd**2 + mean**2) / (2 * scale**2) - 0.5).sum()
        for mean, sd, scale in moments(network).values()
    ]
    return torch.stack(kls).sum()


@torch.no_grad()
def drawn(network: nn.Module) -> Params:
    """One draw of all weights from q."""
    return {name: mean + sd * torch.randn_like(mean) for name, (mean, sd, _) in moments(network).items()}
