"""The two families of corrupted images. A corruption is computed when its images are predicted, not before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from bnnbench import names, random
from bnnbench.errors import UserError
from bnnbench.tasks.corruptions.colour import SEVERITIES
from bnnbench.tasks.corruptions.digits import DIGIT_CORRUPTIONS, SIZE
from bnnbench.tasks.sets import TestSet, TestSetFamily, swept

METRICS = ("log_likelihood", "error", "ece", "brier", "entropy_total", "entropy_epistemic")  # of so many test sets


class DigitCorruptions(TestSetFamily):
    """The fifteen corruptions of MNIST-C (Mu & Gilmer 2019, arXiv 1906.02337), each at the severity that it has there.

    Noise is drawn here, so that the images are none of the published files'.
    """

    def make(self, test: TestSet, other: Callable[[str], np.ndarray], exhaustive: bool) -> dict[str, TestSet]:
        plain = swept(test, exhaustive)._replace(metrics=METRICS)
        return {
            names.corrupted(name, exhaustive=exhaustive): plain._replace(change=partial(corrupted_digits, name))
            for name in DIGIT_CORRUPTIONS
        }


class ColourCorruptions(TestSetFamily):
    """The fifteen corruptions of Hendrycks & Dietterich 2019 (arXiv 1903.12261) with the constants of CIFAR-10-C, at
    five severities.

    Noise is drawn here, the same at each severity, so that the images are none of the published files'; panes of frost
    are random fields in place of photographs.
    """

    def make(self, test: TestSet, other: Callable[[str], np.ndarray], exhaustive: bool) -> dict[str, TestSet]:
        plain = swept(test, exhaustive)._replace(metrics=METRICS)
        return {
            names.corrupted(name, severity, exhaustive): plain._replace(change=partial(corrupted, name, severity))
            for name, (_, constants) in SEVERITIES.items()
            for severity in range(1, len(constants) + 1)
        }


def corrupted(name: str, severity: int, x: np.ndarray) -> np.ndarray:
    """Colour images float32 [N, 3, 32, 32] in [0, 1] under a corruption of this name, in 256 levels.

    Raises:
        UserError: images of another shape.
    """
    if x.shape[1:] != (3, 32, 32):
        raise UserError(f"The corruptions of CIFAR-10-C are of colour images, 32 x 32 pixels, not {list(x.shape[1:])}.")
    corruption, constants = SEVERITIES[name]
    found = corruption(_levels(x), constants[severity - 1], random.key_of("cifar-c", name))
    return _rounded_down(found)


def corrupted_digits(name: str, x: np.ndarray) -> np.ndarray:
    """Grey images float32 [N, 1, H, W] in [0, 1] under a corruption of this name, in 256 levels; of padded images the
    28 x 28 pixels within are corrupted.

    Raises:
        UserError: images of another shape.
    """
    border = (x.shape[2] - SIZE) // 2
    if x.shape[1:] != (1, SIZE + 2 * border, SIZE + 2 * border) or border < 0:
        raise UserError(f"The corruptions of MNIST-C are of grey images, 28 x 28 pixels, not {list(x.shape[1:])}.")
    within = np.s_[:, :, border : border + SIZE, border : border + SIZE]
    found = x.copy()
    found[within] = _rounded_down(DIGIT_CORRUPTIONS[name](_levels(x[within]), random.key_of("mnist-c", name)))
    return found


def _levels(x: np.ndarray) -> np.ndarray:
    """Images [N, C, H, W] as float64 [N, H, W, C], each value the next of 256 levels."""
    return np.rint(255 * np.moveaxis(x, 1, 3).astype(np.float64)) / 255


def _rounded_down(x: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] as float32 [N, C, H, W] in 256 levels from 0 to 1, as the published files have them."""
    levels = np.floor(255 * np.clip(x, 0, 1)).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(levels, 3, 1)) / np.float32(255)
