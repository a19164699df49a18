"""Test sets off the data's manifold: rotated, foreign and attacked images, scored from one trained posterior.

`rotation`: angles of 15 to 180 degrees in steps of 15 (`rotation-000` is `test`), counter-clockwise, about the centre,
bilinear, black beyond the border, before standardisation; with `rotated-digit`, one 9 in steps of 20 degrees.
`kmnist`, `notmnist`: other alphabets. `fgsm`, `pgd`: attacks; `fgsm-norm`: the same on standardised pixels, unclipped.
The sweeps use 2,000 fixed images and at most 30 samples; under names that end in `-all`, all images and samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from bnnbench.data.arrays import spread
from bnnbench.data.loaders import load
from bnnbench.errors import UserError
from bnnbench.registry import nearest
from bnnbench.tasks.attacks import Attack
from bnnbench.tasks.base import TestSet

ANGLES = range(15, 181, 15)
DIGIT_ANGLES = range(0, 181, 20)
DIGIT = 9
DIGIT_SAMPLES = 500
SWEEP_IMAGES, SWEEP_SAMPLES = 2000, 30
FGSM = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30)
FGSM_NORM = tuple(k * 0.05 for k in range(1, 15))
PGD = (0.10, 0.30)
PGD_STEPS = 10

SHIFTS = ("rotation", "kmnist", "notmnist", "fgsm", "pgd")  # the group `shift` of the command line
OUT_OF_DISTRIBUTION = ("kmnist", "notmnist")
OPTIONAL = ("fgsm-norm",)  # by name only
ALL = "-all"  # ends the name of a family whose sweeps are exhaustive

Frame = Callable[[np.ndarray], np.ndarray]


def shifted(
    families: Sequence[str], x: np.ndarray, y: np.ndarray, frame: Frame, root: Path | None
) -> dict[str, TestSet]:
    """Test sets of some families, made from test images x [N, C, H, W] with pixels in [0, 1] and labels y [N].

    Args:
        frame: what makes an image of another set one of this task (padding).
        root: the data root, for the foreign sets.
    """
    found: dict[str, TestSet] = {}
    for family in families:
        name, whole = family.removesuffix(ALL), family.endswith(ALL)
        rows = spread(len(x), len(x) if whole else SWEEP_IMAGES)
        sweep, end, limit = (x[rows], y[rows]), ALL if whole else "", None if whole else SWEEP_SAMPLES
        if name in OUT_OF_DISTRIBUTION:
            found[name] = TestSet(frame(load(name, root).x), None, out_of_distribution=True)
        elif name == "rotation":
            for angle in ANGLES:
                found[f"rotation-{angle:03d}{end}"] = TestSet(rotated(sweep[0], angle), sweep[1], samples=limit)
            if (y == DIGIT).any():
                found["rotated-digit"] = turned_digit(x, y)
        else:
            for attack in attacks(name):
                found[f"{name}-{attack.strength:.2f}{end}"] = TestSet(*sweep, attack=attack, samples=limit)
    return found


def select(names: Sequence[str], exhaustive: bool) -> tuple[list[str], tuple[str, ...]]:
    """Names of tasks and groups, and the shifts among the names; of `mnist` where no task is named."""
    known = (*SHIFTS, *OPTIONAL)
    wanted = [name for name in known if name in names or ("shift" in names and name in SHIFTS)]
    tasks = [name for name in names if name not in (*known, "shift")]
    if not tasks and wanted:
        tasks = ["mnist"]
    return tasks, tuple(name + ALL if exhaustive and name not in OUT_OF_DISTRIBUTION else name for name in wanted)


def attacks(family: str) -> list[Attack]:
    """The attacks of a family.

    Raises:
        UserError: there is no such family.
    """
    known = {
        "fgsm": [Attack(strength) for strength in FGSM],
        "fgsm-norm": [Attack(strength, standardised=True) for strength in FGSM_NORM],
        "pgd": [Attack(strength, PGD_STEPS) for strength in PGD],
    }
    if family not in known:
        raise UserError(f"There is no shift {family!r}{nearest(family, [*SHIFTS, *OPTIONAL])}")
    return known[family]


def rotated(x: np.ndarray, angle: float) -> np.ndarray:
    """Images [N, C, H, W] turned counter-clockwise by an angle in degrees, with pixels in [0, 1].

    Whole turns are the identity to the bit.
    """
    if angle % 360 == 0:
        return x.copy()
    turned = ndimage.rotate(x, angle, axes=(3, 2), reshape=False, order=1, mode="constant", cval=0.0)
    return np.clip(turned, 0.0, 1.0, out=turned)


def turned_digit(x: np.ndarray, y: np.ndarray) -> TestSet:
    """The first 9 of the test set at ten angles."""
    first = x[np.flatnonzero(y == DIGIT)[:1]]
    images = np.concatenate([rotated(first, angle) for angle in DIGIT_ANGLES])
    return TestSet(images, np.full(len(images), DIGIT), samples=DIGIT_SAMPLES)
