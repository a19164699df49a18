"""MNIST-1D, which a package of PyPI generates."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from bnnbench.data.arrays import Data
from bnnbench.data.cards import Card
from bnnbench.data.loaders.describe import describe
from bnnbench.errors import UserError

DIGITS = 6  # so that the last bits of a machine's sums change neither the data nor their checksum


def mnist1d(card: Card, root: Path) -> Data:
    """4,000 training and 1,000 test signals of the seed 42, made here: the package's `get_dataset` would download them.

    Raises:
        UserError: the package is not installed, or makes other data.
    """
    made = _made()
    x, y = (np.concatenate([made[name], made[f"{name}_test"]]) for name in "xy")
    rows, first = np.arange(len(y)), len(made["y"])
    parts = rows[:first], rows[first:]
    return describe(card, x.round(DIGITS), y.astype(np.int64), classes=tuple(range(10)), fixed=parts)


def _made() -> dict[str, Any]:
    """What `make_dataset` gives, which seeds the global generators and draws from them; they are left as they were."""
    try:
        from mnist1d.data import make_dataset
    except ImportError as error:
        raise UserError(
            f"mnist1d is made by a package that cannot be imported ({error}); pip install mnist1d."
        ) from error
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        return make_dataset()
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
