"""What the columns of a table are, guessed from their values and said before anything is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bnnbench.data.arrays import Data
from bnnbench.data.encoding import Category, Column, Number, as_levels
from bnnbench.data.labels import of_kind
from bnnbench.data.scales import is_constant
from bnnbench.data.splits import splits
from bnnbench.data.values import (
    Unusable,
    check_distinct,
    check_labels,
    check_numbers,
    dates_of,
    numbers_of,
    without_blanks,
)
from bnnbench.errors import UserError
from bnnbench.registry import nearest

KINDS = ("regression", "classification")
LEAST_ROWS = 20
FEW = 20  # different texts in a column that are levels, however short the table is; labels of a target


@dataclass(frozen=True)
class Wishes:
    """What the user of a table says of it.

    Attributes:
        target: name of the target. kind: `regression` or `classification`, None for what its values say.
        group: name of the column whose values keep rows together. time: of the column that orders them.
        drop: names of columns to be left out. category, number: of those that are categories or numbers, whatever they
            look like.
    """

    target: str
    kind: str | None = None
    group: str | None = None
    time: str | None = None
    drop: Sequence[str] = ()
    category: Sequence[str] = ()
    number: Sequence[str] = ()


class Line(NamedTuple):
    """What becomes of a column, and how many of its values are missing."""

    column: str
    becomes: str
    missing: int


@dataclass(frozen=True)
class Described:
    """A table as it was understood.

    Attributes:
        data: it, not yet encoded. rules: its split rules, the default first.
        lines: what becomes of each column. notes: what else there is to say, one sentence each.
    """

    data: Data
    kind: str
    rules: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def described(name: str, frame: pd.DataFrame, wishes: Wishes) -> Described:
    """A table as it is understood; nothing is written.

    Args:
        name: of the task to be.

    Raises:
        UserError: a column that is not there, one that can be no input as it stands, a target of one value, too few
            rows; the sentence names the option that helps.
    """
    frame = _named(frame)
    _check_names(frame, wishes)
    frame, notes = _with_target(frame, wishes.target)
    if len(frame) < LEAST_ROWS:
        raise UserError(f"The table has {len(frame)} rows with a target; ten folds take {LEAST_ROWS} at least.")
    y, kind, last = _target(_column_of(frame, wishes.target), wishes)
    columns, values, lines = _inputs(frame, wishes)
    repeated = _repeated(name, values, y)
    beside = {"group": _groups(frame, wishes.group), "time": _times(frame, wishes.time), "notes": tuple(repeated)}
    data = of_kind(Data.of_columns(tuple(columns), values, y, target=wishes.target, **beside), kind)
    return Described(data, kind, _rules(name, data), (*lines, last), (*notes, *repeated))


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    names = [str(column).strip() for column in frame.columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"The table has two columns named {twice[0]!r}; rename one of the two.")
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def _column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    found: Any = frame[name]
    return found


def _check_names(frame: pd.DataFrame, wishes: Wishes) -> None:
    """Check what the user says against the names that there are.

    Raises:
        UserError: a name that no column has, one for two things that exclude each other, or an unknown kind.
    """
    named = [("--target", wishes.target), ("--group", wishes.group), ("--time", wishes.time)]
    for option in ("drop", "category", "number"):
        named += [(f"--{option}", name) for name in dict.fromkeys(getattr(wishes, option))]
    places: dict[str, str] = {}
    for option, name in named:
        if name is None:
            continue
        if name not in frame:
            raise UserError(f"{option} names the column {name!r}, which is not there{nearest(name, frame.columns)}")
        if name in places and {places[name], option} != {"--group", "--time"}:
            raise UserError(f"The column {name!r} is named by {places[name]} and by {option}; name it once.")
        places[name] = option
    if wishes.kind not in {None, *KINDS}:
        raise UserError(f"--kind is {wishes.kind!r}{nearest(str(wishes.kind), KINDS)}")


def _with_target(frame: pd.DataFrame, target: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows that have a target, and a sentence on the others."""
    known = without_blanks(_column_of(frame, target)).notna()
    if not known.any():
        raise UserError(f"The target {target!r} is missing in every row; give another --target.")
    lacking = int((~known).sum())
    notes = [f"{lacking} of {len(frame)} rows have no {target!r} and are left out."] if lacking else []
    rest: Any = frame[known]
    return rest.reset_index(drop=True), notes


def _target(values: pd.Series, wishes: Wishes) -> tuple[np.ndarray, str, Line]:
    """The target [N], its kind, and the line that says so."""
    values, name = without_blanks(values), wishes.target
    numbers = numbers_of(values)
    y = _labels(values, name) if numbers is None else _measured(numbers, name)
    distinct, counts = np.unique(y, return_counts=True)
    guess = "classification" if numbers is None or len(distinct) == 2 else "regression"
    kind = wishes.kind or guess
    if kind == "classification":
        shown = [f"{label} ({n})" for label, n in zip(distinct[:6].tolist(), counts.tolist(), strict=False)]
        said = f"{len(distinct)} classes: {', '.join(shown)}" + ", ..." * (len(distinct) > 6)
    else:
        y = y if numbers is None else y.astype(np.float64)
        said = f"{distinct[0]:.6g} to {distinct[-1]:.6g}" if numbers is not None else "text"
        said += "; --kind classification, if these are labels" * (wishes.kind is None and len(distinct) <= FEW)
    return y, kind, Line(name, f"target of a {kind}, {said}", 0)


def _labels(values: pd.Series, name: str) -> np.ndarray:
    try:
        check_labels(name, values)
    except Unusable as fault:
        raise UserError(f"The target {name!r} {fault}; a target holds numbers, or labels.") from None
    return np.asarray(as_levels(values), dtype=str)


