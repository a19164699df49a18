"""scikit-learn: Gaussian process, Bayesian ridge regression, forests of trees, and its multilayer perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from bnnbench.adapters.base import OTHER, Adapter
from bnnbench.methods.base import METHODS, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.space import RATE, Integer, LogUniform, Space
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Predictive

LEAST = 1e-12  # probability of a class that a model calls impossible


class _Sklearn(Adapter):
    library, module = "scikit-learn", "sklearn"


@METHODS.register
@dataclass(frozen=True)
class SklearnGP(_Sklearn):
    """Gaussian process with one length scale a column, fitted by the marginal likelihood.

    Attributes:
        noise: its variance before fitting, of the standardised target.
    """

    name: ClassVar[str] = "sklearn-gp"
    tags: ClassVar[tuple[str, ...]] = OTHER
    citation: ClassVar[str] = "Rasmussen & Williams 2006, doi:10.7551/mitpress/3206.001.0001"
    supports: ClassVar[tuple[str, ...]] = ("regression",)
    implements: ClassVar[str] = "gp"
    noise: float = 0.1

    @classmethod
    def space(cls) -> Space:
        return {"noise": LogUniform(0.01, 1.0)}

    def check(self) -> None:
        super().check()
        positive(self, "noise")

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        scales: Any = np.ones(train.x.shape[1])
        kernel = ConstantKernel() * RBF(scales) + WhiteKernel(self.noise)
        return GaussianProcessRegressor(kernel, random_state=seed % 2**32).fit(train.x, train.y)

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        return GaussianPredictive(*fitted.predict(x, return_std=True))


@METHODS.register
@dataclass(frozen=True)
class SklearnBayesianRidge(_Sklearn):
    """Linear regression whose precisions of weights and noise maximise the evidence (MacKay 1992; Tipping 2001)."""

    name: ClassVar[str] = "sklearn-bayesian-ridge"
    tags: ClassVar[tuple[str, ...]] = OTHER
    citation: ClassVar[str] = "MacKay 1992, Neural Computation 4"
    supports: ClassVar[tuple[str, ...]] = ("regression",)

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        from sklearn.linear_model import BayesianRidge

        return BayesianRidge().fit(train.x, train.y)

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        return GaussianPredictive(*fitted.predict(x, return_std=True))


@dataclass(frozen=True)
class _Forest(_Sklearn):
    """A mixture over trees: of a regression the normal of the targets in the leaf that x falls into; of a
    classification the classes there, each counted once more.

    Attributes:
        trees: their number. leaf: least rows of a leaf.
    """

    tags: ClassVar[tuple[str, ...]] = OTHER
    trees: int = 100
    leaf: int = 5

    @classmethod
    def space(cls) -> Space:
        return {"leaf": Integer(1, 20)}

    def check(self) -> None:
        super().check()
        positive(self, "trees", "leaf")

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        from sklearn import ensemble

        model = getattr(ensemble, self.model(problem.kind))
        forest = model(self.trees, min_samples_leaf=self.leaf, random_state=seed % 2**32).fit(train.x, train.y)
        return forest, LEAVES[problem.kind](forest, train, problem.classes)

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        forest, leaves = fitted
        return leaves.predictive(forest.apply(x))

    def model(self, kind: str) -> str:
        """Name of scikit-learn's class."""
        raise NotImplementedError


class _Normals:
    """Mean and standard deviation of the targets in every leaf of every tree; at least a tenth of the mean one."""

    def __init__(self, forest: Any, train: Examples, classes: int) -> None:
        del classes
        self.mean, self.sd = [], []
        for places in forest.apply(train.x).T:
            count, total, square = (
                np.bincount(places, weights) for weights in (np.ones_like(train.y), train.y, train.y**2)
            )
            mean = total / np.maximum(count, 1)
            variance = np.maximum(square / np.maximum(count, 1) - mean**2, 0)
            least = 0.1 * np.sqrt((count * variance).sum() / count.sum())
            self.mean.append(mean)
            self.sd.append(np.maximum(np.sqrt(variance), max(least, 1e-6)))

    def predictive(self, places: np.ndarray) -> Predictive:
        """Of the leaves [N, trees] that rows fall into."""
        mean, sd = (np.stack([own[t][places[:, t]] for t in range(len(own))]) for own in (self.mean, self.sd))
        return GaussianPredictive(torch.as_tensor(mean), torch.as_tensor(sd))


