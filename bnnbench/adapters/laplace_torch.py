r"""laplace-torch: a Gaussian around the MAP, with Kronecker factors of all layers or with the last layer's curvature.

The network is trained like `map`, and then handed over with the task's prior, one precision 1 / s^2 a parameter tensor:

    laplace = Laplace(network, kind, subset_of_weights=..., hessian_structure=..., prior_precision=...)
    laplace.fit(loader)

The library has one noise for all inputs of a regression, which stays at its maximum: where a task's network says the
noise of every input, it is left out and one noise is learned with the weights. Passes for the curvature are not counted
as gradients, as those of `laplace-*` are not.
"""

# The library is an extra; where it is missing, pyright takes the name for this file.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bnnbench.adapters.base import Adapter
from bnnbench.adapters.training import (
    Model,
    by_name,
    linearised,
    map_model,
    need_gaussian_prior,
    predicted,
    with_one_noise,
)
from bnnbench.methods.base import METHODS, one_of, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.space import RATE, Space
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Params, Predictive

ROWS = 1024  # of a pass for the curvature
LEAST = 1e-12  # probability of a class that the probit approximation calls impossible


@dataclass(frozen=True)
class _LaplaceTorch(Adapter):
    """What both share.

    Attributes:
        lr: peak learning rate of the MAP's one-cycle schedule.
        predictive: "linearised", a mixture of networks that are linear in weights drawn by `laplace.sample`, as
            `laplace-*` predicts; "glm", the library's closed form of the same, with the probit approximation for
            classes: a single component, which tells no epistemic from aleatoric uncertainty.
    """

    library, module = "laplace-torch", "laplace"
    citation: ClassVar[str] = "Daxberger et al. 2021, arXiv 2106.14806"
    family: ClassVar[str] = "exact"
    lr: float = 1e-2
    early_stopping: bool = True
    predictive: str = "linearised"

    subset: ClassVar[str]

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE}

    def check(self) -> None:
        positive(self, "lr")
        one_of(self, "predictive", tuple(PREDICTIVES))
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        from laplace import Laplace
        from torch.utils.data import DataLoader, TensorDataset

        need_gaussian_prior(self, problem)
        problem = with_one_noise(problem)
        model = map_model(train, validation, problem, budget, self.lr, early_stopping=self.early_stopping)
        model.network.requires_grad_()
        noise = problem.noise(model.log_noise)
        laplace = Laplace(
            model.network, problem.kind, subset_of_weights=self.subset, hessian_structure=self.hessian(),
            prior_precision=self.precision(model), sigma_noise=1.0 if noise is None else noise.float().detach(),
        )  # fmt: skip
        x, y = train.tensors()
        laplace.fit(DataLoader(TensorDataset(x, y if problem.classes else y[:, None]), ROWS))
        return laplace, model

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        return PREDICTIVES[self.predictive](*fitted, self.weights(fitted[1]), x, samples)

    def hessian(self) -> str:
        """The library's name of the curvature's structure."""
        raise NotImplementedError

    def weights(self, model: Model) -> Params:
        """The parameters that have a distribution, in the library's order."""
        raise NotImplementedError

    def precision(self, model: Model) -> Tensor:
        """The task's prior precisions, one a parameter tensor."""
        return torch.stack([model.problem.prior.scale_of(own) ** -2 for own in self.weights(model).values()]).detach()


def _linearised(laplace: Any, model: Model, weights: Params, x: np.ndarray, samples: int) -> Predictive:
    draws = by_name(laplace.sample(samples), weights)
    return predicted(model.problem, linearised(model.network, draws, x), model.log_noise)


def _glm(laplace: Any, model: Model, weights: Params, x: np.ndarray, samples: int) -> Predictive:
    del weights, samples
    return CLOSED[model.problem.kind](laplace(torch.as_tensor(x, dtype=torch.float32)), model)


def _normal(found: tuple[Tensor, Tensor], model: Model) -> GaussianPredictive:
    mean, variance = (part.detach().flatten() for part in found)
    noise = model.problem.noise(model.log_noise)
    assert noise is not None
    return GaussianPredictive(mean, (variance + noise.detach() ** 2).sqrt())


def _classes(found: Tensor, model: Model) -> CategoricalPredictive:
    del model
    return CategoricalPredictive(found.detach().clamp(min=LEAST).log())


PREDICTIVES: dict[str, Callable[..., Predictive]] = {"linearised": _linearised, "glm": _glm}
CLOSED: dict[str, Callable[..., Predictive]] = {"regression": _normal, "classification": _classes}


@METHODS.register
@dataclass(frozen=True)
class LaplaceTorchKron(_LaplaceTorch):
    """Kronecker-factored curvature of all layers, weights and biases independent of each other; in `laplace-kron` a
    layer's bias belongs to its weights."""

    name: ClassVar[str] = "laplace-torch-kron"
    implements: ClassVar[str] = "laplace-kron"
    subset: ClassVar[str] = "all"

    def hessian(self) -> str:
        return "kron"

    def weights(self, model: Model) -> Params:
        return dict(model.network.named_parameters())


@METHODS.register
@dataclass(frozen=True)
class LaplaceTorchLast(_LaplaceTorch):
    """The last layer alone; the other layers stay at the MAP.

    Attributes:
        structure: "full", the whole curvature of the layer, as `laplace-last` has it, or "kron", the library's default.
    """

    name: ClassVar[str] = "laplace-torch-last"
    implements: ClassVar[str] = "laplace-last"
    subset: ClassVar[str] = "last_layer"
    structure: str = "full"

    def check(self) -> None:
        one_of(self, "structure", ("full", "kron"))
        super().check()

    def hessian(self) -> str:
        return self.structure

    def weights(self, model: Model) -> Params:
        return dict(list(model.network.named_parameters())[-2:])

    def precision(self, model: Model) -> Tensor:
        """One a weight, where the library takes no other for a whole curvature."""
        each = super().precision(model)
        counts = torch.tensor([own.numel() for own in self.weights(model).values()])
        return {"full": each.repeat_interleave(counts), "kron": each}[self.structure]
