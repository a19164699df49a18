"""Real data that come with scikit-learn: nothing to download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bnnbench.data.arrays import Data
from bnnbench.data.cards import Card
from bnnbench.data.loaders.describe import describe


def diabetes(card: Card, root: Path) -> Data:
    """Disease progression of 442 patients, inputs in original units."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    return describe(card, np.asarray(x), np.asarray(y, dtype=np.float64))


def digits(card: Card, root: Path) -> Data:
    """Handwritten digits, 8 x 8 pixels in [0, 1] (the 17 levels 0..16 over 16), row by row."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return describe(card, np.asarray(x) / 16.0, np.asarray(y, dtype=np.int64), classes=tuple(range(10)))


def breast_cancer(card: Card, root: Path) -> Data:
    """Benign and malignant tumours by measures of their cell nuclei, in original units."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return describe(card, np.asarray(x), np.asarray(y, dtype=np.int64), classes=(0, 1))
