"""Files of the data sets: where they lie, and whether they are whole and unaltered.

Every file is checked against the checksum of its card, when it arrives and each time it is read. The files of a
compressed set may lie gzipped, by whatever gzip, or plain: it is their content that is checked.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from bnnbench.arguments import is_special, path_of
from bnnbench.data.cards import REPOSITORY, Card, card, names
from bnnbench.errors import UserError
from bnnbench.files import write_file

LARGEST = 2**30  # bytes of a file, uncompressed: more than any file of a data set has


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The data root: the argument, else $BNNBENCH_DATA, else the checkout's cache, else the user's cache folder."""
    if root is not None:
        return path_of(root, "--data-dir")
    if chosen := os.environ.get("BNNBENCH_DATA"):
        return path_of(chosen, "$BNNBENCH_DATA")
    if (REPOSITORY / "pyproject.toml").is_file() and (REPOSITORY / "datasets").is_dir():
        return REPOSITORY / "datasets" / "cache"
    import pooch

    return path_of(pooch.os_cache("bnnbench"), "The data root")


def forms(card: Card, name: str) -> tuple[str, ...]:
    """The names under which a file may lie, the one that is read first in front."""
    return (name, f"{name}.gz") if card.compressed else (name,)


def where(card: Card, root: Path, name: str) -> Path | None:
    """The path of a file in the form in which it lies there, None if it is missing."""
    for form in forms(card, name):
        path = root / card.folder / form
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # it may be there: reading it gives the reason
        if not is_special(path):
            return path
    return None


def present(card: Card, root: Path) -> bool:
    """Whether all files are there; their content is checked only when they are read."""
    return all(where(card, root, name) for name in card.files)


def whole(card: Card, name: str, form: str, raw: bytes) -> bytes | None:
    """The content of a file, uncompressed if the set is a compressed one, or None if it is not what the card states.

    Args:
        name: the file in `card.files`.
        form: the name that it goes by, one of `forms`.
        raw: its bytes.
    """
    try:
        content = unzipped(raw) if form != name else raw
    except (OSError, EOFError, zlib.error):
        return None
    kind, _, expected = card.files[name].rpartition(":")
    return content if hashlib.new(kind or "sha256", content, usedforsecurity=False).hexdigest() == expected else None


def unzipped(raw: bytes) -> bytes:
    """The content of a gzipped file.

    Raises:
        OSError: no gzipped file, a damaged one, or one of more than LARGEST bytes.
    """
    with gzip.GzipFile(fileobj=BytesIO(raw)) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(f"more than {LARGEST} bytes uncompressed")
    return content


def read(card: Card, root: Path, name: str) -> bytes:
    """Content of one file of a data set, uncompressed if the set is a compressed one.

    Raises:
        UserError: the file is missing, unreadable or altered.
    """
    path = where(card, root, name) or root / card.folder / forms(card, name)[-1]
    try:
        content = whole(card, name, path.name, path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path} is missing; {card.if_missing}.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    if content is None:
        raise UserError(f"{path} does not match its checksum; {card.if_altered}.")
    return content


class State(NamedTuple):
    """One row of `bnnbench data verify`."""

    name: str
    state: str  # ok, missing or corrupt
    files: int  # how many the card lists
    bad: tuple[str, ...]  # the missing or corrupt ones
    folder: str  # where they belong, or where the data come from if they need no file


def verify(root: Path, cards: tuple[Card, ...] | None = None) -> list[State]:
    """Check every file of all data sets (or of these cards) against its checksum."""
    rows = []
    for entry in cards if cards is not None else tuple(card(name) for name in names()):
        found = {name: check(entry, root, name) for name in entry.files}
        missing = tuple(name for name in found if found[name] == "missing")
        corrupt = tuple(name for name in found if found[name] == "corrupt")
        state = "corrupt" if corrupt else "missing" if missing else "ok"
        folder = str(root / entry.folder) if entry.files else entry.origin
        rows.append(State(entry.name, state, len(entry.files), corrupt + missing, folder))
    return rows


def check(card: Card, root: Path, name: str) -> str:
    """`ok`, `missing`, or `corrupt`: altered or unreadable."""
    path = where(card, root, name)
    if path is None:
        return "missing"
    try:
        return "corrupt" if whole(card, name, path.name, path.read_bytes()) is None else "ok"
    except OSError:
        return "corrupt"


def keep(card: Card, root: Path, name: str, form: str, raw: bytes) -> None:
    """Put a checked file into its folder; a plain file that would be read in place of a gzipped one goes.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = root / card.folder
    write_file(folder / form, raw, elsewhere="choose another folder with --data-dir or $BNNBENCH_DATA")
    if form != name:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"Cannot remove {folder / name} ({error.strerror}), which would be read instead of {form}; remove it."
            ) from error
