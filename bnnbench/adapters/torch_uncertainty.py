r"""torch-uncertainty: its Monte Carlo dropout, Bayesian layers with their evidence lower bound, and deep ensembles.

    mc_dropout(network, num_estimators=S, ...)          a mask for every row and pass
    ELBOLoss(network, inner_loss, kl_weight=1 / n, ...)  on a network of BayesLinear and BayesConv2d
    deep_ensembles(network, num_estimators=members, ...)

They are its wrappers and losses, trained by the loop that adapters share in place of Lightning.
"""

# The library is an extra; where it is missing, pyright takes the name for this file.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bnnbench.adapters.base import Adapter
from bnnbench.adapters.training import Model, descend, layers_of, map_model, minibatches, need_gaussian_prior, predicted
from bnnbench.errors import UserError
from bnnbench.methods.base import METHODS, fraction, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.space import RATE, LogUniform, Space
from bnnbench.model import Predictive

LOOK = 10  # passes of a look at the validation rows


@dataclass(frozen=True)
class _TorchUncertainty(Adapter):
    """What they share.

    Attributes:
        lr: peak learning rate of Adam's one-cycle schedule.
    """

    library, module, needs = "torch-uncertainty[cpu]", "torch_uncertainty", ("lightning",)
    lr: float = 1e-2

    def check(self) -> None:
        positive(self, "lr")
        super().check()


@torch.no_grad()
def outputs_of(wrapper: nn.Module, x: np.ndarray, samples: int) -> Tensor:
    """What a wrapper says in all passes, [S, N, outputs]."""
    return wrapper.eval()(torch.as_tensor(x, dtype=torch.float32)).unflatten(0, (samples, -1))


@METHODS.register
@dataclass(frozen=True)
class TorchUncertaintyDropout(_TorchUncertainty):
    """Monte Carlo dropout, before every layer but the first. The prior enters as log p(w) / n of the weights, that is
    as weight decay; `mc-dropout` has the expectation over masks.

    Attributes:
        rate: probability of dropping a unit.
    """

    name: ClassVar[str] = "torch-uncertainty-dropout"
    citation: ClassVar[str] = "Gal & Ghahramani 2016, arXiv 1506.02142; Lafage et al. 2025, arXiv 2511.10282"
    implements: ClassVar[str] = "mc-dropout"
    rate: float = 0.01
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "rate": LogUniform(0.001, 0.7)}

    def check(self) -> None:
        positive(self, "rate")
        fraction(self, "rate")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        model, n = Model(problem, self.wrapped(with_dropout(problem.network(), self.rate), problem, LOOK)), len(train.x)
        score = (lambda: model.score(validation, LOOK)) if self.early_stopping else None
        batches = minibatches(train, problem, budget)
        descend(model, lambda x, y: model.nll(x, y) - model.log_prior() / n, batches, budget.steps, self.lr, score)
        return model

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        wrapper = self.wrapped(fitted.network.core_model, fitted.problem, samples)
        return predicted(fitted.problem, outputs_of(wrapper, x, samples), fitted.log_noise)

    def wrapped(self, network: nn.Module, problem: Assignment, samples: int) -> nn.Module:
        """The library's wrapper, with passes one after the other: together they need S times the memory."""
        from torch_uncertainty.methods import mc_dropout

        task: Any = problem.kind
        return mc_dropout(network, num_estimators=samples, on_batch=False, task=task, probabilistic=False)


def with_dropout(network: nn.Module, rate: float) -> nn.Module:
    """A network with dropout before its linear and convolutional layers but the first.

    Raises:
        UserError: it has only one.
    """
    layers = list(layers_of(network, nn.Linear, nn.Conv2d).items())
    if len(layers) < 2:
        raise UserError("torch-uncertainty-dropout needs a network with a hidden layer.")
    for name, layer in layers[1:]:
        network.set_submodule(name, nn.Sequential(nn.Dropout(rate), layer))
    return network


