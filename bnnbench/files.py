"""Files that are whole or absent, and what the file system refuses said in one sentence."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bnnbench.errors import StorageError


@contextmanager
def file_faults(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a UserError; `action` is `write` or `read`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "free some disk space and run again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "change the permissions or use another folder"
        else:
            remedy = "check the path and the disk"
        reason = error.strerror or type(error).__name__
        raise StorageError(f"Cannot {action} {path} ({reason}); {remedy}.") from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or absent, whatever happens; makes its folder."""
    with file_faults("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name[:20]}.{uuid.uuid4().hex}")
        try:
            with draft.open("xb") as file:
                file.write(data)
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
