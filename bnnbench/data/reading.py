"""Files that hold a table, read by pandas: separator, decimal mark, encoding and compression are found out."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import lzma
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from bnnbench.data.files import LARGEST
from bnnbench.data.values import GERMAN, without_marks
from bnnbench.errors import UserError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
BLANKS = r"\s+"
SAMPLE = 200  # lines from which separator and decimal mark are found out
WITH_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
WITH_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
READERS: dict[str, tuple[Callable[..., Any], str]] = {
    ".parquet": (pd.read_parquet, "pyarrow"),
    ".feather": (pd.read_feather, "pyarrow"),
    ".xlsx": (pd.read_excel, "openpyxl"),
    ".xls": (pd.read_excel, "xlrd"),
    ".ods": (pd.read_excel, "odfpy"),
}


@dataclass(frozen=True)
class Form:
    """How a file is written, None for what is to be found out.

    Attributes:
        separator: of the fields. decimal: mark between whole and fraction, `.` or `,`. encoding: of the text.
        missing: further texts that stand for a missing value, beside those that pandas knows and `?`.
    """

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: Sequence[str] = ()


def read_table(path: Path, form: Form) -> tuple[pd.DataFrame, str]:
    """A table from a file, and how it was written, in words.

    Raises:
        UserError: there is no such file, it is empty, damaged or no table, or a package that reads it is not installed.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}; give the path of a table.")
    if path.suffix.lower() in READERS:
        return _by_pandas(path, form), path.suffix.lower().removeprefix(".")
    text, encoding = _decoded(_content(path), path, form.encoding)
    if not text.strip():
        raise UserError(f"{path} is empty; give a table with a line of names and a line for each row.")
    separator = {"\\t": "\t", "tab": "\t"}.get(form.separator or "", form.separator) or _separator(text, path)
    fields = _fields(text, separator)
    decimal = form.decimal or _decimal(fields[1:], separator)
    _check_header(fields[0], path)
    said = ["blanks" if separator == BLANKS else SEPARATORS.get(separator, repr(separator))]
    return _parsed(text, path, separator, decimal, form), ", ".join(
        [f"separator {said[0]}", "decimal comma" if decimal == "," else "decimal point", encoding]
    )


def _by_pandas(path: Path, form: Form) -> pd.DataFrame:
    reader, package = READERS[path.suffix.lower()]
    try:
        frame = reader(path)
    except ImportError as error:
        raise UserError(
            f"{path} is read by a package that is not installed; pip install {package}, or save it as CSV."
        ) from error
    except Exception as error:  # damaged files raise errors of a dozen types
        raise UserError(f"{path} cannot be read ({_brief(error)}); save it again, or as CSV.") from error
    _check_header([str(name) for name in frame.columns], path)
    return frame.replace(["?", *form.missing], None)


def _content(path: Path) -> bytes:
    """The bytes of a file, uncompressed, whatever its name says."""
    try:
        with path.open("rb") as file:
            begin = file.read(8)
        if begin[:4] == b"PK\x03\x04":
            return _zipped(path)
        opener = next((opener for magic, opener in OPENERS.items() if begin.startswith(magic)), open)
        with opener(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({_brief(error)}); save it again.") from error
    if len(content) > LARGEST:
        raise UserError(f"{path} holds more than {LARGEST // 2**30} GiB of text; take a part of its rows.")
    return content


def _zipped(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        if len(names) != 1:
            raise UserError(f"{path} holds {len(names)} files; give the one that is the table.")
        with archive.open(names[0]) as file:
            return file.read(LARGEST + 1)


def _decoded(content: bytes, path: Path, encoding: str | None) -> tuple[str, str]:
    """Text, and its encoding: the one given, that of a byte order mark, UTF-8, or else that of Windows."""
    mark = next((name for bom, name in BOMS.items() if content.startswith(bom)), None)
    if b"\0" in content[:4096] and not (mark or encoding):
        raise UserError(f"{path} is no text; give a CSV file, Parquet (.parquet) or Excel (.xlsx).")
    for name in [encoding] if encoding else [mark or "utf-8", "cp1252", "latin-1"]:
        try:
            return content.decode(name), name.removesuffix("-sig")
        except LookupError:
            raise UserError(f"There is no encoding {name!r}; give one like utf-8, latin-1 or cp1252.") from None
        except UnicodeError as error:
            fault = error
    raise UserError(f"{path} cannot be read as {encoding} ({_brief(fault)}); give another --encoding.")


def _separator(text: str, path: Path) -> str:
    """The separator that cuts the first lines into fields of equal number, and of those the one that cuts most; blanks
    where no other cuts any."""
    for some in (list(SEPARATORS), [BLANKS]):
        counts = {}
        for separator in some:
            (most, lines), *_ = Counter(map(len, _fields(text, separator))).most_common(1)
            counts[separator] = (lines, most) if most > 1 else (0, 0)
        best = max(counts, key=lambda separator: counts[separator])
        if counts[best][0]:
            return best
    raise UserError(f"{path} has one column; give a table of inputs and a target, or its --separator.")


def _fields(text: str, separator: str) -> list[list[str]]:
    """The fields of the first lines that are not empty."""
    lines = StringIO(text, newline="")
    if separator == BLANKS:
        rows = (line.split() for line in lines)
    else:
        rows = csv.reader(lines, delimiter=separator[:1], skipinitialspace=True)
    try:
        return list(islice((row for row in rows if row), SAMPLE))
    except csv.Error:  # a field longer than any that is read: pandas says what is wrong
        return [[]]


def _decimal(rows: list[list[str]], separator: str) -> str:
    if separator == ",":
        return "."
    values = [field.strip() for row in rows for field in row]
    commas, points = (sum(bool(mark.fullmatch(value)) for value in values) for mark in (WITH_COMMA, WITH_POINT))
    return "," if commas > points else "."


def _check_header(names: list[str], path: Path) -> None:
    """Check that a file begins with names.

    Raises:
        UserError: a name twice, or numbers in their place.
    """
    named = [name.strip() for name in names if name.strip()]
    if twice := [name for name, times in Counter(named).items() if times > 1]:
        raise UserError(f"{path} has two columns named {twice[0]!r}; rename one of the two.")
    if named and all(re.fullmatch(r"[+-]?[\d.,]+([eE][+-]?\d+)?", name) for name in named):
        raise UserError(f"{path} begins with a line of numbers; give a first line with the names of its columns.")


def _parsed(text: str, path: Path, separator: str, decimal: str, form: Form) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are longer than the header
            frame: Any = pd.read_csv(
                StringIO(text), sep=separator, decimal=decimal, na_values=["?", *form.missing], index_col=False,
                skipinitialspace=True, low_memory=False,
            )  # fmt: skip
        return frame.apply(_german) if decimal == "," else frame
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning, ValueError, TypeError) as error:
        reason = _brief(error).removeprefix("Error tokenizing data. C error: ")
        raise UserError(
            f"{path} cannot be read as a table with the separator {separator!r} ({reason}); repair it, or give its "
            "--separator."
        ) from error


def _german(values: pd.Series) -> pd.Series:
    """A column as numbers if all have points between thousands: pandas' own option makes numbers of dates, too."""
    if pd.api.types.is_numeric_dtype(values) or values.isna().all():
        return values
    found = without_marks(values.dropna().astype(str), *GERMAN)
    return found.reindex(values.index) if found.notna().all() else values


def _brief(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(said.split()).rstrip(". ")[:200]
