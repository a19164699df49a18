"""Shifts and scales by which columns are standardised, in float64, and which columns have none.

A column is constant where its values spread no wider than rounding makes them. Decided by the size of the values, so
that neither a column of 0.1, whose computed deviation is 8e-17, nor its multiples are taken for one that varies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnnbench.data.columns import called
from bnnbench.errors import UserError

ROUNDING = 8 * np.finfo(np.float64).eps  # widest spread of a constant, relative to its size: a few last digits
RESOLVED = 1e-10  # least spread of a column that varies, relative to its size: the rounding is 2e-6 of it
LEAST, LARGEST = 1e-100, 1e100  # of a spread and of a size: squares stay finite and above 0


def standardisation(values: np.ndarray, axes: tuple[int, ...] = (0,)) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over rows, of images [N, C, H, W] also over pixels, which gives [C, 1, 1].

    A column that is constant says nothing of the target and gives no unit in which its other values could be told: its
    scale is infinite, and (x - shift) / scale is 0 whatever x is. So it is under every change of units.
    """
    keep = len(axes) > 1
    shift = values.mean(axes, dtype=np.float64, keepdims=keep)
    scale = values.std(axes, dtype=np.float64, keepdims=keep)
    constant = is_constant(values.min(axes, keepdims=keep), values.max(axes, keepdims=keep))
    scale = np.where(constant, np.inf, scale)
    return (shift[0], scale[0]) if keep else (shift, scale)


def is_constant(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether columns with these least and largest values vary by no more than rounding."""
    with np.errstate(over="ignore"):  # an infinite spread is none
        return np.float64(high) - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high))


def check_spread(values: np.ndarray, names: Sequence[str] = ()) -> None:
    """Check that the columns of a table [N, d] can be standardised without loss of precision.

    Raises:
        UserError: a column whose spread is small beside the size of its values, so that float64 does not resolve it,
            or whose unit makes squares overflow.
    """
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)  # of what is there: tables may have gaps
    size = np.maximum(np.abs(low), np.abs(high))
    varies = ~is_constant(low, high)
    with np.errstate(over="ignore"):  # the size is then too large
        spread = high - low
    for j in np.flatnonzero(varies & (spread < RESOLVED * size)).tolist():
        raise UserError(
            f"{called(names, j)} varies by {spread[j]:.2g} about {values[0, j]:.6g}, in the last digits of its "
            "numbers; subtract an offset before they are rounded, or leave out what is meant to be constant."
        )
    for j in np.flatnonzero((size > LARGEST) | (varies & (spread < LEAST))).tolist():
        raise UserError(f"{called(names, j)} holds numbers as {values[0, j]:.2g}; give it in another unit.")