def _measured(numbers: pd.Series, name: str) -> np.ndarray:
    """Numbers as int64 where all are whole, else float64."""
    y = numbers.to_numpy(np.float64)
    if not np.isfinite(y).all():
        row = int(np.flatnonzero(~np.isfinite(y))[0])
        raise UserError(f"The target {name!r} holds a value that is not finite in row {row}; leave the row out.")
    return y.astype(np.int64) if (y == np.round(y)).all() and np.abs(y).max() < 2**53 else y


def _inputs(frame: pd.DataFrame, wishes: Wishes) -> tuple[list[Column], np.ndarray, list[Line]]:
    """The columns that are inputs, their values [N, columns], and what becomes of every column but the target.

    Raises:
        UserError: columns that can be no inputs; one sentence says it of all.
    """
    lines, faults, found = [], {}, dict[str, tuple[Column, np.ndarray]]()
    said = dict.fromkeys(wishes.drop, "left out (--drop)")
    said |= dict.fromkeys(filter(None, [wishes.time]), "orders the rows in time (--time)")
    said |= dict.fromkeys(filter(None, [wishes.group]), "its values keep rows together (--group)")
    target = as_levels(without_blanks(_column_of(frame, wishes.target)))
    for name in frame.columns.drop(wishes.target):
        values = without_blanks(_column_of(frame, name))
        try:
            becomes = said.get(name) or _input(name, values, wishes, target, found)
        except Unusable as fault:
            faults[name] = str(fault)
        else:
            lines.append(Line(name, becomes, int(values.isna().sum())))
    if faults:
        reasons, names = "; ".join(f"{name!r} {reason}" for name, reason in faults.items()), quote(",".join(faults))
        raise UserError(f"Columns that cannot be inputs as they are: {reasons}. To leave them out: --drop {names}.")
    if not found:
        raise UserError("No column is left to learn from; give a table with inputs beside the target.")
    columns, read = zip(*found.values(), strict=True)
    return list(columns), np.stack(read, 1), lines


def _input(
    name: str, values: pd.Series, wishes: Wishes, target: np.ndarray, found: dict[str, tuple[Column, np.ndarray]]
) -> str:
    """What becomes of a column, in words; it joins `found` if it is an input."""
    known = values.dropna()
    if known.empty:
        return "left out: empty"
    if (as_levels(values) == target).all():
        raise Unusable("equals the target")
    column, read = _column(name, values, wishes)
    if len(known) == len(values) and is_constant(read.min(), read.max()):
        return "left out: the same in every row"
    for other, (kind, theirs) in found.items():
        if replace(kind, name=name) == column and np.array_equal(read, theirs, equal_nan=True):
            return f"left out: equals {other!r}"
    found[name] = column, read
    return column.said()


def _column(name: str, values: pd.Series, wishes: Wishes) -> tuple[Column, np.ndarray]:
    """A number or a category, by the user's word or by its values; and these [N]."""
    known, numbers = values.dropna(), numbers_of(values)
    if numbers is not None and name not in wishes.category:
        if name not in wishes.number:
            check_numbers(name, numbers.dropna().to_numpy(np.float64))
        column = Number(name)
        return column, column.read(numbers)
    if name in wishes.number:
        check_labels(name, values)
        raise Unusable(f"holds {known.iloc[0]!r}, which is no number")
    category = Category(name, tuple(sorted(set(as_levels(known)))))
    if name not in wishes.category:
        check_labels(name, values)
        check_distinct(name, len(category.levels), len(values), FEW)
    return category, category.read(values)


def _groups(frame: pd.DataFrame, name: str | None) -> np.ndarray | None:
    """Number of each row's group [N]."""
    if name is None:
        return None
    return np.unique(as_levels(_whole(frame, name, "--group")).astype(str), return_inverse=True)[1]


def _times(frame: pd.DataFrame, name: str | None) -> np.ndarray | None:
    """The order of the rows in time [N]; those of one time share a place."""
    if name is None:
        return None
    values = _whole(frame, name, "--time")
    try:
        found = numbers_of(values) if numbers_of(values) is not None else dates_of(values)
    except Unusable as fault:
        raise UserError(f"--time {name} {fault}.") from None
    return np.unique(np.asarray(found), return_inverse=True)[1]


def _whole(frame: pd.DataFrame, name: str, option: str) -> pd.Series:
    """A column without a gap."""
    values = without_blanks(_column_of(frame, name))
    if (missing := values.isna().to_numpy()).any():
        row = int(np.flatnonzero(missing)[0])
        raise UserError(f"{option} {name} holds a missing value in row {row}; fill it in, or leave the row out.")
    return values


def _repeated(name: str, values: np.ndarray, y: np.ndarray) -> list[str]:
    """A sentence on rows that stand there before."""
    rows = pd.DataFrame(values).assign(target=y)
    if not (repeated := int(rows.duplicated().sum())):
        return []
    rule = "the rule 10fold-grouped keeps rows of equal inputs together"
    return [f"{name} repeats {repeated} of its {len(rows)} rows; {rule}."]


def _rules(name: str, data: Data) -> tuple[str, ...]:
    """The split rules that the table has, the default first.

    Raises:
        UserError: it is too small for the default.
    """
    wanted = ["time"] * (data.time is not None) + ["grouped"] * (data.group is not None) + ["10fold", "10fold-grouped"]
    splits(name, data, wanted[0])
    return tuple(rule for rule in wanted if _is_possible(name, data, rule))


def _is_possible(name: str, data: Data, rule: str) -> bool:
    try:
        return bool(splits(name, data, rule))
    except UserError:
        return False
