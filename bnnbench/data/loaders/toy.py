"""Toy regressions in one dimension: two whose truth is known everywhere, and the table of a predecessor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor

from bnnbench import random
from bnnbench.data import cards as cards
from bnnbench.data.arrays import Data
from bnnbench.data.cards import Card
from bnnbench.data.loaders.describe import describe
from bnnbench.model.truth import NormalTruth

TRAIN, TEST = 250, 200
LOW, HIGH = -1.876, 1.784  # the range of the training inputs of toy-antoran
GRID = np.linspace(-5.0, 5.0, 200)
TERMS = 128  # at |x| = 5 the terms left out hold a share below 1e-40 of the variance


def homoscedastic(card: Card, root: Path) -> Data:
    """y = f(x) + 0.3 e with e ~ N(0, 1)."""
    return _generate(card, lambda x: np.full_like(x, 0.3))


def heteroscedastic(card: Card, root: Path) -> Data:
    """y = f(x) + (0.05 + 0.3 |x + 2|) e with e ~ N(0, 1)."""
    return _generate(card, lambda x: 0.05 + 0.3 * np.abs(x + 2.0))


def antoran(card: Card, root: Path) -> Data:
    """The 400 points of J. Antoran's homoscedastic toy: the inner 250 train, the outer 150 test.

    The truth is unknown: the grid is there to draw the predictions on.

    The table is stored, because numpy's multivariate normal goes by a singular value decomposition whose vectors
    differ between LAPACK drivers: the same seed gives another function elsewhere.
    """
    table = np.loadtxt(cards.folder() / "toy-antoran.csv", delimiter=",", skiprows=1)
    train = np.arange(75, 325)
    test = np.setdiff1d(np.arange(len(table)), train)
    return describe(card, table[:, :1], table[:, 1], fixed=(train, test), grid=GRID[:, None])


def features(x: np.ndarray) -> np.ndarray:
    """phi_n(x) = exp(-x^2 / 2) x^n / sqrt(n!), [len(x), TERMS].

    sum_n phi_n(x) phi_n(x') = exp(-(x - x')^2 / 2), so f = sum_n z_n phi_n with z_n ~ N(0, 1) is a draw from the
    Gaussian process with RBF kernel, variance 1 and lengthscale 1: one function, known at every x at once, without
    the factorisation of a nearly singular matrix.
    """
    n = np.arange(1, TERMS)
    ratios = np.concatenate([np.exp(-(x**2) / 2)[:, None], x[:, None] / np.sqrt(n)], axis=1)
    return np.cumprod(ratios, axis=1)


def latent(name: str, x: np.ndarray) -> np.ndarray:
    """The true function of a generated toy task at the inputs x [n]."""
    return features(x) @ _normal(random.key_of(name, "latent"), TERMS)


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """exp(-(a_i - b_j)^2 / 2), [len(a), len(b)]: the covariance that `latent` is drawn from."""
    return np.exp(-((a[:, None] - b) ** 2) / 2)


def posterior(x: np.ndarray, y: np.ndarray, noise: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of f at inputs, given y = f(x) + noise e, under the process that f comes from.

    K_*n (K_nn + diag noise^2)^-1 y and diag(K_** - K_*n (K_nn + diag noise^2)^-1 K_n*) (Rasmussen & Williams 2006,
    equations 2.23 and 2.24).
    """
    factor, across = cho_factor(kernel(x, x) + np.diag(noise**2), lower=True), kernel(at, x)
    variance = 1 - (across * cho_solve(factor, across.T).T).sum(1)
    return across @ cho_solve(factor, y), np.sqrt(np.maximum(variance, 0.0))


def _generate(card: Card, noise: Callable[[np.ndarray], np.ndarray]) -> Data:
    n = TRAIN + TEST
    # Rounded, so that the last bits of a machine's exp and log change neither the data nor their checksum.
    x = (LOW + (HIGH - LOW) * _uniform(random.key_of(card.name, "inputs"), n)).round(6)
    y = (latent(card.name, x) + noise(x) * _normal(random.key_of(card.name, "noise"), n)).round(6)
    return describe(
        card,
        x[:, None],
        y,
        fixed=(np.arange(TRAIN), np.arange(TRAIN, n)),
        grid=GRID[:, None],
        truth=NormalTruth(latent(card.name, GRID), noise(GRID)),
        exact=posterior(x[:TRAIN], y[:TRAIN], noise(x[:TRAIN]), GRID),
    )


def _normal(key: Tensor, n: int) -> np.ndarray:
    return random.normal(key, (n,), torch.float64).numpy()


def _uniform(key: Tensor, n: int) -> np.ndarray:
    return random.uniform(key, (n,), torch.float64).numpy()
