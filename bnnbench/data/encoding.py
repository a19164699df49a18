"""Columns of a table with text and gaps, as numbers for a network: fitted on the training rows of a split alone.

A table is held as float64 [N, columns], NaN where a value is missing: a number as it is, a category as its place among
the levels of its column. What a network gets is made of that split by split:

    number: missing values become the median of the training rows, and a further column says where, if any of the
        training rows lacks it (1, else 0).
    category: one column of 0 and 1 for each level that the training rows have. Of more than `MOST_LEVELS`, the most
        frequent have one each and the others share one. Missing values are a level of their own, if any of the training
        rows has one. A level that no training row has belongs to what is shared, else all columns are 0.

They are standardised by the training rows afterwards, as all inputs are.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from bnnbench.data.values import coerced
from bnnbench.errors import UserError

MOST_LEVELS = 30  # columns of a category, without that of missing values
UNKNOWN = -1.0  # place of a level that a column does not have
WHOLE = re.compile(r"([+-]?)0*(\d+)(\.0*)?")
TRUTH = {"true": "True", "false": "False"}


@dataclass(frozen=True)
class Column(ABC):
    """A column of a table as its user knows it."""

    name: str
    kind: ClassVar[str]

    @abstractmethod
    def read(self, values: pd.Series) -> np.ndarray:
        """Values [N] as float64, NaN where one is missing."""

    @abstractmethod
    def fitted(self, values: np.ndarray) -> Fitted:
        """The encoding by the values [n] of the training rows."""

    @abstractmethod
    def said(self) -> str:
        """What it becomes, in words."""


@dataclass(frozen=True)
class Number(Column):
    """A column of numbers."""

    kind = "number"

    def read(self, values: pd.Series) -> np.ndarray:
        """As in `Column`.

        Raises:
            UserError: a value that is no finite number.
        """
        found = coerced(values).to_numpy(np.float64, na_value=np.nan)
        if (wrong := np.isnan(found) & values.notna().to_numpy()).any():
            row = int(np.flatnonzero(wrong)[0])
            raise UserError(f"The column {self.name!r} holds {values.iloc[row]!r} in row {row}, which is no number.")
        if np.isinf(found).any():
            row = int(np.flatnonzero(np.isinf(found))[0])
            raise UserError(f"The column {self.name!r} holds a value that is not finite in row {row}; leave it empty.")
        return found

    def fitted(self, values: np.ndarray) -> Fitted:
        known = values[~np.isnan(values)]
        return FittedNumber(self, float(np.median(known)) if len(known) else 0.0, len(known) < len(values))

    def said(self) -> str:
        return "number"


@dataclass(frozen=True)
class Category(Column):
    """A column of text, or of other values with a few levels.

    Attributes:
        levels: all its values, as text, in ascending order.
    """

    kind = "category"
    levels: tuple[str, ...]

    def read(self, values: pd.Series) -> np.ndarray:
        text = as_levels(values)
        found = pd.Index(self.levels, dtype=object).get_indexer(text).astype(np.float64)
        found[values.isna().to_numpy()] = np.nan
        return found

    def fitted(self, values: np.ndarray) -> Fitted:
        counts = np.bincount(values[values >= 0].astype(np.int64), minlength=len(self.levels))
        own = np.flatnonzero(counts)
        if shared := len(own) > MOST_LEVELS:
            own = np.sort(np.argsort(-counts, kind="stable")[: MOST_LEVELS - 1])
        return FittedCategory(self, tuple(own.tolist()), shared, bool(np.isnan(values).any()))

    def said(self) -> str:
        shown = ", ".join(self.levels[:4]) + (", ..." if len(self.levels) > 4 else "")
        shared = f" (the {MOST_LEVELS - 1} most frequent have a column each)" * (len(self.levels) > MOST_LEVELS)
        return f"category, {len(self.levels)} values: {shown}{shared}"


def as_levels(values: pd.Series) -> np.ndarray:
    """Values as text [N], the same whatever read them: a column of whole numbers with gaps is one of floats, and truth
    values are text where one is missing."""
    places, distinct = pd.factorize(values.astype(object).map(str))
    return np.array([_level(text) for text in distinct], dtype=object)[places]


def _level(text: str) -> str:
    text = text.strip()
    if match := WHOLE.fullmatch(text):
        return match[1].removeprefix("+") + match[2]
    return TRUTH.get(text.lower(), text)


class Fitted(ABC):
    """A column with what was found in the training rows."""

    column: Column

    @property
    @abstractmethod
    def features(self) -> tuple[str, ...]:
        """Names of the columns that it becomes."""

    @abstractmethod
    def encode(self, values: np.ndarray) -> np.ndarray:
        """Values [N] of the table as finite numbers [N, features]."""


@dataclass(frozen=True)
class FittedNumber(Fitted):
    """Numbers whose gaps are filled.

    Attributes:
        fill: what stands for a missing value. gaps: whether a column says where that is.
    """

    column: Number
    fill: float
    gaps: bool

    @property
    def features(self) -> tuple[str, ...]:
        return (self.column.name, f"{self.column.name} missing") if self.gaps else (self.column.name,)

    def encode(self, values: np.ndarray) -> np.ndarray:
        missing = np.isnan(values)
        filled = np.where(missing, self.fill, values)
        return np.stack([filled, missing], 1) if self.gaps else filled[:, None]


@dataclass(frozen=True)
class FittedCategory(Fitted):
    """One column a level.

    Attributes:
        own: places of the levels with a column each. shared: whether all others have one together. gaps: whether
            missing values have one.
    """

    column: Category
    own: tuple[int, ...]
    shared: bool
    gaps: bool

    @property
    def features(self) -> tuple[str, ...]:
        levels = [self.column.levels[place] for place in self.own]
        return tuple(
            f"{self.column.name} {level}" for level in [*levels, *self.shared * ["(other)"], *self.gaps * ["(missing)"]]
        )

    def encode(self, values: np.ndarray) -> np.ndarray:
        missing = np.isnan(values)
        columns = [values == place for place in self.own]
        rest = ~missing & ~np.isin(values, self.own)
        return np.stack([*columns, *self.shared * [rest], *self.gaps * [missing]], 1).astype(np.float64)


@dataclass(frozen=True)
class Encoder:
    """The encoding of all columns of a table, fitted."""

    fitted: tuple[Fitted, ...]

    @classmethod
    def of(cls, columns: Sequence[Column], values: np.ndarray) -> Encoder:
        """Fitted on the training rows [n, columns] of a table."""
        return cls(tuple(column.fitted(own) for column, own in zip(columns, values.T, strict=True)))

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that a network gets."""
        return tuple(name for column in self.fitted for name in column.features)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of the table."""
        return tuple(column.column.name for column in self.fitted)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Rows [N, columns] of the table as finite numbers [N, features]."""
        return np.concatenate([column.encode(own) for column, own in zip(self.fitted, values.T, strict=True)], 1)

    def inputs(self, rows: Any) -> np.ndarray:
        """New rows as finite numbers [N, features].

        Args:
            rows: a DataFrame with the columns of the original table, in any order and with others beside them, or
                rows of values in that order. Levels that are new are treated as said above.

        Raises:
            UserError: a column is not there, or values that are no numbers in a column of numbers.
        """
        frame: Any = frame_of(rows, self.names)
        read = [column.column.read(frame[column.column.name]) for column in self.fitted]
        return self.encode(np.stack(read, 1))

    def to_json(self) -> list[dict[str, Any]]:
        """As what `json` takes."""
        return [{"kind": column.column.kind, **asdict(column)} for column in self.fitted]  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, content: Sequence[dict[str, Any]]) -> Encoder:
        """Back from `to_json`."""
        return cls(tuple(_from_json(**own) for own in content))


