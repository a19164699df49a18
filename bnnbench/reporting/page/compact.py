"""Numbers and names as they travel in the page: few digits, columns, and an index for each name that repeats."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=Hashable)


def number(value: Any, digits: int = 6) -> Any:
    """A number of so many significant digits; None for NaN and what is missing; infinities as texts."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def numbers(values: Iterable[Any], digits: int = 6) -> list[Any]:
    """A column of them."""
    return [number(value, digits) for value in values]


class Names(Generic[T]):
    """Things in the order of their first mention, and the place of each."""

    def __init__(self, known: Sequence[T] = ()) -> None:
        self._places: dict[T, int] = {name: place for place, name in enumerate(known)}

    def place(self, name: T) -> int:
        """Where it stands; at the end if it is new."""
        return self._places.setdefault(name, len(self._places))

    def __iter__(self) -> Iterator[T]:
        return iter(self._places)


def packed(payload: Any) -> str:
    """JSON, gzipped without a date, in base64."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(errors="replace"), 9, mtime=0)).decode()


def unpacked(text: str) -> Any:
    """What `packed` was given."""
    return json.loads(gzip.decompress(base64.b64decode(text)))
