"""Files that are whole or absent, and what the file system refuses said in one sentence."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bnnbench.errors import StorageError

ELSEWHERE = "use another folder"


@contextmanager
def file_faults(action: str, path: Path, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Turn an OSError into a StorageError.

    Args:
        action: `write` or `read`.
        elsewhere: the remedy where permissions are missing: how to use another place.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = f"free some disk space and run again, or {elsewhere}"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = f"change the permissions or {elsewhere}"
        else:
            remedy = f"check the path and the disk, or {elsewhere}"
        reason = error.strerror or type(error).__name__
        raise StorageError(f"Cannot {action} {path} ({reason}); {remedy}.") from error


def write_file(path: Path, data: bytes, elsewhere: str = ELSEWHERE) -> None:
    """Write a file so that it is whole or absent, whatever happens; makes its folder.

    Raises:
        StorageError: it cannot be written; the sentence ends in `elsewhere`.
    """
    with written(path, elsewhere) as file:
        file.write(data)


@contextmanager
def written(path: Path, elsewhere: str = ELSEWHERE) -> Iterator[BinaryIO]:
    """The same of a file that is written piece by piece: it is there when all went well."""
    with file_faults("write", path, elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name[:20]}.{uuid.uuid4().hex}")
        try:
            with draft.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        if os.name == "posix":  # the new name must be on the disk, too, before a database speaks of it
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
