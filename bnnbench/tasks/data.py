"""What a task's loader returns: the whole table, and index arrays into it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnbench.errors import UserError


@dataclass(frozen=True)
class Data:
    """A data set in memory, in original units.

    Attributes:
        x: inputs; a table is float64 [N, d], images are float32 [N, C, H, W] with pixels in [0, 1].
        y: regression target float64 [N], or class indices int64 [N].
        checksum: first 12 hex digits of the sha256 over the bytes of x and y; part of a task's version.
        features: d column names; none for images.
        target: name of the target with its unit.
        classes: number of classes, 0 for regression.
        fixed: (train rows, test rows) of a set that has only one split (rules `fixed` and `official`).
        stored: stored splits (`gal` rule) as (train rows, test rows).
        grid: inputs [G, d] on which a toy task's truth is known, else None.
        truth: mean and standard deviation [G] of y given the grid inputs, else None.
        exact: mean and standard deviation [G] of the true posterior of the function on the grid, given the training
            rows of the fixed split: what nobody can do better than; else None.
        notes: sentences a report must show (duplicates, known faults).
    """

    x: np.ndarray
    y: np.ndarray
    checksum: str
    features: tuple[str, ...] = ()
    target: str = ""
    classes: int = 0
    fixed: tuple[np.ndarray, np.ndarray] | None = None
    stored: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    grid: np.ndarray | None = None
    truth: tuple[np.ndarray, np.ndarray] | None = None
    exact: tuple[np.ndarray, np.ndarray] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, **more: Any) -> Data:
        """Data from arrays: types set, the checksum taken; integer targets are class indices 0 ... K - 1.

        Args:
            x: inputs [N, ...]: float32, as images are, stays float32; all else becomes float64.
            y: targets [N].
            more: further fields.

        Raises:
            UserError: another shape, or a value that is not finite.
        """
        x = np.ascontiguousarray(x, dtype=np.float32 if x.dtype == np.float32 else np.float64)
        y = np.ascontiguousarray(y, dtype=np.int64 if np.issubdtype(y.dtype, np.integer) else np.float64)
        if x.ndim < 2 or y.shape != (len(x),):
            raise UserError(
                f"Data need inputs [N, d] or [N, C, H, W] and targets [N], not {list(x.shape)} and {list(y.shape)}."
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise UserError("Data hold values that are not finite.")
        checksum = hashlib.sha256(_bytes(x))
        checksum.update(_bytes(y))
        if y.dtype == np.int64:
            more.setdefault("classes", int(y.max()) + 1)
        return cls(x=x, y=y, checksum=checksum.hexdigest()[:12], **more)


def _bytes(values: np.ndarray) -> memoryview:
    """The bytes [n] of an array, little-endian, so that a checksum is the same on every machine; mostly no copy."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data


def spread(rows: int, most: int) -> np.ndarray:
    """At most so many of 0 ... rows - 1, evenly spaced."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(int)


@dataclass(frozen=True)
class Split:
    """Row indices: nobody fits on `validate` or `test`."""

    fit: np.ndarray
    validate: np.ndarray
    test: np.ndarray
