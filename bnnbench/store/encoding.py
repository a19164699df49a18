"""How numbers stand in the database: NaN and infinities by name, curves to seven digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bnnbench.records import Series

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode_value(value: float) -> tuple[float | None, str]:
    """What goes into the columns value and kind."""
    value = float(value)
    return (value, "finite") if math.isfinite(value) else (None, str(value))


def finite_or_none(value: float | None) -> float | None:
    """For columns in which NaN and infinities mean nothing more than `unknown`."""
    return float(value) if value is not None and math.isfinite(value) else None


def encode_series(series: Series) -> dict[str, list[Any]]:
    """Columns as JSON: integers exactly, floats to seven significant digits, NaN and infinities by name.

    Raises:
        ValueError: a column is not a vector of numbers, or columns differ in length.
    """
    arrays = {name: np.asarray(column) for name, column in series.items()}
    if any(array.ndim != 1 or array.dtype.kind not in "biuf" for array in arrays.values()):
        raise ValueError(f"Columns {sorted(arrays)} must be vectors of numbers.")
    if len({array.size for array in arrays.values()}) > 1:
        raise ValueError(f"Columns {sorted(arrays)} differ in length.")
    return {name: [_shorten(value) for value in array.tolist()] for name, array in arrays.items()}


def _shorten(value: float) -> float | str:
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else str(value)
    return int(value)


def decode_series(columns: Mapping[str, list[Any]]) -> dict[str, np.ndarray]:
    """The inverse; a column of integers stays one."""
    return {name: _column(values) for name, values in columns.items()}


def _column(values: list[Any]) -> np.ndarray:
    if any(isinstance(value, str) for value in values):
        return np.array([NON_FINITE[value] if isinstance(value, str) else value for value in values], dtype=float)
    return np.array(values, dtype=None if values else float)
