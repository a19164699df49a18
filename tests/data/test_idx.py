"""The reader of IDX files: what it reads, and what it refuses."""

from __future__ import annotations

import gzip
import pickle
import struct

import numpy as np
import pytest

from bnnbench.data.loaders import idx
from bnnbench.errors import UserError

CODES = {code: np.dtype(dtype) for code, dtype in idx.TYPES.items()}


def file_of(values: np.ndarray, code: int) -> bytes:
    """An IDX file, written from the format's description."""
    header = struct.pack(">BBBB", 0, 0, code, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(CODES[code]).tobytes()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 28, 28)])
@pytest.mark.parametrize("packed", [False, True])
def test_round_trip(code: int, shape: tuple[int, ...], packed: bool) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(CODES[code].newbyteorder("="))
    content = file_of(values, code)
    array = idx.parse(gzip.compress(content) if packed else content, "values")
    np.testing.assert_array_equal(array, values)
    assert array.shape == shape
    assert array.dtype == values.dtype
    assert array.dtype.isnative


def test_big_endian_by_hand() -> None:
    assert idx.parse(b"\0\0\x0c\x01" + b"\0\0\0\x02" + b"\0\0\x01\0" + b"\xff\xff\xff\xfe", "x").tolist() == [256, -2]


class _Bomb:
    def __reduce__(self):
        return pytest.fail, ("a file was executed",)


WHOLE = file_of(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), 0x08)
FAULTS = {
    "empty": (b"", "is not an IDX file: its first bytes are none"),
    "a web page": (b"<html>please log in</html>", "is not an IDX file: its first bytes are 3c 68 74 6d"),
    "a pickle": (pickle.dumps(_Bomb()), "is not an IDX file"),
    "an array of numpy": (b"\x93NUMPY\x01\x00", "is not an IDX file"),
    "an unknown type": (b"\0\0\x0a\x01\0\0\0\x01\0", "is not an IDX file"),
    "no dimension": (b"\0\0\x08\0\0", "is not an IDX file"),
    "half a header": (WHOLE[:10], "is a damaged IDX file: it ends within its header"),
    "a header alone": (WHOLE[:16], "has 16 bytes instead of 40"),
    "a byte lost": (WHOLE[:-1], "has 39 bytes instead of 40"),
    "a byte more": (WHOLE + b"\0", "has 41 bytes instead of 40"),
    "a giant": (b"\0\0\x0e\x03" + b"\xff" * 12, "has 16 bytes instead of 6338"),
    "gzip, cut off": (gzip.compress(WHOLE)[:-9], "is a damaged gzip file"),
    "gzip, no more than its mark": (b"\x1f\x8b", "is a damaged gzip file"),
    "gzip, altered": (gzip.compress(WHOLE)[:-8] + b"\0" * 8, "is a damaged gzip file"),
    "gzip of something else": (gzip.compress(b"hello"), "is not an IDX file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_sentence(fault: str) -> None:
    content, reason = FAULTS[fault]
    with pytest.raises(UserError) as caught:
        idx.parse(content, "t10k-images of mnist")
    sentence = str(caught.value)
    assert sentence.startswith("t10k-images of mnist ")
    assert reason in sentence
    assert "\n" not in sentence


def test_every_cut_and_every_byte_of_the_header() -> None:
    """Nothing but the whole file is read, and nothing but a sentence comes of the rest."""
    for content in (WHOLE, gzip.compress(WHOLE)):
        for n in range(len(content)):
            with pytest.raises(UserError):
                idx.parse(content[:n], "x")
    for byte in range(256):
        for place in range(16):
            altered = WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
            if altered != WHOLE and (place, byte) != (2, 0x09):  # as many values, with a sign
                with pytest.raises(UserError):
                    idx.parse(altered, "x")
