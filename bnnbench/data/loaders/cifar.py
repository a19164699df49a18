"""The two forms in which CIFAR's images come: binary records, and JPEG files; both inside a tar archive.

Archives are read in memory, and nothing is extracted. The pickled form of CIFAR is not read: opening it runs code.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np

from bnnbench.errors import UserError

SIDE = 32
PIXELS = 3 * SIDE * SIDE


def members(raw: bytes, name: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Content of the wanted files of a tar archive, plain or compressed, by their path in it.

    Args:
        raw: the archive's bytes.
        name: what to call the archive in an error.
        wanted: whether to read the file of a path.

    Raises:
        UserError: no tar archive, or a damaged one.
    """
    found = {}
    try:
        with tarfile.open(fileobj=BytesIO(raw)) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
                if stream is not None:
                    found[member.name] = stream.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"{name} is not a tar archive, or damaged; get a fresh copy.") from error
    return found


def records(content: bytes, labels: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [n, 3, 32, 32] and labels uint8 [n, labels] of a file in CIFAR's binary format.

    A record is one byte for each label (CIFAR-100: coarse, then fine), then the red, the green and the blue plane.

    Raises:
        UserError: the content does not consist of whole records.
    """
    size = labels + PIXELS
    if not content or len(content) % size:
        raise UserError(f"{name} does not consist of records of {size} bytes: it has {len(content)} bytes.")
    table = np.frombuffer(content, np.uint8).reshape(-1, size)
    return table[:, labels:].reshape(-1, 3, SIDE, SIDE), table[:, :labels]


def picture(content: bytes, name: str) -> np.ndarray:
    """Pixels uint8 [3, 32, 32] of a JPEG file.

    Raises:
        UserError: no JPEG file, a damaged one, or another size.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=("JPEG",)) as image:
            size, pixels = image.size, np.asarray(image.convert("RGB")) if image.size == (SIDE, SIDE) else None
    except (OSError, SyntaxError) as error:
        raise UserError(f"{name} is not a JPEG file, or damaged; get a fresh copy.") from error
    if pixels is None:
        raise UserError(f"{name} has {size[0]} x {size[1]} pixels instead of {SIDE} x {SIDE}.")
    return pixels.transpose(2, 0, 1)
