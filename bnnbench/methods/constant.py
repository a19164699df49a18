"""The marginal predictor, which ignores the inputs: what every method has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bnnbench.methods.base import METHODS, Method
from bnnbench.model import Batch, Categorical, CategoricalPredictive, GaussianPredictive, Predictive, Problem
from bnnbench.model.posteriors import FunctionSpace, tree


@tree
class Marginal(FunctionSpace):
    """The same prediction everywhere: mean and standard deviation [2], or log class probabilities [K]."""

    values: Tensor

    def predict(self, sample: Any, problem: Problem, x: Tensor) -> Predictive:
        del sample
        if isinstance(problem.likelihood, Categorical):
            log_probs = self.values.expand(1, x.shape[0], -1)
            return CategoricalPredictive(log_probs, torch.zeros_like(log_probs[..., 0]))
        shape = (1, x.shape[0])
        return GaussianPredictive(self.values[0].expand(shape), self.values[1].expand(shape))


@METHODS.register
@dataclass(frozen=True)
class Constant(Method):
    """Mean and standard deviation of the fitting targets, or class frequencies with one pseudo-count a class."""

    name = "constant"
    tags = ("baseline", "other-target")
    num_networks = 0

    def init(self, key: Tensor, problem: Problem) -> Tensor:
        del key
        if not isinstance(problem.likelihood, Categorical):  # mean and spread are the split's standardisation
            return torch.stack([problem.rows.y_shift, problem.rows.y_scale])
        classes = torch.arange(problem.likelihood.classes, device=problem.rows.weight.device)

        def count(batch: Batch) -> Tensor:
            return ((batch.y[:, None] == classes) * batch.weight[:, None]).sum(0)

        return torch.log((problem.over_data(count) + 1) / (problem.n + len(classes)))

    def posterior(self, state: Tensor, draws: Any, problem: Problem) -> Marginal:
        del draws, problem
        return Marginal(state)
