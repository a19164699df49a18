"""Predictions in a .csv file, one line a row: a layout that any language can write.

| columns | arrays |
|---|---|
| `id` | `ids` |
| `mean`, `scale` | `mean`, `scale` |
| `sample_1`, `sample_2` ... | `samples` |
| `quantile_0.05` ... | `quantiles`, `levels` |
| `bin_LOW_HIGH` ..., each from the edge where the last ended | `edges`, `probs` |
| `prob_LABEL` or `log_prob_LABEL`, one for each class | `probs`, `log_probs` |
| `component`: a mixture has one line for each row and component | the axis S |
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnnbench.errors import UserError
from bnnbench.files import file_faults
from bnnbench.predictions.split import SHOWN

MOST_BYTES = 2**30
ID, COMPONENT = "id", "component"
PLAIN = ("mean", "scale")
FAMILY = re.compile(r"(sample|quantile|bin|prob|log_prob)_(.+)")
DRAWN = ("sample", "quantile")  # families that have no components


def read_csv(path: Path, classes: Sequence[Any]) -> dict[str, np.ndarray]:
    """The arrays of a file by name, as `forms` takes them.

    Args:
        classes: labels of the classes, in the order of their indices.

    Raises:
        UserError: it is no such table, or a field holds no number.
    """
    frame = _frame(path)
    what, columns = path.name, list(frame.columns)
    if ID not in columns:
        raise UserError(f"{what} has no column {ID!r}, but {_listed(columns)}; {_separator(columns)}")
    families = _families(what, columns)
    values = {name: _numbers(what, frame[name], name) for name in columns}
    ids, components = values[ID], values.get(COMPONENT)
    if components is None:
        block = {name: column[None] for name, column in values.items()}
    elif found := [family for family in DRAWN if family in families]:
        raise UserError(
            f"{what} has the columns {COMPONENT!r} and {found[0]}_...; these have no components, leave it out."
        )
    else:
        ids, block = _stacked(what, ids, components, values)
    arrays = {"ids": ids} | {name: block[name] for name in PLAIN if name in block}
    for family, members in families.items():
        arrays |= _MADE[family](what, members, block, classes)
    return arrays


def _frame(path: Path) -> pd.DataFrame:
    """The table as texts."""
    with file_faults("read", path, "give another file"):
        if (size := path.stat().st_size) > MOST_BYTES:
            raise UserError(f"{path.name} has {size / 2**30:.1f} GiB, and at most 1 is taken; write an .npz file.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # lines that are longer than the header
                return pd.read_csv(
                    path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False, skipinitialspace=True
                ).rename(columns=str.strip)
        except UnicodeDecodeError:
            raise UserError(f"{path.name} is no text in UTF-8; save it in this encoding.") from None
        except (ValueError, pd.errors.ParserWarning) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise UserError(
                f"{path.name} is no table with commas ({reason:.120}); write one line a row, with as many fields as "
                "the header, and decimal points."
            ) from None


def _families(what: str, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Family -> what follows in the names of its columns -> their names."""
    found: dict[str, dict[str, str]] = {}
    for name in columns:
        if match := FAMILY.fullmatch(name):
            found.setdefault(match[1], {})[match[2]] = name
        elif name not in (ID, COMPONENT, *PLAIN):
            hint = " (row names? leave them out)" if name.startswith("Unnamed") else ""
            raise UserError(
                f"{what} has the column {name[:SHOWN]!r}{hint}; there are id, component, mean, scale, sample_1, "
                "quantile_0.05, bin_LOW_HIGH, prob_LABEL and log_prob_LABEL."
            )
    return found


