"""Arguments as users give them, on the command line or in Python: taken, or refused in one sentence.

`what` names the argument in that sentence, by its option on the command line.
"""

from __future__ import annotations

import operator
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from bnnbench.errors import UserError

OUTSIDE = re.compile(r",(?![^\[\]]*\])")  # commas that are not in brackets
LONGEST_NAME = 255  # bytes of a file's name on all common file systems
T = TypeVar("T")


def names_of(value: Any, what: str) -> list[str]:
    """A list of names, or one string of them with commas, each name once and without the spaces around it.

    Raises:
        UserError: neither.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, (bytes, dict)) or not isinstance(parts, Iterable):
        raise UserError(f"{what} takes names, a list or one string with commas, not {value!r}.")
    parts = list(parts)
    for part in parts:
        if not isinstance(part, str):
            raise UserError(f"{what} takes names, and {part!r} is none.")
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def rows_of(value: Any, what: str) -> list[str]:
    """Names as `names_of` takes them, where commas in square brackets do not end one: `sgld [lr=0.1,floor=0]`.

    Raises:
        UserError: something else.
    """
    return names_of(OUTSIDE.split(value) if isinstance(value, str) else value, what)


def entries_of(value: Any, what: str, kind: type[T]) -> list[str | T]:
    """Names as `names_of` takes them, objects of a kind, or a list of both.

    Raises:
        UserError: something else.
    """
    if isinstance(value, kind):
        return [value]
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        return list(names_of(value, what))
    found: list[str | T] = []
    for part in value:
        found += [part] if isinstance(part, kind) else names_of([part], what)
    return found


def wholes_of(value: Any, what: str) -> list[int]:
    """Whole numbers, a list or one string of them with commas, each once and in order.

    Raises:
        UserError: neither, none, or something else among them.
    """
    parts = names_of(value, what) if isinstance(value, str) else value
    refusal = UserError(f"{what} takes whole numbers with commas, like 0,1, not {value!r:.80}.")
    if isinstance(parts, (bytes, dict)) or not isinstance(parts, Iterable):
        raise refusal
    numbers = set()
    for part in parts:
        if isinstance(part, str) and re.fullmatch(r"-?[0-9]{1,9}", part):
            numbers.add(int(part))
        elif isinstance(part, (str, bool)) or not hasattr(part, "__index__"):
            raise refusal
        else:
            numbers.add(operator.index(part))
    if not numbers:
        raise UserError(f"{what} is empty; give whole numbers with commas, like 0,1, or leave it out.")
    return sorted(numbers)


def whole_of(value: Any, what: str, most: int, why: str = "") -> int:
    """A whole number from 1 to `most`; `why` says where the limit comes from.

    Raises:
        UserError: another number, or none.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise UserError(f"{what} must be a whole number, not {value!r:.80}.")
    if not 1 <= (number := operator.index(value)) <= most:
        shown = f"{number:,}" if abs(number) < 10**30 else "a number of so many digits"
        limit = f"lie between 1 and {most:,}{why}" if number > most else "be at least 1"
        raise UserError(f"{what} must {limit}, not {shown}.")
    return number


def amount_of(value: Any, what: str, unit: str) -> float:
    """A positive number of some unit.

    Raises:
        UserError: another number, or none.
    """
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
        raise UserError(f"{what} must be a number of {unit}, not {value!r:.80}.")
    if not (amount := float(value)) > 0:  # NaN too
        raise UserError(f"{what} must be a positive number of {unit}, not {amount:g}.")
    return amount


def text_of(value: Any, what: str) -> str:
    """A string.

    Raises:
        UserError: something else.
    """
    if not isinstance(value, str):
        raise UserError(f"{what} must be a string, not {value!r:.80}.")
    return value


def path_of(value: Any, what: str) -> Path:
    """A path, with `~` for a home folder.

    Raises:
        UserError: no path, an empty one, one that no file can have, or the home folder of nobody.
    """
    if not isinstance(value, (str, os.PathLike)) or isinstance(text := os.fspath(value), bytes):
        raise UserError(f"{what} takes a path, not {value!r:.80}.")
    if not text:
        raise UserError(f"{what} is empty; give a path.")
    try:
        path = Path(text).expanduser()
        size = max((len(os.fsencode(part)) for part in path.parts), default=0)
    except RuntimeError:
        raise UserError(f"{what} {text} names a home folder that is not known; write the path out.") from None
    except UnicodeEncodeError:
        size = -1
    if "\0" in text or size < 0:
        raise UserError(f"{what} {text!r} holds a character that no path can have; give another path.")
    if size > LONGEST_NAME:
        raise UserError(f"{what} holds a name of {size} bytes, and file systems take {LONGEST_NAME}; shorten it.")
    return path


def file_of(value: Any, what: str) -> Path:
    """The path of a file to be written: of a new one, or of one that may be replaced.

    Raises:
        UserError: as `path_of`, or a folder, device or pipe, which must not be replaced by a file.
    """
    path = path_of(value, what)
    try:
        other = path.exists() and not path.is_file()
    except OSError:  # a folder that may not be looked into: writing says so
        other = False
    if other:
        raise UserError(f"{what} {path} is not a file; give the name of one.")
    return path


def is_special(path: Path) -> bool:
    """Whether a pipe, a socket or a device has this name: opening one may wait forever, and replacing it breaks it."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
