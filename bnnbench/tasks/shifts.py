"""Families of test sets of images: rotations, other alphabets, attacks, corruptions.

A further family is a class here, or an object of one, in `DIGITS` or `COLOURS`. Sweeps use 2,000 fixed images and at
most 30 samples; exhaustive ones all images and samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bnnbench import names
from bnnbench.tasks.attacks import Attack
from bnnbench.tasks.corruptions import ColourCorruptions, DigitCorruptions
from bnnbench.tasks.sets import TestSet, TestSetFamily, swept

ANGLES = range(15, 181, 15)
DIGIT_ANGLES = range(0, 181, 20)
DIGIT = 9
DIGIT_SAMPLES = 500


class Rotation(TestSetFamily):
    """Images rotated counter-clockwise about their centre, bilinear, black beyond the border, before standardisation.

    Angles are 15 to 180 degrees in steps of 15 (0 is `test`); with `rotated-digit`, the first 9 in steps of 20 degrees.
    """

    def make(self, test: TestSet, other: Callable[[str], np.ndarray], exhaustive: bool) -> dict[str, TestSet]:
        assert test.y is not None
        plain = swept(test, exhaustive)
        found = {names.rotation(angle, exhaustive): plain._replace(x=rotated(plain.x, angle)) for angle in ANGLES}
        first = np.flatnonzero(test.y == DIGIT)[:1]
        return found | ({names.ROTATED_DIGIT: rotated_digit(test.x[first])} if len(first) else {})


class OtherImages(TestSetFamily):
    """All images of the data set of this name, out of distribution."""

    @property
    def data_sets(self) -> tuple[str, ...]:
        return (self.name,)

    def make(self, test: TestSet, other: Callable[[str], np.ndarray], exhaustive: bool) -> dict[str, TestSet]:
        return {self.name: TestSet(other(self.name), None, out_of_distribution=True)}


@dataclass(frozen=True)
class Attacked(TestSetFamily):
    """Images attacked through the posterior that is scored.

    Attributes:
        attacks: of increasing strength.
    """

    attacks: tuple[Attack, ...] = ()

    def make(self, test: TestSet, other: Callable[[str], np.ndarray], exhaustive: bool) -> dict[str, TestSet]:
        plain = swept(test, exhaustive)
        return {
            names.attack(self.name, attack.strength, exhaustive): plain._replace(attack=attack)
            for attack in self.attacks
        }


def rotated(x: np.ndarray, angle: float) -> np.ndarray:
    """Images [N, C, H, W] rotated counter-clockwise by an angle in degrees, with pixels in [0, 1].

    Full rotations are the identity to the bit.
    """
    if angle % 360 == 0:
        return x.copy()
    found = ndimage.rotate(x, angle, axes=(3, 2), reshape=False, order=1, mode="constant", cval=0.0)
    return np.clip(found, 0.0, 1.0, out=found)


def rotated_digit(image: np.ndarray) -> TestSet:
    """One image [1, C, H, W] of a 9 at ten angles."""
    images = np.concatenate([rotated(image, angle) for angle in DIGIT_ANGLES])
    return TestSet(images, np.full(len(images), DIGIT), samples=DIGIT_SAMPLES)


SHIFT = ("shift",)
FGSM = Attacked("fgsm", SHIFT, attacks=tuple(Attack(strength) for strength in (0.05, 0.10, 0.15, 0.20, 0.25, 0.30)))
PGD = Attacked("pgd", SHIFT, attacks=tuple(Attack(strength, steps=10) for strength in (0.10, 0.30)))
FGSM_NORM = Attacked(  # on standardised pixels, not clipped to [0, 1]
    "fgsm-norm", optional=True, attacks=tuple(Attack(k * 0.05, standardised=True) for k in range(1, 15))
)
CORRUPTION = ("corruption",)
CIFAR_C = ColourCorruptions("cifar-c", CORRUPTION, optional=True)  # 75 test sets
COLOURS = (FGSM, PGD, CIFAR_C)
DIGITS = (
    Rotation("rotation", SHIFT),
    OtherImages("kmnist", SHIFT),
    OtherImages("notmnist", SHIFT),
    FGSM,
    PGD,
    FGSM_NORM,
    DigitCorruptions("mnist-c", CORRUPTION, optional=True),
)
