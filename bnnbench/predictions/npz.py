"""Arrays of an .npz file that somebody else has made: what it claims is checked before anything is unpacked, and no
object is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import IO, Any

import numpy as np

from bnnbench.errors import UserError
from bnnbench.files import file_faults
from bnnbench.predictions.split import described

MOST_BYTES = 2**32  # of all arrays, unpacked
MOST_ARRAYS = 16
ENDING = ".npy"
# What zipfile, zlib and numpy raise of a file that is damaged, encrypted or packed in an unusual way.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OverflowError)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name.

    Raises:
        UserError: it is no such file, is damaged, or holds objects or more than can be scored.
    """
    what = path.name
    with file_faults("read", path, "give another file"):
        try:
            with zipfile.ZipFile(path) as archive:
                _refuse_too_much(what, archive.infolist())
                return {info.filename.removesuffix(ENDING): _array(what, archive, info) for info in archive.infolist()}
        except DAMAGED as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise UserError(f"{what} is no sound .npz file ({reason}); write it by np.savez.") from None


def _refuse_too_much(what: str, infos: list[zipfile.ZipInfo]) -> None:
    names = Counter(info.filename for info in infos)
    if len(infos) > MOST_ARRAYS:
        raise UserError(f"{what} holds {len(infos):,} arrays, and no form of predictions has more than five.")
    for name, count in names.items():
        if not name.endswith(ENDING):
            raise UserError(f"{what} holds {name[:80]!r}, which is no array; write it by np.savez.")
        if count > 1:
            raise UserError(f"{what} holds the array {name.removesuffix(ENDING)[:80]!r} {count} times; write it once.")
    if (total := sum(info.file_size for info in infos)) > MOST_BYTES:
        size = f"{total / 2**30:,.1f} GiB"
        raise UserError(f"{what} unpacks to {size}, and at most {MOST_BYTES >> 30} GiB are taken; give fewer samples.")


def _array(what: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    name = info.filename.removesuffix(ENDING)
    with archive.open(info) as file:
        shape, dtype = _header(file)
        if dtype.hasobject or dtype.kind == "V":
            kind = "objects" if dtype.hasobject else described(np.empty(0, dtype))
            raise UserError(f"{what}: {name} holds {kind}, which are never unpickled; store numbers.")
        # A header may claim any shape: numpy would make room for it before it reads.
        claimed = dtype.itemsize
        for size in shape:
            claimed *= size
        if claimed > info.file_size:
            raise UserError(
                f"{what}: {name} claims the shape {list(shape)!r:.80}, {claimed:,} bytes, and has {info.file_size:,}; "
                "the file is damaged, write it again."
            )
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array that a .npy file begins with."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"its format is {version[0]}.{version[1]}")
    shape, _, dtype = readers[version](file)
    return shape, dtype