class _Shares:
    """Log-shares of the classes in every leaf of every tree, each class counted once more than it is there."""

    def __init__(self, forest: Any, train: Examples, classes: int) -> None:
        self.log_share = []
        for places in forest.apply(train.x).T:
            count = np.ones((places.max() + 1, classes))
            np.add.at(count, (places, train.y.astype(int)), 1)
            self.log_share.append(np.log(count / count.sum(1, keepdims=True)))

    def predictive(self, places: np.ndarray) -> Predictive:
        """Of the leaves [N, trees] that rows fall into."""
        found = np.stack([own[places[:, t]] for t, own in enumerate(self.log_share)])
        return CategoricalPredictive(torch.as_tensor(found))


LEAVES: dict[str, Any] = {"regression": _Normals, "classification": _Shares}


@METHODS.register
@dataclass(frozen=True)
class SklearnForest(_Forest):
    """Random forest (Breiman 2001)."""

    name: ClassVar[str] = "sklearn-forest"
    citation: ClassVar[str] = "Breiman 2001, Machine Learning 45"

    def model(self, kind: str) -> str:
        return {"regression": "RandomForestRegressor", "classification": "RandomForestClassifier"}[kind]


@METHODS.register
@dataclass(frozen=True)
class SklearnExtraTrees(_Forest):
    """Extremely randomised trees (Geurts et al. 2006)."""

    name: ClassVar[str] = "sklearn-extra-trees"
    citation: ClassVar[str] = "Geurts et al. 2006, Machine Learning 63"

    def model(self, kind: str) -> str:
        return {"regression": "ExtraTreesRegressor", "classification": "ExtraTreesClassifier"}[kind]


@METHODS.register
@dataclass(frozen=True)
class SklearnMLP(_Sklearn):
    """A network of the task's widths under Adam, as scikit-learn trains it; the noise of a regression is the root mean
    square of its residuals on the validation rows.

    Attributes:
        lr: learning rate.
    """

    name: ClassVar[str] = "sklearn-mlp"
    citation: ClassVar[str] = "Pedregosa et al. 2011, JMLR 12"
    implements: ClassVar[str] = "map"
    lr: float = 1e-3

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE}

    def check(self) -> None:
        super().check()
        positive(self, "lr")

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        from sklearn import neural_network

        widths = [p.shape[0] for p in problem.network().parameters() if p.dim() == 2][:-1]
        batch = min(problem.batch_size, len(train.x))
        steps = -(-len(train.x) // batch)  # of an epoch
        name = {"regression": "MLPRegressor", "classification": "MLPClassifier"}[problem.kind]
        model = getattr(neural_network, name)(
            hidden_layer_sizes=widths, batch_size=batch, learning_rate_init=self.lr,
            max_iter=max(1, budget.steps // steps),
            n_iter_no_change=budget.steps, random_state=seed % 2**32,
        )  # fmt: skip
        model.fit(train.x, train.y)
        budget.spend(model.n_iter_ * steps)
        residual = validation.y - model.predict(validation.x) if problem.kind == "regression" else None
        return model, None if residual is None else max(float(np.sqrt(np.mean(residual**2))), 1e-6)

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        model, noise = fitted
        if noise is None:
            probs = torch.as_tensor(model.predict_proba(x.reshape(len(x), -1)))
            return CategoricalPredictive(probs.clamp(min=LEAST).log())
        mean = torch.as_tensor(model.predict(x))
        return GaussianPredictive(mean, torch.full_like(mean, noise))
