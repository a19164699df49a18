"""Folders of artifacts: on a disk, or in an object store that fsspec reaches (`s3://`, `gs://`, `memory://` ...).

An object is written as a whole by its store; a file of a disk is made so by `write_file`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
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


def folder_of(value: Any, what: str) -> Folder:
    """The folder that a path or a URL names.

    Raises:
        UserError: no path, a protocol that fsspec does not know, a library that is missing, or a password.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or "://" not in text:
        return path_of(value, what).absolute()
    url = urlsplit(text)
    if url.scheme == "file":
        return path_of(url2pathname(url.path), what).absolute()
    if "@" in url.netloc:
        raise UserError(f"{what} holds a user or a password, which would be stored; give these by the environment.")
    try:
        folder = UPath(text.rstrip("/"))
        _ = folder.fs
    except ImportError:
        name = EXTRAS.get(url.scheme)
        remedy = f"`pip install 'bnnbench[{name}]'`" if name else "the library that fsspec's documentation names"
        raise UserError(f"{what} {text} needs a library that is not installed; add {remedy}.") from None
    except ValueError:
        raise UserError(f"{what} {text} is of no store that fsspec knows; give a folder or s3://bucket/name.") from None
    except Exception as error:
        raise _unreachable("use", text, error) from error
    return folder


@contextmanager
def faults(action: str, place: Folder, elsewhere: str = "use another folder") -> Iterator[None]:
    """What a disk or an object store refuses, in one sentence.

    Raises:
        StorageError: it refuses to read, write or remove; no network or no credentials, too.
    """
    if isinstance(place, Path):
        with file_faults(action, place, elsewhere):
            yield
        return
    try:
        yield
    except Exception as error:  # each store has exceptions of its own
        raise _unreachable(action, str(place), error) from error


def _unreachable(action: str, place: str, error: Exception) -> StorageError:
    said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return StorageError(f"Cannot {action} {place} ({said}); check the address, the credentials and the network.")


def check_folder(folder: Folder) -> None:
    """Refuse an unusable folder before anything is computed: a posterior that cannot be written would be lost.

    Raises:
        UserError: it is no folder, or read-only. StorageError: an object store refuses.
    """
    if not isinstance(folder, Path):
        if content(folder / MARK) is None:
            put(folder / MARK, _MARKED)
        return
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}, where artifacts go, is not a folder; remove it, or name another with --artifacts.")
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (nearest.is_dir() and may(nearest, os.W_OK)):
        raise UserError(f"Artifacts cannot be written to {folder}, for {nearest} is read-only; change its permissions.")


def content(file: Folder) -> bytes | None:
    """The bytes of a file, None of one that is not there."""
    with faults("read", file):
        return file.read_bytes() if file.is_file() else None


def put(file: Folder, data: bytes) -> None:
    """Write a file so that it is whole or absent."""
    if isinstance(file, Path):
        write_file(file, data)
        return
    with faults("write", file):
        if file.protocol not in WITHOUT_FOLDERS:
            file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def size_of(file: Folder) -> int:
    """The bytes of a file; 0 if there is none."""
    with faults("read", file):
        return file.stat().st_size if file.is_file() else 0


def remove(file: Folder) -> None:
    """Remove a file, and its folder on a disk if that is empty then."""
    with faults("remove", file, "remove it by hand"):
        file.unlink(missing_ok=True)
    if isinstance(file, Path):
        with suppress(OSError):  # not empty, or not there
            file.parent.rmdir()


def present(base: Folder, paths: Collection[str]) -> set[str]:
    """Those of some paths below a folder where there is a file; an object store is asked once, not for each."""
    if isinstance(base, Path):
        return {path for path in paths if (base / path).is_file()}
    with faults("read", base):
        there = set(base.fs.find(base.path))
        return {path for path in paths if (base / path).path in there}


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
    if one.resolve() == other.resolve():
        return True
    try:
        return isinstance(one, Path) and isinstance(other, Path) and one.samefile(other)
    except OSError:  # one of them does not exist
        return False
