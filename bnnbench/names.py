"""Names of evaluations and of splits, made and parsed in this one place.

An evaluation is a posterior scored on one test set: `test`, `kmnist`, `rotation-090`, `fgsm-0.10-all`, `pruned-0.995`,
`transfer-pgd-0.10`; or on the test rows after a calibration: `test-temperature`. A sweep's name is its family and a
level; `-all` ends the names of sweeps over all test images, and `transfer-` begins those of attacks through another
method's gradients.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TEST, TRAIN, VALIDATION = "test", "train", "validation"
GRID, INSIDE, OUTSIDE = "grid", "inside", "outside"  # where the truth is known: all of it, within the data, beyond
FIDELITY, FIDELITY_GRID = "fidelity", "fidelity-grid"  # beside the gold standard, on the test rows and on the grid
ROTATED_DIGIT = "rotated-digit"  # one test image at many angles
SAMPLER = "sampler"  # what a sampler reports of itself
CERTIFICATE = "certificate"  # whether several chains agree well enough for a gold standard
EXHAUSTIVE, TRANSFER, CORRUPTED = "-all", "transfer-", "corrupted-"

DEFAULT = "default"  # label of a configuration that differs in nothing from the method's own

_SWEEP = re.compile(r"(?P<family>[a-z][a-z-]*?)-(?P<level>\d+(?:\.\d+)?)")


class Sweep(NamedTuple):
    """The parts of a sweep's name.

    Attributes:
        family: `rotation`, `fgsm`, `pruned` ... level: degrees, strength or fraction.
        exhaustive: whether over all test images. transferred: whether through another method's gradients.
    """

    family: str
    level: float
    exhaustive: bool = False
    transferred: bool = False


def rotation(degrees: int, exhaustive: bool = False) -> str:
    """`rotation-090`."""
    return f"rotation-{degrees:03d}" + EXHAUSTIVE * exhaustive


def attack(family: str, strength: float, exhaustive: bool = False) -> str:
    """`fgsm-0.10`."""
    return f"{family}-{strength:.2f}" + EXHAUSTIVE * exhaustive


def corrupted(corruption: str, severity: int | None = None, exhaustive: bool = False) -> str:
    """`corrupted-fog-3`; `corrupted-zigzag` of what has one severity."""
    level = "" if severity is None else f"-{severity}"
    return CORRUPTED + corruption + level + EXHAUSTIVE * exhaustive


def corruption(name: str) -> tuple[str, int | None] | None:
    """The corruption and its severity of such a name; None of other names."""
    if not name.startswith(CORRUPTED):
        return None
    kind, _, level = usual(name).removeprefix(CORRUPTED).rpartition("-")
    return (kind, int(level)) if level.isdigit() else (usual(name).removeprefix(CORRUPTED), None)


def pruned(fraction: float) -> str:
    """`pruned-0.90`, `pruned-0.995`."""
    return f"pruned-{fraction:.3f}".removesuffix("0")


def calibrated(calibration: str) -> str:
    """`test-temperature`."""
    return f"{TEST}-{calibration}"


def transferred(name: str) -> str:
    """`transfer-fgsm-0.10`."""
    return TRANSFER + name


def usual(name: str) -> str:
    """The name without the ending of an exhaustive sweep."""
    return name.removesuffix(EXHAUSTIVE)


def sweep(name: str) -> Sweep | None:
    """The parts of a sweep's name; None of other names."""
    match = _SWEEP.fullmatch(usual(name).removeprefix(TRANSFER))
    if match is None:
        return None
    level = float(match["level"])
    return Sweep(match["family"], level, name.endswith(EXHAUSTIVE), name.startswith(TRANSFER))


def split(rule: str, index: int) -> str:
    """`10fold-3`."""
    return f"{rule}-{index}"


def parse_split(name: str) -> tuple[str, int]:
    """Rule and index of a split's name."""
    rule, _, index = name.rpartition("-")
    return rule, int(index)
