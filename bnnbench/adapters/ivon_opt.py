r"""ivon-opt: the improved variational online Newton method by its authors.

    optimiser = ivon.IVON(groups, lr, ess=n, weight_decay=delta, ...)
    for each weight sample: with optimiser.sampled_params(train=True): loss.backward()
    optimiser.step()

Every parameter tensor is a group with delta = 1 / (n s^2), the task's prior. The package knows priors around 0 alone: a
learned noise is fitted as its distance from its prior's mean.
"""

# The library is an extra; where it is missing, pyright takes the name for this file.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bnnbench.adapters.base import Adapter
from bnnbench.adapters.training import Model, minibatches, need_gaussian_prior, predicted, rates, set_rate
from bnnbench.errors import UserError
from bnnbench.methods.base import METHODS, fraction, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.space import LogUniform, Space
from bnnbench.model import Predictive


class Shifted(nn.Module):
    """log_noise = -1 + a parameter, whose prior is N(0, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return x - 1.0

    def right_inverse(self, x: Tensor) -> Tensor:
        return x + 1.0


@METHODS.register
@dataclass(frozen=True)
class IVONOpt(Adapter):
    """IVON under the task's Gaussian prior, with the hyperparameters of `ivon`.

    Attributes:
        lr: peak of the one-cycle learning rate.
        hess_init: h before the first step.
        beta1: decay of the running gradient. beta2: decay of h.
        clip: largest step of a weight, in units of lr.
        samples: weight samples of a step, among which the minibatch is divided.
    """

    name: ClassVar[str] = "ivon-opt"
    library, module = "ivon-opt", "ivon"
    citation: ClassVar[str] = "Shen et al. 2024, arXiv 2402.17641"
    implements: ClassVar[str] = "ivon"
    family: ClassVar[str] = "mean-field"
    lr: float = 0.1
    hess_init: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.9995
    clip: float = 0.1
    samples: int = 4

    @classmethod
    def space(cls) -> Space:
        return {"lr": LogUniform(0.01, 1.0), "hess_init": LogUniform(0.1, 10.0)}

    def check(self) -> None:
        positive(self, "lr", "hess_init", "clip", "samples")
        fraction(self, "beta1", "beta2")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        import ivon

        need_gaussian_prior(self, problem)
        if problem.batch_size % self.samples:
            raise UserError(
                f"{self.name}.samples must divide the task's minibatches of {problem.batch_size} rows, "
                f"not be {self.samples}."
            )
        model, n = Model(problem), len(train.x)
        if problem.learns_noise:
            nn.utils.parametrize.register_parametrization(model, "log_noise", Shifted())
        optimiser = ivon.IVON(
            [{"params": [own], "weight_decay": 1 / (n * scale**2)} for own, scale in scales(model)], self.lr, n,
            hess_init=self.hess_init, beta1=self.beta1, beta2=self.beta2, clip_radius=self.clip,
        )  # fmt: skip
        batches = minibatches(train, problem, budget)
        for rate, (x, y) in zip(rates(budget.steps, self.lr), batches, strict=True):
            set_rate(optimiser, rate)
            for part in zip(x.chunk(self.samples), y.chunk(self.samples), strict=True):
                with optimiser.sampled_params(train=True):
                    optimiser.zero_grad()
                    model.nll(*part).backward()
            optimiser.step()
        return model, optimiser

    @torch.no_grad()
    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        model, optimiser = fitted
        inputs, outputs, noise = torch.as_tensor(x, dtype=torch.float32), [], []
        for _ in range(samples):
            with optimiser.sampled_params():
                outputs.append(model(inputs))
                noise.append(model.log_noise)
        level = torch.stack(noise) if model.problem.learns_noise else None
        return predicted(model.problem, torch.stack(outputs), level)


def scales(model: Model) -> list[tuple[nn.Parameter, float]]:
    """All parameters with the standard deviations of their priors."""
    weights = [(own, float(model.problem.prior.scale_of(own))) for own in model.network.parameters()]
    inside = {id(own) for own, _ in weights}
    return weights + [(own, 1.0) for own in model.parameters() if id(own) not in inside]