def _from_json(kind: str, column: dict[str, Any], **found: Any) -> Fitted:
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return FITTED[kind](column_from_json(kind=kind, **column), **given)


def column_from_json(kind: str, **fields: Any) -> Column:
    """A column from its kind and its fields."""
    return COLUMNS[kind](**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def column_to_json(column: Column) -> dict[str, Any]:
    """The reverse."""
    return {"kind": column.kind, **asdict(column)}


COLUMNS: dict[str, type[Any]] = {cls.kind: cls for cls in (Number, Category)}
FITTED: dict[str, type[Any]] = {"number": FittedNumber, "category": FittedCategory}


def frame_of(rows: Any, names: Sequence[str]) -> pd.DataFrame:
    """Rows as a DataFrame with the columns of these names.

    Raises:
        UserError: another number of columns, a column is not there or there twice, or rows that make no table.
    """
    if not isinstance(rows, pd.DataFrame):
        try:
            frame = pd.DataFrame(rows)
        except (ValueError, TypeError) as error:
            raise UserError(f"Rows of type {type(rows).__name__} make no table ({error}).") from None
        if not isinstance(rows, dict):
            if frame.shape[1] != len(names):
                raise UserError(
                    f"Each row needs {len(names)} values ({', '.join(names)}), not {frame.shape[1]}; a DataFrame may "
                    "have its columns in any order."
                )
            frame.columns = pd.Index(names)
        rows = frame
    rows = rows.rename(columns=lambda name: str(name).strip())
    for name in names:
        if (times := int((rows.columns == name).sum())) != 1:
            fault = "lacks" if not times else "holds twice"
            raise UserError(f"The table {fault} the column {name!r}; it has {', '.join(map(repr, rows.columns))}.")
    return rows


def canonical(columns: Sequence[Column]) -> bytes:
    """The columns as bytes, for a checksum."""
    return json.dumps([column_to_json(column) for column in columns]).encode()
