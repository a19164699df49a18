"""Images with an official split: x is float32 [N, C, H, W] with pixels in [0, 1], training images first.

No loader runs code from a file: MNIST's IDX files and CIFAR's binary records are bytes that are reshaped.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from bnnbench.data.arrays import Data
from bnnbench.data.cards import Card
from bnnbench.data.files import read
from bnnbench.data.loaders import cifar
from bnnbench.data.loaders.describe import describe
from bnnbench.errors import UserError

BATCHES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))

Part = tuple[np.ndarray, np.ndarray]  # pixels uint8 [n, C, H, W] and labels [n]


def mnist(card: Card, root: Path) -> Data:
    """60,000 training and 10,000 test digits."""
    return _official(card, 10, _idx(card, root, "train"), _idx(card, root, "t10k"))


def only_test(card: Card, root: Path) -> Data:
    """The test images of a relative of MNIST, all of them the test part: the training part has no rows."""
    return _official(card, 10, None, _idx(card, root, "t10k"))


def cifar10(card: Card, root: Path) -> Data:
    """50,000 training images, in the order of the five batches, and 10,000 test images."""
    return _official(card, 10, *_binary(card, root, 1, BATCHES, "test_batch.bin"))


def cifar100(card: Card, root: Path) -> Data:
    """50,000 training and 10,000 test images with their fine labels."""
    return _official(card, 100, *_binary(card, root, 2, ("train.bin",), "test.bin"))


def cifar10_sample(card: Card, root: Path) -> Data:
    """JPEG files in `train.tar` and `test.tar`, sorted by class folder and file name."""
    return _official(card, 10, _jpeg(card, root, "train.tar"), _jpeg(card, root, "test.tar"))


def _idx(card: Card, root: Path, part: str) -> Part:
    """One part of a set in the files of MNIST: grey images and their labels.

    An IDX file is a header of 4 bytes and 4 more a dimension, then the values in row-major order. The header says what
    the card does, and the checksum has settled that this is the file which the card means.
    """
    pixels = np.frombuffer(read(card, root, f"{part}-images-idx3-ubyte"), np.uint8, offset=4 + 4 * 3)
    labels = np.frombuffer(read(card, root, f"{part}-labels-idx1-ubyte"), np.uint8, offset=4 + 4)
    return pixels.reshape(-1, *card.shape), labels


def _binary(card: Card, root: Path, labels: int, train: tuple[str, ...], test: str) -> tuple[Part, Part]:
    """Both parts of a CIFAR set in the binary format, with the last of the labels that each record has."""
    (archive,) = card.files
    path = root / card.folder / archive
    names = (*train, test)
    found = cifar.members(read(card, root, archive), str(path), lambda member: PurePosixPath(member).name in names)
    content = {PurePosixPath(member).name: found[member] for member in found}
    if lacking := [name for name in names if name not in content]:
        raise UserError(f"{path} does not hold {lacking[0]}; the set wanted is CIFAR's binary version.")
    parts = [cifar.records(content[name], labels, f"{name} in {path}") for name in names]
    *training, (pixels, targets) = parts
    both = np.concatenate([part[0] for part in training]), np.concatenate([part[1][:, -1] for part in training])
    return both, (pixels, targets[:, -1])


def _jpeg(card: Card, root: Path, archive: str) -> Part:
    """One part of a set that lies as `class/file.jpg` in an archive; classes are numbered in alphabetical order."""
    path = root / card.folder / archive
    found = cifar.members(read(card, root, archive), str(path), lambda member: member.endswith(".jpg"))
    members = sorted(found, key=lambda member: PurePosixPath(member).parts[-2:])
    folders = [PurePosixPath(member).parent.name for member in members]
    if not members:
        raise UserError(f"{path} holds no JPEG files.")
    pixels = np.stack([cifar.picture(found[member], f"{member} in {path}") for member in members])
    return pixels, np.unique(folders, return_inverse=True)[1]


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
    return describe(card, x, y, classes=tuple(range(classes)), fixed=(rows[:first], rows[first:]))
