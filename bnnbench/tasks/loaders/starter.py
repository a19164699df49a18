"""Real data that come with scikit-learn: nothing to download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bnnbench.tasks.card import Card
from bnnbench.tasks.data import Data
from bnnbench.tasks.loaders.describe import describe


def diabetes(card: Card, root: Path) -> Data:
    """Disease progression of 442 patients, inputs in original units."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    return describe(card, bunch["data"], bunch["target"].astype(np.float64))


def digits(card: Card, root: Path) -> Data:
    """Handwritten digits, 8 x 8 pixels in [0, 1] (the 17 levels 0..16 over 16), row by row."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return describe(card, bunch["data"] / 16.0, bunch["target"].astype(np.int64), classes=10)
