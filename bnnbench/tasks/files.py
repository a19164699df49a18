"""Files of the data sets: where they lie, and whether they are whole and unaltered.

Every file is checked against the sha256 of its card, when it arrives and each time it is read.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from bnnbench.errors import UserError
from bnnbench.tasks.card import REPOSITORY, Card, card, names


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The data root: the argument, else $BNNBENCH_DATA, else the checkout's cache, else the user's cache folder."""
    chosen = root or os.environ.get("BNNBENCH_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if (REPOSITORY / "pyproject.toml").is_file() and (REPOSITORY / "datasets").is_dir():
        return REPOSITORY / "datasets" / "cache"
    import pooch

    return Path(pooch.os_cache("bnnbench"))


def present(card: Card, root: Path) -> bool:
    """Whether all files are there; their content is checked only when they are read."""
    return all((root / card.folder / name).is_file() for name in card.files)


def read(card: Card, root: Path, name: str) -> bytes:
    """Content of one file of a data set.

    Raises:
        UserError: the file is missing, unreadable or altered.
    """
    path = root / card.folder / name
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path} is missing; run `bnnbench data fetch {card.name}`.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    if sha256(content) != card.files[name]:
        raise UserError(f"{path} does not match its checksum; run `bnnbench data fetch {card.name} --force`.")
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
        folder = root / entry.folder
        sums = {name: sha256_at(folder / name) for name in entry.files}
        missing = tuple(name for name in sums if sums[name] is None)
        corrupt = tuple(name for name in sums if sums[name] not in (None, entry.files[name]))
        state = "corrupt" if corrupt else "missing" if missing else "ok"
        where = str(folder) if entry.files else entry.origin
        rows.append(State(entry.name, state, len(entry.files), corrupt + missing, where))
    return rows


def place(content: bytes, path: Path) -> None:
    """Write beside the target, then rename, so that nobody ever sees half a file."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot write {path} ({error.strerror}); choose another folder with --data-dir or $BNNBENCH_DATA."
        ) from error


def sha256(content: bytes) -> str:
    """The checksum in hex."""
    return hashlib.sha256(content).hexdigest()


def sha256_at(path: Path) -> str | None:
    """The checksum of a file, None if there is no such file, `unreadable` if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return "unreadable"
