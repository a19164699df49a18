r"""vbll: the variational Bayesian last layer by its authors.

    out = layer(features(x));    loss = out.train_loss_fn(y)

on the features of the task's network without its last layer. The layer has no bias, one learned noise for all inputs
under a Wishart prior of its own, and adds noise to the logits of classes: another target than the task's. The weights
below have the task's prior.
"""

# The library is an extra; where it is missing, pyright takes the name for this file.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bnnbench.adapters.base import OTHER, Adapter
from bnnbench.adapters.training import descend, layers_of, log_prior, minibatches, need_gaussian_prior, scales
from bnnbench.errors import UserError
from bnnbench.methods.base import METHODS, one_of, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.space import RATE, LogUniform, Space
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Params, Predictive


@METHODS.register
@dataclass(frozen=True)
class VBLLPackage(Adapter):
    """The package's `Regression` and `DiscClassification` as the last layer of the task's network; prediction draws the
    layer's weights.

    Attributes:
        lr: peak learning rate of Adam's one-cycle schedule.
        covariance: of the layer's weights, "dense" or "diagonal".
        wishart_scale: of the noise's prior, the package's default.
    """

    name: ClassVar[str] = "vbll-package"
    library, module = "vbll", "vbll"
    tags: ClassVar[tuple[str, ...]] = OTHER
    citation: ClassVar[str] = "Harrison et al. 2024, arXiv 2404.11599"
    implements: ClassVar[str] = "vbll"
    lr: float = 1e-2
    covariance: str = "dense"
    wishart_scale: float = 1e-2
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "wishart_scale": LogUniform(0.001, 0.1)}

    def check(self) -> None:
        positive(self, "lr", "wishart_scale")
        one_of(self, "covariance", ("dense", "diagonal"))
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        need_gaussian_prior(self, problem)
        features, head = headless(problem.network())
        n = len(train.x)
        layer = LAYERS[problem.kind](self, head, problem, n)
        model = nn.Sequential(features, layer)
        below: Params = dict(features.named_parameters())
        prior = scales(below, problem)

        def loss(x: Tensor, y: Tensor) -> Tensor:
            own = model(x).train_loss_fn(SHAPED[problem.kind](y))
            return own - (log_prior(below, prior, problem) / n if below else 0.0)

        def score() -> float:
            x, y = validation.tensors()
            with torch.no_grad():
                return -float(model(x).val_loss_fn(SHAPED[problem.kind](y)))

        chosen = score if self.early_stopping else None
        descend(model, loss, minibatches(train, problem, budget), budget.steps, self.lr, chosen)
        return problem.kind, features, layer

    @torch.no_grad()
    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        kind, features, layer = fitted
        weights = layer.W().rsample((samples,))  # [S, outputs, features]
        outputs = features(torch.as_tensor(x, dtype=torch.float32)) @ weights.mT
        return PREDICTED[kind](outputs, layer.noise().scale)


def headless(network: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """A network without its last linear layer, and that layer."""
    layers = layers_of(network, nn.Linear)
    if not layers:
        raise UserError("vbll-package needs a network whose last layer is an nn.Linear.")
    name, head = list(layers.items())[-1]
    network.set_submodule(name, nn.Identity())
    assert isinstance(head, nn.Linear)
    return network, head


def _regression(method: VBLLPackage, head: nn.Linear, problem: Assignment, n: int) -> nn.Module:
    import vbll

    variance = float(problem.prior.scale_of(head.weight)) ** 2  # the package's is prior_scale / in_features
    return vbll.Regression(
        head.in_features, 1, 1 / n, method.covariance, variance * head.in_features, method.wishart_scale
    )


def _classification(method: VBLLPackage, head: nn.Linear, problem: Assignment, n: int) -> nn.Module:
    import vbll

    variance = float(problem.prior.scale_of(head.weight)) ** 2  # the package's is 2 prior_scale / in_features
    return vbll.DiscClassification(
        head.in_features, problem.classes, 1 / n, method.covariance,
        prior_scale=variance * head.in_features / 2, wishart_scale=method.wishart_scale,
    )  # fmt: skip


def _normal(outputs: Tensor, noise: Tensor) -> GaussianPredictive:
    return GaussianPredictive(outputs[..., 0], noise.expand_as(outputs)[..., 0])


def _categorical(outputs: Tensor, noise: Tensor) -> CategoricalPredictive:
    return CategoricalPredictive((outputs + noise * torch.randn_like(outputs)).log_softmax(-1))


LAYERS: dict[str, Callable[..., nn.Module]] = {"regression": _regression, "classification": _classification}
SHAPED: dict[str, Callable[[Tensor], Tensor]] = {"regression": lambda y: y[:, None], "classification": lambda y: y}
PREDICTED: dict[str, Callable[..., Predictive]] = {"regression": _normal, "classification": _categorical}
