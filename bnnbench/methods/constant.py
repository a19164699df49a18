"""The marginal predictor: ignores the inputs. The floor of every table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bnnbench.methods.base import METHODS, Method
from bnnbench.model import Batch, Categorical, CategoricalPredictive, GaussianPredictive, Predictive, Problem


@METHODS.register
@dataclass(frozen=True)
class Constant(Method):
    """Mean and standard deviation of the fitting targets, or class frequencies with one pseudo-count a class."""

    name = "constant"
    tags = ("baseline", "other-target")
    trained = False

    @property
    def networks(self) -> int:
        return 0

    def init(self, key: Tensor, problem: Problem) -> Tensor:
        del key
        if not isinstance(problem.likelihood, Categorical):  # mean and spread are the split's standardisation
            return torch.stack([problem.rows.y_shift, problem.rows.y_scale])
        classes = torch.arange(problem.likelihood.classes, device=problem.rows.weight.device)

        def count(batch: Batch) -> Tensor:
            return ((batch.y[:, None] == classes) * batch.weight[:, None]).sum(0)

        return torch.log((problem.over_data(count) + 1) / (problem.n + len(classes)))

    def predict(self, key: Tensor, state: Tensor, draws: Any, problem: Problem, x: Tensor, samples: int) -> Predictive:
        del key, draws, samples
        if isinstance(problem.likelihood, Categorical):
            terms = state.expand(1, x.shape[0], -1)
            return CategoricalPredictive(terms, torch.zeros_like(terms[..., 0]))
        shape = (1, x.shape[0])
        return GaussianPredictive(state[0].expand(shape), state[1].expand(shape))