@METHODS.register
@dataclass(frozen=True)
class TorchUncertaintyBBP(_TorchUncertainty):
    """Bayes by Backprop with the library's layers and its ELBOLoss, one weight sample a step, under the task's prior.

    The library divides the KL by the number of layers: of a network of three, a third of it counts. A learned noise is
    a point estimate.

    Attributes:
        sigma: standard deviation of q at the start, the library's default (rho = -7).
    """

    name: ClassVar[str] = "torch-uncertainty-bbp"
    citation: ClassVar[str] = "Blundell et al. 2015, arXiv 1505.05424; Lafage et al. 2025, arXiv 2511.10282"
    implements: ClassVar[str] = "bbp-gaussian"
    family: ClassVar[str] = "mean-field"
    lr: float = 2e-2
    sigma: float = 1e-3

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "sigma": LogUniform(0.0001, 0.2)}

    def check(self) -> None:
        positive(self, "sigma")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        from torch_uncertainty.losses import ELBOLoss

        need_gaussian_prior(self, problem)
        model, n = Model(problem, self.converted(problem)), len(train.x)
        bound = ELBOLoss(model.network, Loss(model, n), kl_weight=1 / n, num_samples=1)
        batches = minibatches(train, problem, budget)
        descend(model, lambda x, y: bound(x, y).sum(), batches, budget.steps, self.lr)
        return model

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        from torch_uncertainty.methods import StochasticModel

        outputs = outputs_of(StochasticModel(fitted.network, samples), x, samples)
        return predicted(fitted.problem, outputs, fitted.log_noise)

    def converted(self, problem: Assignment) -> nn.Module:
        """The task's network with the library's layers, under the task's prior."""
        network = problem.network()
        for name, layer in layers_of(network, nn.Linear, nn.Conv2d).items():
            network.set_submodule(name, stochastic(layer, problem, math.log(math.expm1(self.sigma))))
        return network


def stochastic(layer: Any, problem: Assignment, rho: float) -> nn.Module:
    """The library's layer in the place of a plain one, with a normal prior for weights and one for biases."""
    from torch_uncertainty.layers.bayesian import BayesConv2d, BayesLinear
    from torch_uncertainty.layers.bayesian.sampler import CenteredGaussianMixture

    scale = float(problem.prior.scale_of(layer.weight))
    kinds = {nn.Linear: BayesLinear, nn.Conv2d: BayesConv2d}
    arguments = {
        nn.Linear: ("in_features", "out_features"),
        nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    }
    taken = {name: getattr(layer, name) for name in arguments[type(layer)]}
    prior = {"prior_sigma_1": scale, "prior_sigma_2": scale, "prior_pi": 1.0}
    new = kinds[type(layer)](**taken, **prior, sigma_init=rho, bias=layer.bias is not None)
    if layer.bias is not None:
        own = float(problem.prior.scale_of(layer.bias))
        new.bias_prior_dist = CenteredGaussianMixture(own, own, 1.0)
    return new


class Loss(nn.Module):
    """-(1/B) sum_i log p(y_i | outputs_i) - (1/n) log p(log_noise), as ELBOLoss takes it."""

    def __init__(self, model: Model, n: int) -> None:
        super().__init__()
        self.of = lambda outputs, y: (
            -model.problem.log_likelihood(outputs, y, model.log_noise).mean() - model.log_prior_of_noise() / n
        )

    def forward(self, outputs: Tensor, y: Tensor) -> Tensor:
        return self.of(outputs, y)


@METHODS.register
@dataclass(frozen=True)
class TorchUncertaintyEnsemble(_TorchUncertainty):
    """A deep ensemble: MAP networks from starts of the library's, each with the full number of gradients.

    Attributes:
        members: number of networks.
    """

    name: ClassVar[str] = "torch-uncertainty-ensemble"
    citation: ClassVar[str] = "Lakshminarayanan et al. 2017, arXiv 1612.01474; Lafage et al. 2025, arXiv 2511.10282"
    implements: ClassVar[str] = "ensemble-deep"
    family: ClassVar[str] = "point"
    members: int = 5
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE}

    def check(self) -> None:
        if self.members < 2:
            raise UserError(f"{self.name}.members must be at least 2, not {self.members}.")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        from torch_uncertainty.methods import deep_ensembles

        task: Any = problem.kind
        ensemble = deep_ensembles(
            problem.network(), num_estimators=self.members, task=task, probabilistic=False, reset_model_parameters=True
        )
        given = {"early_stopping": self.early_stopping}
        models = [
            map_model(train, validation, problem, budget, self.lr, network=network, **given)
            for network in ensemble.core_models
        ]
        noise: list[Tensor] = [model.log_noise for model in models if model.log_noise is not None]
        return problem, ensemble, torch.stack(noise) if noise else None

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        problem, ensemble, noise = fitted
        return predicted(problem, outputs_of(ensemble, x, self.members), noise)
