"""NGBoost: natural gradient boosting of the parameters of a distribution by regression trees."""

# The library is an extra; where it is missing, pyright takes the name for this file.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bnnbench.adapters.base import OTHER, Adapter
from bnnbench.methods.base import METHODS, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.space import LogUniform, Space
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Predictive

LEAST = 1e-12  # probability of a class that the model calls impossible


@METHODS.register
@dataclass(frozen=True)
class NGBoost(Adapter):
    """A normal distribution of every input for a regression, a categorical one for classes; boosting ends early by the
    validation rows. It knows no network, no prior and no gradients of minibatches.

    Attributes:
        estimators: most rounds of boosting. lr: their rate. Both are the library's defaults.
        patience: rounds without a better validation score after which it ends.
    """

    name: ClassVar[str] = "ngboost"
    library, module = "ngboost", "ngboost"
    tags: ClassVar[tuple[str, ...]] = OTHER
    citation: ClassVar[str] = "Duan et al. 2020, arXiv 1910.03225"
    estimators: int = 500
    lr: float = 0.01
    patience: int = 50

    @classmethod
    def space(cls) -> Space:
        return {"lr": LogUniform(0.001, 0.1)}

    def check(self) -> None:
        positive(self, "estimators", "lr", "patience")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        given = {
            "n_estimators": self.estimators, "learning_rate": self.lr, "verbose": False, "random_state": seed % 2**32
        }  # fmt: skip
        model = MODELS[problem.kind](problem, given)
        x, other = (rows.x.reshape(len(rows.x), -1) for rows in (train, validation))
        model.fit(x, train.y, X_val=other, Y_val=validation.y, early_stopping_rounds=self.patience)
        return problem.kind, model

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        kind, model = fitted
        found = model.pred_dist(x.reshape(len(x), -1), max_iter=model.best_val_loss_itr)
        return PREDICTED[kind](found)


def _regressor(problem: Assignment, given: dict[str, Any]) -> Any:
    from ngboost import NGBRegressor
    from ngboost.distns import Normal

    return NGBRegressor(Dist=Normal, **given)


def _classifier(problem: Assignment, given: dict[str, Any]) -> Any:
    from ngboost import NGBClassifier
    from ngboost.distns import k_categorical

    return NGBClassifier(Dist=k_categorical(problem.classes), **given)


def _normal(found: Any) -> GaussianPredictive:
    return GaussianPredictive(found.params["loc"], found.params["scale"])


def _categorical(found: Any) -> CategoricalPredictive:
    probabilities = np.maximum(found.class_probs(), LEAST)
    return CategoricalPredictive(np.log(probabilities / probabilities.sum(1, keepdims=True)))  # pyright: ignore


MODELS: dict[str, Callable[..., Any]] = {"regression": _regressor, "classification": _classifier}
PREDICTED: dict[str, Callable[..., Predictive]] = {"regression": _normal, "classification": _categorical}
