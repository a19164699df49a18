"""Images with an official split: x is float32 [N, C, H, W] with pixels in [0, 1], training images first.

No loader runs code from a file: IDX files and CIFAR's binary records are bytes that are counted and reshaped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bnnbench.errors import UserError
from bnnbench.tasks.card import Card
from bnnbench.tasks.data import Data
from bnnbench.tasks.files import read
from bnnbench.tasks.loaders import idx
from bnnbench.tasks.loaders.describe import describe

CLASSES = 10

Part = tuple[np.ndarray, np.ndarray]  # pixels uint8 [n, C, H, W] and labels [n]


def mnist(card: Card, root: Path) -> Data:
    """60,000 training and 10,000 test digits."""
    return _official(card, CLASSES, _idx(card, root, "train"), _idx(card, root, "t10k"))


def only_test(card: Card, root: Path) -> Data:
    """The test images of a relative of MNIST, all of them the test part: the training part has no rows."""
    return _official(card, CLASSES, None, _idx(card, root, "t10k"))


def _idx(card: Card, root: Path, part: str) -> Part:
    """One part of a set in the files of MNIST: grey images [n, 1, H, W] and their labels."""
    names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    pixels, labels = (idx.parse(read(card, root, name), f"{name} of {card.name}") for name in names)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or labels.dtype != np.uint8 or labels.shape != pixels.shape[:1]:
        raise UserError(f"{names[0]} and {names[1]} of {card.name} hold no images [n, H, W] with a label each.")
    return pixels[:, None], labels


def _official(card: Card, classes: int, train: Part | None, test: Part) -> Data:
    """Data of the two parts, training rows first, each in its file's order.

    Raises:
        UserError: a label beyond the last class, or not what the card states.
    """
    parts = [part for part in (train, test) if part is not None]
    x = np.concatenate([pixels for pixels, _ in parts]).astype(np.float32)
    x /= 255
    y = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    if len(y) and y.max() >= classes:
        raise UserError(f"{card.name} holds the label {y.max()}, but has the classes 0 to {classes - 1}.")
    rows = np.arange(len(y))
    first = len(y) - len(test[1])
    return describe(card, x, y, classes=classes, fixed=(rows[:first], rows[first:]))
