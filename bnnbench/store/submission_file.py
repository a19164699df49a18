"""A submission as it is read: never trusted. What no such file can hold is refused in one sentence."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column

from bnnbench.arguments import is_special, path_of
from bnnbench.errors import UserError
from bnnbench.files import file_faults
from bnnbench.store.submission import ARTIFACTS, CONTENT, ENDINGS, FORMAT, OF_ATTEMPT, OF_CELL, VERSION
from bnnbench.store.tables import Base

LARGEST = 2**28  # bytes of the readable part, 2**30 of one predictive, 2**35 of all
LARGEST_ARRAY, LARGEST_ZIP = 2**30, 2**35
MOST_MEMBERS = 200_000
_T = Base.metadata.tables
_NAMED: dict[str, Any] = {"task": str, "task_version": str, "method": str, "method_version": int, "session": int,
                          "evaluations": list, "curves": dict, "artifacts": dict}  # fmt: skip
_TOP: dict[str, Any] = {"format": str, "version": int, "bnnbench": str, "written": str, "methods": list, "tasks": list,
                        "metrics": list, "sessions": list, "cells": list, "splits": dict, "sha256": str}  # fmt: skip
_EVALUATION: dict[str, Any] = {"name": str, "n": int, "scores": dict, "curves": dict}


class Damaged(UserError):
    """A file that is no submission; the sentence says why."""


@dataclass
class Submission:
    """A file whose content has the right form: every field is there, and of its type.

    Attributes:
        path: the file. content: what it holds. artifacts: checksums of the predictives in a zip.
    """

    path: Path
    content: dict[str, Any]
    artifacts: frozenset[str] = frozenset()
    _zip: zipfile.ZipFile | None = field(default=None, repr=False)

    def artifact(self, digest: str) -> bytes:
        """The bytes of a predictive.

        Raises:
            Damaged: they cannot be read.
        """
        assert self._zip is not None
        return _member(self._zip, f"{ARTIFACTS}{digest}.safetensors", self.path, LARGEST_ARRAY)


@contextmanager
def opened(place: Any) -> Iterator[Submission]:
    """Open a file of `bnnbench submit`.

    Raises:
        Damaged: it is none, or something has changed it.
        UserError: it cannot be read.
    """
    path = path_of(place, "FILE")
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"{path} ends in neither .json nor .zip; name a file of `bnnbench submit`.")
    with file_faults("read", path):
        if is_special(path) or not path.is_file():
            raise UserError(f"There is no file {path}; make one by `bnnbench submit --out {path}`.")
        if path.suffix.lower() == ".json":
            if path.stat().st_size > LARGEST:
                raise Damaged(f"{path} is larger than {LARGEST >> 20} MB, which no submission is.")
            yield Submission(path, _content(path.read_bytes(), path))
            return
        with _open_zip(path) as file:
            members = _members(file, path)
            content = _content(_member(file, CONTENT, path, LARGEST), path)
            yield Submission(path, content, frozenset(members), file)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise Damaged(f"{path} is no whole zip file ({error}); copy it again.") from error


def _members(file: zipfile.ZipFile, path: Path) -> list[str]:
    """Checksums of the predictives, by names that lead nowhere: nothing else may be in the file."""
    found, size = [], 0
    for info in file.infolist()[: MOST_MEMBERS + 1]:
        size += info.file_size
        digest = info.filename.removeprefix(ARTIFACTS).removesuffix(".safetensors")
        wanted = info.filename == f"{ARTIFACTS}{digest}.safetensors" and is_digest(digest)
        if not (wanted or info.filename == CONTENT):
            raise Damaged(f"{path} holds {info.filename[:80]!r}, which is no part of a submission.")
        if info.file_size > (LARGEST_ARRAY if wanted else LARGEST):
            raise Damaged(f"{path} holds {info.filename!r} of {info.file_size:,} bytes, more than a submission may.")
        if info.flag_bits & 1:
            raise Damaged(f"{path} is encrypted; make it again by `bnnbench submit`.")
        found += [digest] if wanted else [CONTENT]
    if size > LARGEST_ZIP or len(found) > MOST_MEMBERS:
        raise Damaged(f"{path} holds {size:,} bytes in {len(found):,} files, more than a submission may.")
    if len(set(found)) < len(found):
        raise Damaged(f"{path} holds a file twice, so that nobody can tell which one counts.")
    if CONTENT not in found:
        raise Damaged(f"{path} holds no {CONTENT}; make it again by `bnnbench submit`.")
    return [name for name in found if name != CONTENT]


def _member(file: zipfile.ZipFile, name: str, path: Path, most: int) -> bytes:
    try:
        with file.open(name) as member:
            data = member.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError, ValueError) as error:
        raise Damaged(f"{name} in {path} cannot be read ({error}); copy the file again.") from error
    if len(data) > most:
        raise Damaged(f"{name} in {path} holds more than {most:,} bytes, which no submission does.")
    return data


def is_digest(text: Any) -> bool:
    """Whether it is a sha256 in hexadecimal digits."""
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")


def _content(data: bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
        json.dumps(content, ensure_ascii=False).encode()  # raises of half a character, which no database takes
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Damaged(f"{path} holds no sound JSON ({reason:.200}); copy it again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise Damaged(f"{path} is no submission; make one by `bnnbench submit`.")
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        older = type(version) is int and version < VERSION
        remedy = "make it again by `bnnbench submit`" if older else "upgrade bnnbench"
        raise Damaged(f"{path} is of version {version!r:.40} of the format, and {VERSION} is read here; {remedy}.")
    if fault := next(_faults(content), None):
        raise Damaged(f"{path} has not the form of a submission: {fault}.")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _faults(content: dict[str, Any]) -> Iterator[str]:
    """What is missing, too much, or of another type."""
    yield from _fields(content, _TOP, "the file")
    if not isinstance(content.get("cells"), list):
        return
    for name, without in (("method", ("id", "current")), ("task", ("id", "current")), ("metric", ("id",)),
                          ("session", ("id",))):  # fmt: skip
        columns = [column for column in _T[name].c if column.name not in without]
        for i, row in enumerate(content[f"{name}s"]):
            yield from _fields(row, _types(columns), f"{name} {i}")
    types = _types([*OF_CELL, *OF_ATTEMPT]) | _NAMED
    for i, cell in enumerate(content["cells"]):
        where = f"cell {i}"
        yield from _fields(cell, types, where)
        yield from _curve_faults(cell["curves"], where)
        for j, evaluation in enumerate(cell["evaluations"]):
            there = f"evaluation {j} of {where}"
            yield from _fields(evaluation, _EVALUATION, there)
            yield from _curve_faults(evaluation["curves"], there)
            for name, pair in evaluation["scores"].items():
                if not (isinstance(pair, list) and len(pair) == 2 and _is_value(pair[0]) and _is_error(pair[1])):
                    yield f"the score {name:.40} of {there} is no pair of a number and its standard error"
        if not all(is_digest(digest) for digest in cell["artifacts"].values()):
            yield f"an artifact of {where} has no sha256"
    if not all(type(count) is int and count > 0 for count in content["splits"].values()):
        yield "splits are no numbers"


def _fields(row: Any, types: dict[str, Any], where: str) -> Iterator[str]:
    if not isinstance(row, dict):
        yield f"{where} is no object"
        return
    for name in types.keys() - row.keys():
        yield f"{where} lacks {name!r}"
    for name in row.keys() - types.keys():
        yield f"{where} has {name[:40]!r}, which nothing asks for"
    for name in types.keys() & row.keys():
        if not _fits(row[name], types[name]):
            yield f"{name!r} of {where} is {row[name]!r:.60}"


def _types(columns: list[Column]) -> dict[str, Any]:
    """Name -> type as JSON has it; of a column that may be empty a union with None."""
    found = {}
    for column in columns:
        kind: Any = (dict, list) if isinstance(column.type, JSON) else (column.type.python_type,)
        found[column.name] = (*kind, type(None)) if column.nullable else kind
    return found


def _fits(value: Any, kinds: Any) -> bool:
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if datetime in kinds:
        return _is_date(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return (int in kinds or float in kinds) and abs(value) < 2**63
    return type(value) in kinds


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("nan", "inf", "-inf")
    return _fits(value, float)


def _is_error(value: Any) -> bool:
    return value is None or _fits(value, float)


def _curve_faults(curves: dict[str, Any], where: str) -> Iterator[str]:
    for name, series in curves.items():
        columns: list[Any] = list(series.values()) if isinstance(series, dict) else [None]
        lists = all(isinstance(column, list) and all(map(_is_value, column)) for column in columns)
        if not lists or len({len(column) for column in columns}) > 1:
            yield f"the curve {name:.40} of {where} is no table of numbers"
