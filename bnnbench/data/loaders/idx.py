"""Our own reader of IDX files, the format of MNIST and its relatives.

An IDX file is a header of big-endian numbers (two zero bytes, a byte for the type, a byte for the number of
dimensions, then four bytes for the size of each dimension), and the values in row-major order.
"""

from __future__ import annotations

import gzip
import math
import zlib

import numpy as np

from bnnbench.errors import UserError

GZIP = b"\x1f\x8b"
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def parse(content: bytes, name: str) -> np.ndarray:
    """The array of an IDX file, of the shape and type that its header states, in this machine's byte order.

    Args:
        content: the file's bytes, plain or gzipped.
        name: what to call the file in an error.

    Raises:
        UserError: not an IDX file, a damaged gzip stream, or more or fewer values than the header states.
    """
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{name} is a damaged gzip file ({error}); get a fresh copy.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or content[3] == 0:
        raise UserError(f"{name} is not an IDX file: its first bytes are {content[:4].hex(' ') or 'none'}.")
    dtype, start = np.dtype(TYPES[content[2]]), 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:start], ">u4", count=len(content[4:start]) // 4).tolist())
    stated = start + math.prod(shape) * dtype.itemsize
    if len(content) < start or len(content) != stated:
        fault = "ends within its header" if len(content) < start else f"has {len(content)} bytes instead of {stated}"
        raise UserError(f"{name} is a damaged IDX file: it {fault}; get a fresh copy.")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)
