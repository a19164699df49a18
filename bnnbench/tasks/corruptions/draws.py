"""Keyed draws as float64 arrays; the first dimension is that of the images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import special  # scipy.stats takes a second to import
from torch import Tensor

from bnnbench import random

Key = Tensor
Shape = Sequence[int]


def uniform(key: Key, shape: Shape, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Uniform on [low, high)."""
    return low + (high - low) * random.uniform(key, shape, torch.float64).numpy()


def normal(key: Key, shape: Shape) -> np.ndarray:
    """Standard normals."""
    return random.normal(key, shape, torch.float64).numpy()


def integers(key: Key, shape: Shape, low: int, high: int) -> np.ndarray:
    """Whole numbers from low to high - 1."""
    return low + random.randint(key, shape, high - low).numpy()


def signs(key: Key, shape: Shape) -> np.ndarray:
    """-1 or 1."""
    return 2 * integers(key, shape, 0, 2) - 1


def poisson(key: Key, rates: np.ndarray) -> np.ndarray:
    """Poisson counts of these rates, of which there are few different ones: each one's inverse cdf at a uniform."""
    known, which = np.unique(rates, return_inverse=True)
    u, order = uniform(key, rates.shape).reshape(-1), np.argsort(which.reshape(-1), kind="stable")
    counts, ends = np.empty(rates.size), np.cumsum(np.bincount(which.reshape(-1)))
    for rate, first, last in zip(known, [0, *ends[:-1]], ends, strict=True):
        own = order[first:last]
        cdf = special.pdtr(np.arange(int(rate + 12 * np.sqrt(rate)) + 20), rate)
        counts[own] = np.searchsorted(cdf, u[own], side="right")
    return counts.reshape(rates.shape)
