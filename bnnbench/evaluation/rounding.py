"""Plot data with as many digits as a picture shows, so that a database stays small: the store keeps every bit.

Both ways round to binary digits, which deflate well; decimal ones do not. Columns of whole numbers stay as they are.
"""

from __future__ import annotations

import numpy as np

from bnnbench.records import Series

DIGITS = 11


def significant(series: Series) -> dict[str, np.ndarray]:
    """To 11 binary digits, a relative error of 1/2048 at most: for axes of any range, logarithmic ones too."""
    return {name: _significant(np.asarray(column)) for name, column in series.items()}


def multiples(series: Series, unit: float) -> dict[str, np.ndarray]:
    """To whole multiples of a unit, which should be a power of two: for axes whose range is known."""
    return {name: _multiples(np.asarray(column), unit) for name, column in series.items()}


def _significant(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "f":
        return values
    fraction, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.round(np.ldexp(fraction, DIGITS)), exponent - DIGITS)


def _multiples(values: np.ndarray, unit: float) -> np.ndarray:
    return np.round(values.astype(np.float64) / unit) * unit if values.dtype.kind == "f" else values
