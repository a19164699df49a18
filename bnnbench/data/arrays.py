"""What a task's loader returns: the whole table, and index arrays into it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bnnbench.data.columns import column_of, numbers, table, target_called
from bnnbench.data.encoding import Column, Encoder, canonical
from bnnbench.errors import UserError
from bnnbench.model.truth import NormalTruth, Truth


@dataclass(frozen=True)
class Data:
    """A data set in memory, in original units.

    Attributes:
        x: inputs; a table is float64 [N, d], images are float32 [N, C, H, W] with pixels in [0, 1].
        y: targets [N]. From a loader as given: numbers or labels of any type. From a task as its kind reads them:
            float64, or class indices int64 (see `labels.of_kind`).
        checksum: first 12 hex digits of the sha256 over the bytes of x and y; part of a task's version.
        features: d column names; none for images.
        target: name of the target with its unit.
        classes: K labels, in the order of the class indices; none for regression.
        fixed: (train rows, test rows) of a set that has only one split (rules `fixed` and `official`).
        stored: stored splits (`gal` rule) as (train rows, test rows).
        grid: inputs [G, d] on which a toy task's truth is known, else None.
        truth: what is known of the true distribution at the grid inputs, else None; `of` takes a bare tuple for the
            mean and standard deviation [G] of y.
        exact: mean and standard deviation [G] of the true posterior of the function on the grid, given the training
            rows of the fixed split: what nobody can do better than; else None.
        notes: sentences a report must show (duplicates, known faults).
        columns: of a table that every split encodes for itself (`data.encoding`): what its columns hold. Their values
            are then no inputs of a network yet, and NaN where one is missing. Else none.
        group: whole number of each row's group [N], for the rule `grouped`. time: the same of its time, in order, for
            the rule `time`.
        encoder: what made x of such a table, fitted on the training rows of a split.
    """

    x: np.ndarray
    y: np.ndarray
    checksum: str
    features: tuple[str, ...] = ()
    target: str = ""
    classes: tuple[Any, ...] = ()
    fixed: tuple[np.ndarray, np.ndarray] | None = None
    stored: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    grid: np.ndarray | None = None
    truth: Truth | None = None
    exact: tuple[np.ndarray, np.ndarray] | None = None
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    group: np.ndarray | None = None
    time: np.ndarray | None = None
    encoder: Encoder | None = None

    @classmethod
    def of(cls, x: Any, y: Any, **more: Any) -> Data:
        """Data from a DataFrame, lists, tensors or arrays: types set, the checksum taken.

        Args:
            x: inputs [N, d], or images [N, C, H, W]: float32 images stay float32, all else becomes float64. The names
                of a DataFrame's columns become `features`.
            y: targets [N]; the name of a Series becomes `target`. The task's kind says what they are: numbers of a
                regression, whatever their type, or labels of a classification (numbers, truth values or text).
            more: further fields. `classes` are the labels in the order wanted, with those that no row has.

        Raises:
            UserError: another shape, a column that holds no numbers, or a value that is missing or not finite.
        """
        x, more["features"] = table(x, more.get("features", ()))
        if type(more.get("truth")) is tuple:
            more["truth"] = NormalTruth(*more["truth"])
        more["target"] = more.get("target") or str(getattr(y, "name", None) or "")
        what = target_called(more["target"])
        y = column_of(y, what)
        if y.dtype.kind in "cfmM":
            y = numbers(y, what)
        elif y.dtype.kind in "iu" and y.dtype != np.uint64:
            y = np.ascontiguousarray(y, dtype=np.int64)
        if x.ndim < 2 or y.shape != (len(x),) or not x.size:
            raise UserError(
                f"Data need inputs [N, d] or [N, C, H, W] and targets [N], not {list(x.shape)} and {list(y.shape)}."
            )
        return cls(x=x, y=y, checksum=checksum(x, y), **more)

    @classmethod
    def of_columns(cls, columns: tuple[Column, ...], x: np.ndarray, y: np.ndarray, **more: Any) -> Data:
        """Data of a table that every split encodes for itself; values [N, columns] as its columns read them."""
        names = tuple(column.name for column in columns)
        return cls(x=x, y=y, checksum="", features=names, columns=columns, **more).with_target(y)

    def with_target(self, y: np.ndarray) -> Data:
        """The same with another target, and the checksum of that."""
        beside = [part for part in (self.group, self.time) if part is not None]
        sealed = [canonical(self.columns)] if self.columns else []
        return replace(self, y=y, checksum=checksum(self.x, y, *beside, *sealed))

    def encoded(self, rows: np.ndarray) -> Data:
        """The table as a network gets it, encoded by what is found in these rows."""
        encoder = Encoder.of(self.columns, self.x[rows])
        return replace(self, x=encoder.encode(self.x), features=encoder.features, columns=(), encoder=encoder)


def checksum(*parts: np.ndarray | bytes) -> str:
    """First 12 hex digits of the sha256 over the bytes of all parts, one after the other."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part if isinstance(part, bytes) else _bytes(part))
    return sha.hexdigest()[:12]


def _bytes(values: np.ndarray) -> memoryview:
    """The bytes [n] of an array, little-endian, so that a checksum is the same on every machine; mostly no copy."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data


def spread(rows: int, most: int) -> np.ndarray:
    """At most so many of 0 ... rows - 1, evenly spaced."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(int)


@dataclass(frozen=True)
class Split:
    """Row indices: nothing is trained on `validation` or `test`."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
