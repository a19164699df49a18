"""Folders of artifacts: on a disk, or in an object store that fsspec reaches (`s3://`, `gs://`, `memory://` ...).

An object is written as a whole by its store; a file of a disk is made so by `write_file`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

from upath import UPath

from bnnbench.arguments import path_of
from bnnbench.errors import StorageError, UserError
from bnnbench.files import file_faults, write_file
from bnnbench.store.address import may

Folder = Path | UPath
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}  # protocol -> extra of bnnbench that brings its library
WITHOUT_FOLDERS = {*EXTRAS, "abfs", "abfss", "az"}  # where making a folder would make its bucket
MARK = "bnnbench.txt"  # an object that says what the others are, and that they can be written
_MARKED = b"Artifacts of bnnbench: named arrays in files that are called by their sha256.\n"
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^/?#]*)(?P<path>/[^?#]*)?", re.IGNORECASE)


def folder_of(value: Any, what: str) -> Folder:
    """The folder that a path or a URL names; nothing is asked of an object store yet, and its library may be missing.

    Raises:
        UserError: no path, a protocol that fsspec does not know, no bucket, or a URL that holds more than a place.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or "://" not in text:
        return path_of(value, what).absolute()
    if "::" in text or not (url := _URL.fullmatch(text)):
        raise UserError(f"{what} must be a folder, or a URL like s3://bucket/name without anything behind it.")
    scheme, host, path = url["scheme"].lower(), url["host"], url["path"] or ""
    if scheme in {"file", "local"} and host in {"", "localhost"}:
        return path_of(url2pathname(path), what).absolute()
    if not host or scheme in {"file", "local"}:
        raise UserError(f"{what} {text} names no place; give a folder or s3://bucket/name.")
    if "@" in host:
        raise UserError(f"{what} holds a user, an account or a password; give these by the environment.")
    try:  # without the listings that fsspec keeps: other machines write there, too
        return UPath(f"{scheme}://{host}{path.rstrip('/')}", use_listings_cache=False)
    except ValueError:
        raise UserError(f"{what} {text} is of no store that fsspec knows; give a folder or s3://bucket/name.") from None


@contextmanager
def faults(action: str, place: Folder, elsewhere: str = "use another folder") -> Iterator[None]:
    """What a disk or an object store refuses, in one sentence.

    Raises:
        UserError: the library of an object store is missing. StorageError: it refuses to read, write or remove; no
            network or no credentials, too.
    """
    if isinstance(place, Path):
        with file_faults(action, place, elsewhere):
            yield
        return
    try:
        yield
    except ImportError as error:
        name = EXTRAS.get(place.protocol)
        remedy = f"`pip install 'bnnbench[{name}]'`" if name else f"what fsspec asks for ({error})"
        raise UserError(f"{place} needs a library that is not installed; add {remedy}.") from None
    except Exception as error:  # each store has exceptions of its own
        said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise StorageError(
            f"Cannot {action} {place} ({said}); check the address, the credentials and the network."
        ) from error


def check_folder(folder: Folder) -> None:
    """Refuse an unusable folder before anything is computed, and change nothing: a posterior that cannot be written
    would be lost.

    Raises:
        UserError: it is no folder, or read-only. StorageError: an object store refuses to be read.
    """
    if not isinstance(folder, Path):
        content(folder / MARK)
        return
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}, where artifacts go, is not a folder; remove it, or name another with --artifacts.")
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (nearest.is_dir() and may(nearest, os.W_OK)):
        raise UserError(f"Artifacts cannot be written to {folder}, for {nearest} is read-only; change its permissions.")


def mark(folder: Folder) -> None:
    """Write into an object store what the objects are, once: so it is known that it can be written.

    Raises:
        StorageError: it cannot.
    """
    if not isinstance(folder, Path) and content(folder / MARK) is None:
        put(folder / MARK, _MARKED)


def content(file: Folder) -> bytes | None:
    """The bytes of a file, None of one that is not there."""
    with faults("read", file):
        if isinstance(file, Path):
            return file.read_bytes() if file.is_file() else None
        try:  # `is_file` takes whatever goes wrong for "no"
            return bytes(file.fs.cat_file(file.path))  # type: ignore[arg-type] # never text
        except FileNotFoundError:
            return None


def put(file: Folder, data: bytes) -> None:
    """Write a file so that it is whole or absent."""
    if isinstance(file, Path):
        write_file(file, data)
        return
    with faults("write", file):
        if file.protocol not in WITHOUT_FOLDERS:
            file.parent.mkdir(parents=True, exist_ok=True)
        file.fs.pipe_file(file.path, data)


def size_of(file: Folder) -> int:
    """The bytes of a file; 0 if there is none."""
    with faults("read", file):
        if isinstance(file, Path):
            return file.stat().st_size if file.is_file() else 0
        try:
            return file.fs.info(file.path)["size"] or 0
        except FileNotFoundError:
            return 0


def sizes(base: Folder, paths: Iterable[str]) -> dict[str, int]:
    """Bytes of the files that there are of some paths below a folder.

    An object store is asked for the contents of the folders that they lie in, not for each.
    """
    wanted = dict.fromkeys(paths)
    with faults("read", base):
        if isinstance(base, Path):
            return {path: (base / path).stat().st_size for path in wanted if (base / path).is_file()}
        there: dict[str, int] = {}
        for folder in sorted({(base / path).parent.path for path in wanted}):
            with suppress(FileNotFoundError):  # `find` takes whatever goes wrong for an empty folder
                there |= {file["name"]: file["size"] for file in base.fs.ls(folder, detail=True)}
        return {path: there[place] for path in wanted if (place := (base / path).path) in there}


def remove(base: Folder, paths: Sequence[str]) -> None:
    """Remove files below a folder, all of which are there, and on a disk the folders that are empty then."""
    if not isinstance(base, Path):
        with faults("remove from", base):
            if paths:
                base.fs.rm([(base / path).path for path in paths])
        return
    for file in map(base.joinpath, paths):
        with file_faults("remove", file, "remove it by hand"):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or not there
            file.parent.rmdir()


def below(file: Folder, base: Folder) -> str:
    """The path of a file from a folder that it lies in, as it is stored."""
    return file.relative_to(base).as_posix()  # type: ignore[arg-type] # both on a disk, or both in one object store


def within(file: Folder, folder: Folder) -> bool:
    """Whether it lies in a folder, wherever links and dots lead."""
    if isinstance(file, Path) != isinstance(folder, Path):
        return False
    return file.resolve().is_relative_to(folder.resolve())  # type: ignore[arg-type]


def same(one: Folder, other: Folder) -> bool:
    """Whether two names are of one folder."""
    if str(one.resolve()) == str(other.resolve()):
        return True
    try:
        return isinstance(one, Path) and isinstance(other, Path) and one.samefile(other)
    except OSError:  # one of them does not exist
        return False
