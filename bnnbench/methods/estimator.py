"""The second contract of an inference method: an estimator, which trains as it likes, in whatever library.

    @METHODS.register
    @dataclass(frozen=True)
    class Mine(Estimator):
        name = "mine"

        def fit(self, train, validation, *, problem, seed, budget): ...
        def predict(self, fitted, x, samples): ...

One cell is fitted at a time, in a process of its own that may crash, never inside `vmap`. The generators of Python,
NumPy and PyTorch are seeded from the cell, so that an estimator that draws from them repeats its numbers.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bnnbench.methods.base import Inference
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Predictive, Prior, Problem
from bnnbench.model.likelihoods import LOG_NOISE, Likelihood
from bnnbench.model.predictive import each
from bnnbench.nets import initialise


class Examples(NamedTuple):
    """Rows in the units of the network: inputs [N, ...] and targets [N], both standardised by the training rows; of a
    classification, whole numbers from 0 on."""

    x: np.ndarray
    y: np.ndarray

    def tensors(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Both as tensors; classes as int64."""
        y = torch.as_tensor(self.y)
        return torch.as_tensor(self.x, dtype=dtype), y.to(dtype) if y.is_floating_point() else y.long()


@dataclass
class Spending:
    """What a cell's budget grants, and what was spent of it.

    Attributes:
        steps: minibatch gradients granted to each network. samples: components of the predictive.
        spent: gradients counted so far, over all networks; 0 of what knows no gradients.
    """

    steps: int
    samples: int
    spent: int = 0

    def spend(self, gradients: int = 1) -> None:
        """Count gradients, each over a minibatch of one network. Reports show them as the cost."""
        self.spent += int(gradients)


@dataclass(frozen=True)
class Assignment:
    """What an estimator may know of its task beside the rows.

    Attributes:
        kind: `regression` or `classification`. classes: their number, 0 of a regression.
        batch_size: rows of a minibatch, which all methods have in common.
    """

    kind: str
    classes: int
    batch_size: int
    _problem: Problem
    _make: Callable[[int], nn.Module]
    _key: Tensor

    def network(self, outputs: int | None = None) -> nn.Module:
        """A fresh copy of the task's network, with the weights that every method of this cell starts from.

        Args:
            outputs: of its last layer, where a library wants others than the task's likelihood.
        """
        network = copy.deepcopy(self._problem.network) if outputs is None else self._make(outputs)
        initialised = initialise(network, self._key)
        network.load_state_dict(initialised, strict=False)
        return network.requires_grad_()

    def noise(self, log_noise: Tensor | None = None) -> Tensor | None:
        """Standard deviation of the standardised target, 0-dim, where it is one for all inputs; else None.

        Args:
            log_noise: what a homoscedastic likelihood learns.
        """
        if self.kind != "regression" or self.likelihood.outputs != 1:
            return None
        found = self.predictive(torch.zeros(1, 1, 1), log_noise)
        assert isinstance(found, GaussianPredictive)
        return found.scale.reshape(())

    @property
    def learns_noise(self) -> bool:
        """Whether the likelihood has a number of its own to learn, `log_noise`, with prior N(-1, 1)."""
        return LOG_NOISE in self.likelihood.init_params(torch.zeros(()))

    @property
    def likelihood(self) -> Likelihood:
        """p(y | outputs) of the standardised target."""
        return self._problem.likelihood

    @property
    def prior(self) -> Prior:
        """p(w); `prior.scale_of(weight)` is its scale for a tensor of weights."""
        return self._problem.prior

    def log_likelihood(self, outputs: Tensor, y: Tensor, log_noise: Tensor | None = None) -> Tensor:
        """log p(y | outputs) of every row [N], of the network's outputs [N, outputs] on standardised targets.

        Args:
            log_noise: 0-dim; of a homoscedastic likelihood, which learns it.
        """
        return self.likelihood.log_prob(self._params(outputs, log_noise), outputs, y)

    def predictive(self, outputs: Tensor, log_noise: Tensor | None = None) -> Predictive:
        """The mixture of what S networks say of N rows, outputs [S, N, outputs].

        Args:
            log_noise: 0-dim, or one a network [S].
        """
        noise = [None] * len(outputs) if log_noise is None else log_noise.expand(len(outputs)).unbind()
        zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        parts = [
            self.likelihood.predictive(self._params(own, level), own, zero, one)
            for own, level in zip(outputs, noise, strict=True)
        ]
        return each(lambda *values: torch.stack(values), *parts)

    def _params(self, like: Tensor, log_noise: Tensor | None) -> dict[str, Tensor]:
        own = self.likelihood.init_params(like)
        return own | {LOG_NOISE: log_noise} if log_noise is not None else own


class Estimator(Inference):
    """An inference algorithm with a training loop of its own: `fit` and `predict`."""

    vmappable: ClassVar[bool] = False
    isolated: ClassVar[bool] = True
    num_networks: int = 0
    limit_s: ClassVar[float] = 3600.0

    @abstractmethod
    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        """Train on the training rows; returns whatever `predict` needs.

        Args:
            validation: rows to stop or to choose by, on which nothing is fitted.
            problem: kind, network, likelihood and prior of the task.
            seed: of the cell, for generators of a library's own; those of Python, NumPy and PyTorch are seeded.
            budget: gradients and samples granted; count what is spent by `budget.spend()`.
        """

    @abstractmethod
    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        """The predictive at standardised inputs [N, ...], in units of the standardised target.

        Args:
            samples: components of a mixture that is sampled.

        Returns:
            `GaussianPredictive(mean, scale)` of arrays or tensors [S, N], or [N] of a single component, or
            `CategoricalPredictive(log_probs)` of [S, N, K] or [N, K].
        """

    def save(self, fitted: Any) -> Mapping[str, np.ndarray]:
        """What was fitted as arrays by name, so that it can predict later; none by default: it cannot."""
        del fitted
        return {}

    def load(self, arrays: Mapping[str, np.ndarray], *, problem: Assignment) -> Any:
        """What `save` has stored, as `predict` takes it."""
        raise NotImplementedError


__all__ = ["Assignment", "CategoricalPredictive", "Estimator", "Examples", "GaussianPredictive", "Spending"]