def _numbers(what: str, column: Any, name: str) -> np.ndarray:
    """A column of texts as numbers, to the last digit."""
    texts = column.to_numpy(dtype=object)
    try:
        return texts.astype(np.float64)
    except (ValueError, TypeError):
        line, text = next((i, text) for i, text in enumerate(texts) if not _is_number(text))
    missing = not isinstance(text, str) or text.strip() in ("", "NA")
    shown = "nothing" if missing else repr(text[:SHOWN])
    point = not missing and _is_number(text.replace(",", "."))
    remedy = "write decimal points" if point else "every row needs a value" if missing else "give numbers"
    raise UserError(f"{what}: the column {name[:SHOWN]!r} holds {shown} in line {line + 2}; {remedy}.")


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (ValueError, TypeError):
        return False
    return not (isinstance(text, float) and np.isnan(text))  # pandas' mark of a field that is not there


def _stacked(
    what: str, ids: np.ndarray, components: np.ndarray, values: dict[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The ids once, [N], and each column as [S, N]."""
    rows, row = np.unique(ids, return_inverse=True)
    labels, part = np.unique(components, return_inverse=True)
    place = part * len(rows) + row
    if len(place) != len(rows) * len(labels) or len(np.unique(place)) != len(place):
        raise UserError(
            f"{what}: {len(labels)} components of {len(rows)} rows need {len(labels) * len(rows)} different lines, and "
            f"there are {len(np.unique(place))} in {len(place)}; give every component of every row once."
        )
    order = np.argsort(place)
    return rows, {name: column[order].reshape(len(labels), len(rows)) for name, column in values.items()}


Block = dict[str, np.ndarray]


def _samples(what: str, members: dict[str, str], block: Block, classes: Sequence[Any]) -> Block:
    del what, classes
    return {"samples": np.concatenate([block[name] for name in members.values()])}


def _quantiles(what: str, members: dict[str, str], block: Block, classes: Sequence[Any]) -> Block:
    del classes
    levels = np.array([_number(what, level, name) for level, name in members.items()])
    order, names = np.argsort(levels, kind="stable"), list(members.values())
    return {"quantiles": np.concatenate([block[names[i]] for i in order]), "levels": levels[order]}


def _bins(what: str, members: dict[str, str], block: Block, classes: Sequence[Any]) -> Block:
    del classes
    edges: list[float] = []
    for ends, name in members.items():
        low, _, high = ends.partition("_")
        start, end = (_number(what, text, name) for text in (low, high))
        if edges and edges[-1] != start:
            where = f"the last ended, at {edges[-1]:g}"
            raise UserError(f"{what}: the column {name[:SHOWN]!r} does not begin where {where}; leave no gap.")
        edges += [end] if edges else [start, end]
    return {"edges": np.array(edges), "probs": np.stack([block[name] for name in members.values()], -1)}


def _number(what: str, text: str, name: str) -> float:
    if not _is_number(text):
        raise UserError(
            f"{what}: the name of the column {name[:SHOWN]!r} ends in no number; write as in quantile_0.05."
        )
    return float(text)


def _probs(what: str, members: dict[str, str], block: Block, classes: Sequence[Any]) -> Block:
    return {"probs": _by_class(what, members, block, classes)}


def _log_probs(what: str, members: dict[str, str], block: Block, classes: Sequence[Any]) -> Block:
    return {"log_probs": _by_class(what, members, block, classes)}


def _by_class(what: str, members: dict[str, str], block: Block, classes: Sequence[Any]) -> np.ndarray:
    known = [str(label) for label in classes]
    wrong = [label for label in members if label not in known] or [label for label in known if label not in members]
    if wrong:
        fault = "is no class of the task" if wrong[0] in members else "has no column"
        raise UserError(f"{what}: {wrong[0][:SHOWN]!r} {fault}; the classes are {', '.join(known)[:200] or 'none'}.")
    return np.stack([block[members[label]] for label in known], -1)


_MADE = {"sample": _samples, "quantile": _quantiles, "bin": _bins, "prob": _probs, "log_prob": _log_probs}


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(repr(name[:SHOWN]) for name in columns[:6]) + ", ..." * (len(columns) > 6)


def _separator(columns: Sequence[str]) -> str:
    if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
        return "separate by commas, and write decimal points."
    return "give the ids of the test rows."
