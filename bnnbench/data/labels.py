"""What a task's kind makes of a target: numbers of a regression, class indices of a classification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnnbench.data.arrays import Data
from bnnbench.data.columns import column_of, numbers, target_called
from bnnbench.data.scales import check_spread, is_constant
from bnnbench.errors import UserError

LEVELS = 20  # distinct numbers, not all of them whole, that may still be labels


def of_kind(data: Data, kind: str) -> Data:
    """The data with the target as tasks of a kind read it, whatever its type; its checksum if it is another.

    Regression: float64. Classification: indices into `Data.classes`, which are the labels that stand there already or
    else the distinct ones in ascending order. Densities have no target.

    Raises:
        UserError: a target that this kind cannot have, or a column of numbers that cannot be standardised.
    """
    if data.x.dtype == np.float64 and data.x.ndim == 2:
        check_spread(data.x, data.features)
    if kind == "regression":
        y, classes = _regression(data.y, data.target), ()
    elif kind == "classification":
        y, classes = _classification(data.y, data.target, data.classes)
    else:
        return data
    if y.dtype == data.y.dtype and np.array_equal(y, data.y):
        return replace(data, classes=classes)
    return replace(data, classes=classes).with_target(y)


def _regression(y: np.ndarray, target: str) -> np.ndarray:
    what = target_called(target)
    if y.dtype.kind in "bUS":
        raise UserError(f"{what} holds {'truth values' if y.dtype.kind == 'b' else 'text'}; that is a classification.")
    y = numbers(y, what)
    check_target(y, target)
    return y


def check_target(y: np.ndarray, target: str = "") -> None:
    """Check that a regression's target varies, and that float64 resolves how (see `scales.check_spread`).

    Raises:
        UserError: a target that is constant: a density of it has no scale.
    """
    if is_constant(y.min(), y.max()):
        raise UserError(f"{target_called(target)} is {y[0]:.6g} in every row; there is nothing to learn.")
    check_spread(y[:, None], [target or "y"])


def _classification(y: np.ndarray, target: str, known: tuple) -> tuple[np.ndarray, tuple]:
    what = target_called(target)
    y = column_of(y, what)
    distinct, index = np.unique(y, return_inverse=True)
    labels = tuple(distinct.tolist())
    if known:
        place = {label: i for i, label in enumerate(known)}
        if unknown := [label for label in labels if label not in place]:
            raise UserError(f"{what} holds the label {unknown[0]!r}, which is none of its {len(known)} classes.")
        return np.array([place[label] for label in labels])[index.reshape(-1)], known
    if len(labels) < 2:
        raise UserError(f"{what} is {y.tolist()[0]!r} in every row; there is nothing to tell apart.")
    fractions = y.dtype.kind == "f" and (distinct != np.round(distinct)).any()
    if len(labels) > len(y) / 2 or (fractions and len(labels) > LEVELS):
        raise UserError(
            f"{what} holds {len(labels)} different labels in {len(y)} rows; numbers that are measured are the target "
            "of a regression, and identifiers are none."
        )
    return index.reshape(-1), labels
