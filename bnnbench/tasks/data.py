"""What a task's loader returns: the whole table, and index arrays into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Data:
    """A data set in memory, in original units.

    Attributes:
        x: inputs, float64 of shape [N, d].
        y: regression target float64 [N], or class indices int64 [N].
        checksum: first 12 hex digits of the sha256 over the bytes of x and y; part of a task's version.
        features: d column names.
        target: name of the target with its unit.
        classes: number of classes, 0 for regression.
        fixed: the split of a task that has only one (`fixed` rule).
        stored: stored splits (`gal` rule) as (train rows, test rows).
        grid: inputs [G, d] on which a toy task's truth is known, else None.
        truth: mean and standard deviation [G] of y given the grid inputs, else None.
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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """Row indices: nobody fits on `validate` or `test`."""

    fit: np.ndarray
    validate: np.ndarray
    test: np.ndarray
