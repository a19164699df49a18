"""Import of data sets from a local copy."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bnnbench.arguments import path_of
from bnnbench.data.cards import Card
from bnnbench.data.files import LARGEST, forms, keep, whole
from bnnbench.errors import UserError


class Found(NamedTuple):
    """A file in a folder or archive: its name, its size in bytes when it is read, and what reads it."""

    name: str
    size: int
    read: Callable[[], bytes]


def import_local(card: Card, path: str | os.PathLike[str], root: Path) -> None:
    """Copy a data set from a folder, a zip or tar archive, or a single file.

    Files are recognised by name and checksum, wherever they lie inside: the set's own folder, a folder laid out like
    the data root and a clone of the source all work. Nothing is written unless all files are found.

    Raises:
        UserError: the path does not exist, it is damaged, a file is not in it, differs from the card or is larger than
            any file of a data set, or the data root cannot be written.
    """
    path = path_of(path, "PATH")
    if not card.files:
        raise UserError(f"{card.name} needs no files ({card.origin}).")
    if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        raise UserError(f"There is no file or folder {path}.")
    wanted = {form: name for name in card.files for form in forms(card, name)}
    found: dict[str, tuple[str, bytes]] = {}
    altered = set()
    try:
        for form, size, load in _contents(path, set(wanted)):
            if form in wanted and wanted[form] not in found:
                if size > LARGEST:
                    raise UserError(f"{form} in {path} has {size / 2**30:.1f} GiB, more than any file of a data set.")
                name, raw = wanted[form], load()
                if whole(card, name, form, raw) is None:
                    altered.add(name)
                else:
                    found[name] = form, raw
    except UserError:
        raise
    except Exception as error:  # damaged archives raise errors of a dozen types
        raise UserError(f"{path} cannot be read ({str(error) or type(error).__name__}).") from error
    lacking = [name for name in card.files if name not in found]
    if lacking:
        first = lacking[0]
        fault = "does not match its checksum" if first in altered else "is not there"
        more = len(lacking) - 1
        others = f", nor {'are' if more > 1 else 'is'} {more} other{'s' if more > 1 else ''} usable" if more else ""
        raise UserError(f"{path} is not a copy of {card.name}: {first} {fault}{others}; nothing was imported.")
    for name, (form, raw) in found.items():
        keep(card, root, name, form, raw)


def _contents(path: Path, wanted: set[str]) -> Iterator[Found]:
    """All files in a folder or archive, or the one file.

    An archive that is itself a file of the set (`wanted`) is not opened.
    """
    if path.name in wanted and path.is_file():
        yield _plain(path)
    elif path.is_dir():
        for folder, _, files in os.walk(path):
            yield from (_plain(Path(folder) / name) for name in files if (Path(folder) / name).is_file())
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = Path(entry.filename).name
                yield Found(name, entry.file_size, lambda entry=entry: archive.read(entry))
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    yield Found(Path(member.name).name, member.size, stream.read)
    else:
        yield _plain(path)


def _plain(path: Path) -> Found:
    return Found(path.name, path.stat().st_size, path.read_bytes)
