"""What the values of a column are: numbers, dates, labels, or nothing that can be learnt from as it stands."""

from __future__ import annotations

import re
import warnings
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd

# Marks between thousands and before fractions, each way of writing with its two marks.
ENGLISH = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?"), ",", "."
GERMAN = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?"), ".", ","
DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T]\d{1,2}:\d{2}.*)?|\d{1,2}:\d{2}(:\d{2}.*)?"
    r"|\d{1,2}[ -][A-Za-z]{3,9}\.?[ -]\d{2,4}"
)
IDENTIFIER = re.compile(r"(?i:(.*[ _-])?(id|uuid))|.*[a-z]I[Dd]")
COUNTER = re.compile(r"(?i:unnamed: \d+|index|nr|no|row|#|key|(row|line)[ _]?(nr|number))")


class Unusable(Exception):
    """Why a column cannot be learnt from, as what follows its name in a sentence, with the remedy."""


def without_blanks(values: pd.Series) -> pd.Series:
    """Texts without the blanks around them; empty ones are missing."""
    if values.dtype.kind in "biufcmM":
        return values
    stripped = values.astype(object).map(lambda value: value.strip() if isinstance(value, str) else value)
    return stripped.mask(stripped.map(lambda value: isinstance(value, str) and not value))


def coerced(values: pd.Series) -> pd.Series:
    """The values as numbers, missing where one is none."""
    found: Any = pd.to_numeric(values, errors="coerce")
    return found


def numbers_of(values: pd.Series) -> pd.Series | None:
    """The values as numbers, None where one is none; also of numbers with marks between thousands."""
    if values.dtype.kind in "bcmM":
        return None
    if pd.api.types.is_numeric_dtype(values):
        return values
    known = values.dropna()
    if known.map(lambda value: isinstance(value, bool | np.bool_)).any():
        return None
    text = known.astype(str)
    found = coerced(text)
    for way in (ENGLISH, GERMAN):
        found = found if found.notna().all() else without_marks(text, *way)
    return found.astype(np.float64).reindex(values.index) if found.notna().all() else None


def without_marks(text: pd.Series, pattern: re.Pattern[str], thousands: str, point: str) -> pd.Series:
    """Texts as numbers, missing if one of them is not written in this way."""
    if not text.str.fullmatch(pattern).all():
        return pd.Series(np.nan, text.index)
    return coerced(text.str.replace(thousands, "", regex=False).str.replace(point, ".", regex=False))


def dates_of(values: pd.Series) -> pd.Series:
    """Points in time; days come first where dots stand between them.

    Raises:
        Unusable: no dates, or dates that can be read in two ways.
    """
    dotted = values.astype(str).str.match(r"\d{1,2}\.\d{1,2}\.").all()
    read = [_dates(values, first) for first in ((True,) if dotted else (False, True))]
    found = [dates for dates in read if dates is not None]
    if not found:
        ways = values.astype(str).str.replace(r"\d", "0", regex=True).drop_duplicates().index
        if len(ways) > 1 and all(_dates(pd.Series(values[[way]]), True) is not None for way in ways):
            written = " and ".join(repr(value) for value in values[ways[:2]])
            raise Unusable(f"holds dates written in several ways, like {written}; write them all as 2026-11-30")
        raise Unusable(f"holds {values.iloc[0]!r}, which is no date and no number; write 2026-11-30")
    if not found[0].equals(found[-1]):
        raise Unusable(f"holds dates like {values.iloc[0]!r} that can be read in two ways; write 2026-11-30")
    return found[0]


def _dates(values: pd.Series, day_first: bool) -> pd.Series | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of dates whose form says the opposite
        try:
            return pd.to_datetime(values, dayfirst=day_first, utc=True)
        except (ValueError, TypeError, OverflowError):
            return None


def check_numbers(name: str, values: np.ndarray) -> None:
    """Check that numbers [n] measure something.

    Raises:
        Unusable: infinite values, or an identifier: numbers that count the rows, or that tell all apart and are named
            so.
    """
    if np.isinf(values).any():
        raise Unusable("holds infinite values, which the file should leave empty")
    whole = len(values) > 2 and bool((values == np.round(values)).all())
    distinct = whole and len(np.unique(values)) == len(values)
    counting = distinct and bool((np.diff(values) == 1).all()) and values[0] in (0, 1)
    named = IDENTIFIER.fullmatch(name)
    if counting or (distinct and (named or COUNTER.fullmatch(name))):
        raise Unusable(f"tells every row apart, as an identifier does (--number {quote(name)}, if it is measured)")
    if whole and named:
        raise Unusable(
            f"looks like an identifier that rows share (--group {quote(name)} keeps them together; --category or "
            f"--number {quote(name)}, if it is none)"
        )


def check_labels(name: str, values: pd.Series) -> None:
    """Check that values that are no numbers are labels.

    Raises:
        Unusable: dates, spans of time, complex numbers, or numbers among which are texts.
    """
    known = values.dropna()
    if values.dtype.kind == "m":
        raise Unusable("holds spans of time, which should be numbers, such as days")
    if values.dtype.kind == "c":
        raise Unusable("holds complex numbers, which should be two columns")
    if _are_dates(known):
        raise Unusable(f"holds dates (--time {quote(name)} orders the splits by them)")
    text: Any = known.astype(str)
    no_number = text[coerced(text).isna()]
    if 0 < len(no_number) < len(known) / 2:
        raise Unusable(
            f"holds numbers and {len(no_number)} texts like {no_number.iloc[0]!r} (--missing "
            f"{quote(no_number.iloc[0])}, if that stands for a missing value; --category {quote(name)})"
        )


def check_distinct(name: str, levels: int, rows: int, most: int) -> None:
    """Check that labels are shared by rows.

    Raises:
        Unusable: more than `most` different ones, and more than half as many as rows.
    """
    if levels > max(most, rows / 2):
        raise Unusable(
            f"holds {levels} different texts in {rows} rows, as names and remarks do (--group {quote(name)}, if "
            f"rows of a value belong together; --category {quote(name)}, if they are categories)"
        )


def _are_dates(known: pd.Series) -> bool:
    if isinstance(known.dtype, pd.DatetimeTZDtype | pd.PeriodDtype) or known.dtype.kind == "M":
        return True
    if pd.api.types.infer_dtype(known) in ("date", "datetime", "datetime64", "time", "period"):
        return True
    return bool(known.astype(str).str.fullmatch(DATE).all())
