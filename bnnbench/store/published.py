"""Numbers from the literature: the table `published`, read from published.csv."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

from bnnbench.arguments import is_special
from bnnbench.errors import UserError
from bnnbench.files import file_faults
from bnnbench.store.tables import Published

COLUMNS = [column.name for column in Published.__table__.columns if column.name != "id"]
_NUMBERS = {"value": float, "spread": float, "n_splits": int}
_REQUIRED = [column.name for column in Published.__table__.columns if not column.nullable and column.name != "id"]


def read_published(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows of the file.

    Raises:
        UserError: it is missing, or not such a table.
    """
    path = Path(path)
    if is_special(path):
        raise UserError(f"{path} is a pipe, a socket or a device; give the file published.csv.")
    with file_faults("read", path):
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
            raise UserError(f"{path} is not a CSV file ({error}); give the file published.csv.") from error
    if lacking := [name for name in COLUMNS if name not in frame.columns]:
        raise UserError(f"{path} lacks the columns {', '.join(lacking)}; give a file with those of published.csv.")
    return [
        {name: _cell(name, row[name], f"{path}, row {number}") for name in COLUMNS}
        for number, row in enumerate(frame.to_dict("records"), start=2)
    ]


def _cell(name: str, text: str, place: str) -> str | float | None:
    try:
        value = _NUMBERS.get(name, str)(text) if text else None
    except ValueError:
        value = math.nan
    if (value is None and name in _REQUIRED) or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(f"{place}: {text!r} cannot stand in the column {name}; mend the file.")
    return value
