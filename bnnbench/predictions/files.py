"""Which file holds the predictions of which split: `10fold-3.npz` or `10fold-3.csv`, in a folder or alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnnbench import names
from bnnbench.arguments import is_special
from bnnbench.errors import UserError
from bnnbench.files import file_faults
from bnnbench.predictions.npz import read_npz
from bnnbench.predictions.table import read_csv

ENDINGS = (".npz", ".csv")


def files_of(place: Path, rule: str, count: int, splits: Sequence[int] | None) -> dict[int, Path]:
    """Index of each split that is to be scored -> the file of its predictions.

    Args:
        place: a folder with a file for each split, or the file of one.
        rule: the split rule. count: number of its splits.
        splits: indices of the splits that are wanted, None for all of a folder, and for the one that a file names.

    Raises:
        UserError: there is no such place, a split has no file or two, or a file names no split.
    """
    if is_special(place) or not (place.is_dir() or place.is_file()):
        raise UserError(f"There is no file and no folder {place} of predictions; `bnnbench splits` shows their names.")
    if place.is_dir():
        return _of_folder(place, rule, count, range(count) if splits is None else splits)
    if place.suffix.lower() not in ENDINGS:
        raise UserError(f"{place.name} ends in neither .npz nor .csv; write predictions as one of these.")
    known = {names.split(rule, index): index for index in range(count)}
    wanted = list(known.values()) if splits is None else list(splits)
    if place.stem in known and known[place.stem] in wanted:
        return {known[place.stem]: place}
    if len(wanted) == 1 and place.stem not in known:
        return {wanted[0]: place}
    asked = "names no split" if place.stem not in known else "is none of the splits of --splits"
    raise UserError(f"{place.name} {asked}; call it {_shown(rule, wanted)}, or name its split by --splits.")


def _of_folder(folder: Path, rule: str, count: int, splits: Sequence[int]) -> dict[int, Path]:
    with file_faults("read", folder, "give another folder"):
        present = {path.name: path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS}
    known = {names.split(rule, index) + ending: index for index in range(count) for ending in ENDINGS}
    if strange := [name for name in present if name not in known]:
        raise UserError(f"{strange[0]} names no split of the rule {rule!r}; these are {_shown(rule, range(count))}.")
    found: dict[int, Path] = {}
    for name, path in present.items():
        if known[name] in found:
            raise UserError(f"There are {found[known[name]].name} and {name}; remove the one that is not to be scored.")
        found[known[name]] = path
    if missing := [index for index in splits if index not in found]:
        raise UserError(
            f"{folder} has no predictions of {names.split(rule, missing[0])} ({len(missing)} of {len(splits)} splits "
            f"are missing); add {names.split(rule, missing[0])}.npz, or name the splits that are there by --splits."
        )
    return {index: found[index] for index in splits}


def read(path: Path, classes: Sequence[Any]) -> Mapping[str, np.ndarray]:
    """The arrays of a file by name.

    Raises:
        UserError: it cannot be read as what its name says.
    """
    if is_special(path):
        raise UserError(f"{path.name} is a pipe, a socket or a device; give a file.")
    return read_npz(path) if path.suffix.lower() == ".npz" else read_csv(path, classes)


def _shown(rule: str, indices: Sequence[int]) -> str:
    """`10fold-0.npz to 10fold-9.npz`."""
    first, last = names.split(rule, indices[0]), names.split(rule, indices[-1])
    return f"{first}.npz" + f" to {last}.npz" * (len(indices) > 1)
