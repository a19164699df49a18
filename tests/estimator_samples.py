"""Estimators that worker processes import: honest ones, and those that do to them what could happen to any."""

from __future__ import annotations

import os
import random
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from bnnbench.methods import Estimator
from bnnbench.model import CategoricalPredictive, GaussianPredictive


@dataclass(frozen=True)
class Ridge(Estimator):
    """The exact posterior of a linear network with known noise, drawn by NumPy's generator."""

    name, supports, family = "ridge", ("regression",), "exact"
    factor: float = 1.0

    def fit(self, train, validation, *, problem, seed, budget):
        weight, bias = problem.network().parameters()
        scales = [problem.prior.scale_of(own).item() * self.factor for own in (weight, bias)]
        prior = np.array([scales[0]] * train.x.shape[1] + scales[1:])
        design, noise = np.column_stack([train.x, np.ones(len(train.x))]), problem.likelihood.noise
        covariance = np.linalg.inv(design.T @ design / noise**2 + np.diag(prior**-2))
        return {"mean": covariance @ design.T @ train.y / noise**2, "covariance": covariance, "noise": np.array(noise)}

    def predict(self, fitted, x, samples):
        draws = np.random.multivariate_normal(fitted["mean"], fitted["covariance"], samples)  # noqa: NPY002
        return GaussianPredictive(draws[:, :-1] @ x.T + draws[:, -1:], np.full((samples, len(x)), fitted["noise"]))

    def save(self, fitted):
        return fitted

    def load(self, arrays, *, problem):
        return dict(arrays)


@dataclass(frozen=True)
class Loop(Estimator):
    """A training loop in PyTorch that could not be vmapped: Adam, dropout, branches on values."""

    name: ClassVar[str] = "loop"
    lr: float = 0.01

    def fit(self, train, validation, *, problem, seed, budget):
        network, (x, y) = problem.network(), train.tensors()
        optimiser = torch.optim.Adam(network.parameters(), self.lr)
        for _ in range(budget.steps):
            rows = torch.randint(len(x), (problem.batch_size,))
            optimiser.zero_grad()
            loss = -problem.log_likelihood(network(nn.functional.dropout(x[rows], 0.05)), y[rows]).mean()
            loss.backward()
            if loss.item() < 1e6:
                optimiser.step()
            budget.spend()
        return network, problem

    def predict(self, fitted, x, samples):
        network, problem = fitted
        with torch.no_grad():
            noisy = [nn.functional.dropout(torch.as_tensor(x, dtype=torch.float32), 0.05) for _ in range(samples)]
            return problem.predictive(torch.stack([network(own) for own in noisy]))


@dataclass(frozen=True)
class Rough(Estimator):
    """Goes wrong as it is told."""

    name, supports = "rough", ("regression", "classification")
    how: str = "well"

    def fit(self, train, validation, *, problem, seed, budget):
        budget.spend(7)
        match self.how:
            case "crash":
                os.abort()
            case "exit":
                sys.exit(3)
            case "hang":
                while True:
                    pass
            case "leak":
                kept = []
                while True:
                    kept.append(np.ones(10**7))
            case "raise":
                raise ValueError("it does not converge")
        return {"drawn": [random.random(), np.random.rand(), torch.rand(()).item()], "seed": seed, "rows": len(train.x)}  # noqa: NPY002

    def predict(self, fitted, x, samples):
        return (
            ANSWERS[self.how](len(x)) if self.how in ANSWERS else GaussianPredictive(np.zeros(len(x)), np.ones(len(x)))
        )


ANSWERS = {
    "nothing": lambda n: None,
    "column": lambda n: GaussianPredictive(np.zeros((n, 1)), np.ones((n, 1))),
    "short": lambda n: GaussianPredictive(np.zeros(n - 1), np.ones(n - 1)),
    "negative": lambda n: GaussianPredictive(np.zeros(n), -np.ones(n)),
    "nan": lambda n: GaussianPredictive(np.full(n, np.nan), np.ones(n)),
    "infinite": lambda n: GaussianPredictive(np.zeros(n), np.full(n, np.inf)),
    "empty": lambda n: GaussianPredictive(np.zeros((0, n)), np.ones((0, n))),
    "classes": lambda n: CategoricalPredictive(torch.full((n, 2), 0.5).log()),
    "text": lambda n: GaussianPredictive(np.full(n, "a"), np.ones(n)),
}
