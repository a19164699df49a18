"""The tidy table of scores as a file for other programs."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from bnnbench.errors import UserError
from bnnbench.files import write_file
from bnnbench.store.store import ResultStore

FORMATS = ("csv", "parquet", "json")


def export(
    store: ResultStore, format: str | None = None, out: str | os.PathLike[str] | None = None, **filters: Any
) -> int:
    """Write `store.scores(**filters)` to a file, whole or not at all, or to standard output.

    Args:
        format: one of FORMATS; None for what the name of the file ends in, csv if that is none of them.

    Returns:
        The number of rows.

    Raises:
        UserError: unknown format, missing pyarrow, a file that cannot be written, or one of the database itself.
    """
    if format is None:
        ending = Path(out or "").suffix.removeprefix(".").lower()
        format = ending if ending in FORMATS else "csv"
    if format not in FORMATS:
        raise UserError(f"There is no export format {format!r}; choose from {', '.join(FORMATS)}.")
    if format == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError("Parquet files need pyarrow; run `pip install 'bnnbench[parquet]'`, or export csv or json.")
    if out is not None:
        store.refuse_output(Path(out))
    frame = store.scores(**filters)
    data = _encode(frame, format)
    if out is not None:
        write_file(Path(out), data)
    elif format == "parquet":
        sys.stdout.buffer.write(data)
    else:
        sys.stdout.write(data.decode())
    return len(frame)


def _encode(frame: pd.DataFrame, format: str) -> bytes:
    if format == "csv":
        return frame.to_csv(index=False, lineterminator="\n").encode()
    if format == "json":
        # One row a line, so that two exports can be compared; NaN and infinities are no JSON, so they become null.
        rows = (json.dumps({name: _json(value) for name, value in row.items()}) for row in frame.to_dict("records"))
        return ("[\n" + ",\n".join(rows) + "\n]\n").encode()
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _json(value: Any) -> Any:
    return None if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value
