"""A user's DataFrames, Series, lists, tensors and arrays as checked numpy arrays; errors name the column."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import torch

from bnnbench.errors import UserError

MISSING = "fill it in or leave the row out"


def table(values: Any, names: Sequence[str] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
    """Inputs as an array, float64 or images in float32, and the names of their columns.

    Args:
        values: a DataFrame, or whatever makes an array [N, d] or [N, C, H, W].
        names: of the columns, where the caller knows better than a DataFrame; none without names.

    Raises:
        UserError: another shape, text, dates, complex numbers, or a value that is missing or not finite.
    """
    if isinstance(values, pd.DataFrame):
        names = tuple(names) or tuple(map(str, values.columns))
        columns = [numbers(values.iloc[:, j], called(names, j)) for j in range(values.shape[1])]
        return np.stack(columns, 1) if columns else np.empty(values.shape), tuple(names)
    array = as_array(values)
    if array.dtype == np.float32 and array.ndim > 2:
        array = np.ascontiguousarray(array)
    elif array.dtype.kind in "biuf":
        array = np.ascontiguousarray(array, dtype=np.float64)
    elif array.ndim == 2:
        array = np.stack([numbers(column, called(names, j)) for j, column in enumerate(array.T)], 1)
    else:
        raise UserError(f"Inputs are numbers [N, d] or [N, C, H, W], not {_kind(array)} {list(array.shape)}.")
    if names and len(names) != array.shape[-1]:
        raise UserError(f"There are {len(names)} names of columns ({', '.join(names)}) for {array.shape[-1]} of them.")
    if not np.isfinite(array).all():
        row, *place = np.argwhere(~np.isfinite(array))[0]
        which = called(names, int(place[0])) if len(place) == 1 else "The array of inputs"
        raise UserError(f"{which} holds a value that is not finite ({array[row, *place]} in row {row}); {MISSING}.")
    return array, tuple(names)


def in_order(values: Any, names: Sequence[str]) -> Any:
    """A DataFrame with the columns of these names, in this order; what has no names, or is to have none, as it is.

    Raises:
        UserError: a column is not there.
    """
    if not isinstance(values, pd.DataFrame) or not names:
        return values
    columns = list(map(str, values.columns))
    if lacking := [name for name in names if name not in columns]:
        raise UserError(f"The table lacks the column {lacking[0]!r}; it has {', '.join(map(repr, columns))}.")
    return values.iloc[:, [columns.index(name) for name in names]]


def numbers(values: Any, what: str) -> np.ndarray:
    """One column as float64 [N]; `what` it is called begins the sentence of an error."""
    column = column_of(values, what)
    if column.dtype.kind not in "biuf":
        raise UserError(f"{what} holds {_kind(column)}; {REMEDIES.get(column.dtype.kind, 'give numbers')}.")
    found = column.astype(np.float64)
    if not np.isfinite(found).all():
        row = np.flatnonzero(~np.isfinite(found))[0]
        raise UserError(f"{what} holds a value that is not finite ({found[row]} in row {row}); {MISSING}.")
    return found


def column_of(values: Any, what: str) -> np.ndarray:
    """One column as given [N], without a dtype `object`: truth values, whole numbers, numbers or text.

    Raises:
        UserError: no column, a missing value, or values of several types.
    """
    column = as_array(values)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim == 1 and column.dtype.kind in "OfcmM" and (missing := pd.isna(column)).any():
        raise UserError(f"{what} holds a missing value in row {np.flatnonzero(missing)[0]}; {MISSING}.")
    if column.dtype.kind != "O" or column.ndim != 1:
        return column
    for types, dtype in TYPES:
        if all(isinstance(value, types) for value in column):
            try:
                return column.astype(dtype)
            except OverflowError:
                raise UserError(f"{what} holds whole numbers of more than 64 bits; give them as text.") from None
    found = sorted({type(value).__name__ for value in column})
    raise UserError(f"{what} holds values of the types {', '.join(found)}; give all in one of them.")


def as_array(values: Any) -> np.ndarray:
    """The values in numpy, with whatever dtype they have."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.double() if values.dtype in (torch.bfloat16, torch.float16) else values
        return values.numpy()
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise UserError(f"Data of type {type(values).__name__} cannot be made an array ({error}).") from None
    return array if array.flags.writeable else array.copy()


def called(names: Sequence[str], j: int) -> str:
    """How the j-th column is called at the beginning of a sentence."""
    return f"The column {names[j]!r}" if j < len(names) else f"The column {j} (from 0)"


def target_called(name: str) -> str:
    """How a target is called at the beginning of a sentence."""
    return f"The target {name!r}" if name else "The target"


def _kind(array: np.ndarray) -> str:
    return KINDS.get(array.dtype.kind, f"values of the type {array.dtype}")


KINDS = {"O": "objects", "U": "text", "S": "text", "c": "complex numbers", "M": "dates", "m": "spans of time"}
REMEDIES = {
    "U": "encode it as numbers",
    "c": "give real and imaginary parts as two columns",
    "M": "give numbers, such as days since the first",
    "m": "give numbers, such as days",
}
TYPES: tuple[tuple[Any, Any], ...] = (
    ((bool, np.bool_), np.bool_),
    (Integral, np.int64),
    (Real, np.float64),
    (str, np.str_),
)
