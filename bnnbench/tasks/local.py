"""Import of data sets from a local copy."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bnnbench.arguments import path_of
from bnnbench.errors import UserError
from bnnbench.tasks.card import Card
from bnnbench.tasks.files import forms, keep, whole


def import_local(card: Card, path: str | os.PathLike[str], root: Path) -> None:
    """Copy a data set from a folder, a zip or tar archive, or a single file.

    Files are recognised by name and checksum, wherever they lie inside: the set's own folder, a folder laid out like
    the data root and a clone of the source all work. Nothing is written unless all files are found.

    Raises:
        UserError: the path does not exist, a file is not in it or differs from the card, or the data root cannot be
            written.
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
        for form, load in _contents(path, set(wanted)):
            if form in wanted and wanted[form] not in found:
                name, raw = wanted[form], load()
                if whole(card, name, form, raw) is None:
                    altered.add(name)
                else:
                    found[name] = form, raw
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error}).") from error
    lacking = [name for name in card.files if name not in found]
    if lacking:
        first = lacking[0]
        fault = "does not match its checksum" if first in altered else "is not there"
        more = len(lacking) - 1
        others = f", nor {'are' if more > 1 else 'is'} {more} other{'s' if more > 1 else ''} usable" if more else ""
        raise UserError(f"{path} is no copy of {card.name}: {first} {fault}{others}; nothing was imported.")
    for name, (form, raw) in found.items():
        keep(card, root, name, form, raw)


def _contents(path: Path, wanted: set[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names and readers of all files in a folder or archive, or of the one file.

    An archive that is itself a file of the set (`wanted`) is not opened.
    """
    if path.name in wanted and path.is_file():
        yield path.name, path.read_bytes
    elif path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                yield name, (Path(folder) / name).read_bytes
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                yield Path(entry.filename).name, lambda entry=entry: archive.read(entry)
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    yield Path(member.name).name, stream.read
    else:
        yield path.name, path.read_bytes
