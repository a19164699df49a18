"""Curves as bytes: named columns of numbers, every bit of them, in few bytes where they are round or smooth.

A column is turned into 64-bit integers, of which the differences of neighbours are kept, one plane of bytes after the
other (the lowest byte of every number, then the next ...), and all is deflated together. Whole numbers are integers as
they are. Floats are the shorter of two: multiples of the largest power of two that all of them are multiples of, or
their bit patterns without the zeros in which all of them end.
"""

from __future__ import annotations

import json
import zlib

import numpy as np

from bnnbench.records import Series

_FORM = b"1"  # the first byte; another form, or other words to begin with, gets another one
_WORDS = (  # what heads are made of: known to both sides, it takes no room in each of many small curves
    b'["acceptance","b",42,3],["divergent","m",0,1],["step_size","b",42,3],["temperature_configurational","b",42,3],'
    b'["lower","m",-10,2],["upper","m",-10,2],["density","b",42,3],["mean","b",42,3],["aleatoric_std","b",42,3],'
    b'["epistemic_std","b",42,3],["total_std","b",42,3],["truth","b",42,3],["truth_std","b",42,3],["x","b",42,3],'
    b'["confidence","m",-11,2],["accuracy","m",-11,2],["count","m",0,2],["total","m",-11,2],["epistemic","m",-11,2],'
    b'[["level","m",-11,1],["ecdf","m",-11,2]]\n[["step","i",0,2],["nll","b",42,3],["kl","b",42,3],'
    b'[["step","i",0,2],["loss","b",42,3],["validation","b",42,3]]\n'
)
_RAW = -15  # deflate without a head and a checksum, which databases do not have for other values either
_WHOLE, _MULTIPLES, _BITS = "i", "m", "b"  # what the integers of a column are
_MANTISSA = 53  # binary digits of a float
_WIDEST = 62  # binary digits of a multiple


def encode(series: Series) -> bytes:
    """The bytes of a curve.

    Raises:
        ValueError: a column is not a vector of numbers, or columns differ in length.
    """
    arrays = {name: np.asarray(column) for name, column in series.items()}
    if any(array.ndim != 1 or array.dtype.kind not in "biuf" for array in arrays.values()):
        raise ValueError(f"Columns {sorted(arrays)} must be vectors of numbers.")
    if len({array.size for array in arrays.values()}) > 1:
        raise ValueError(f"Columns {sorted(arrays)} differ in length.")
    head, body = [], []
    for name, array in arrays.items():
        kind, shift, planes = _packed(array)
        head.append([name, kind, shift, len(planes)])
        body.append(planes.tobytes())
    return _FORM + _deflated(json.dumps(head, separators=(",", ":")).encode() + b"\n" + b"".join(body))


def decode(content: object) -> dict[str, np.ndarray]:
    """The columns of a curve, whole numbers as int64 and others as float64; none if it is damaged."""
    try:
        head, _, body = _inflated(content).partition(b"\n")
        columns = json.loads(head)
        planes = np.frombuffer(body, np.uint8).reshape(sum(count for *_, count in columns), -1) if body else None
        found, place = {}, 0
        with np.errstate(all="ignore"):  # of a damaged one
            for name, kind, shift, count in columns:
                own = np.zeros((count, 0), np.uint8) if planes is None else planes[place : place + count]
                found[str(name)] = _unpacked(kind, shift, own)
                place += count
    except (ArithmeticError, LookupError, TypeError, ValueError, zlib.error):
        return {}
    return found


def _deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(zlib.Z_BEST_COMPRESSION, wbits=_RAW, zdict=_WORDS)
    return deflater.compress(data) + deflater.flush()


def _inflated(content: object) -> bytes:
    if not (isinstance(content, bytes) and content.startswith(_FORM)):
        raise ValueError("no curve")
    inflater = zlib.decompressobj(_RAW, zdict=_WORDS)
    return inflater.decompress(content[len(_FORM) :]) + inflater.flush()


def _packed(array: np.ndarray) -> tuple[str, int, np.ndarray]:
    """Kind, shift and planes of a column."""
    if array.dtype.kind != "f":
        return _WHOLE, 0, _planes(array.astype(np.int64))
    values = array.astype(np.float64)
    bits = values.view(np.int64)
    shift = _zeros(int(np.bitwise_or.reduce(bits)))
    ways = [(_BITS, shift, _planes(bits >> shift))]
    if (exponent := _unit(values)) is not None:
        multiples = np.ldexp(values, -exponent).astype(np.int64)
        if np.array_equal(np.ldexp(multiples.astype(np.float64), exponent).view(np.int64), bits):  # no negative zero
            ways.append((_MULTIPLES, exponent, _planes(multiples)))
    return min(ways, key=lambda way: len(_deflated(way[2].tobytes())))


def _unpacked(kind: str, shift: int, planes: np.ndarray) -> np.ndarray:
    bytes_ = np.zeros((planes.shape[1], 8), np.uint8)
    bytes_[:, : len(planes)] = planes.T
    steps = bytes_.view("<u8")[:, 0].astype(np.uint64)
    numbers = ((steps >> np.uint64(1)) ^ (np.uint64(0) - (steps & np.uint64(1)))).view(np.int64).cumsum()
    if kind == _WHOLE:
        return numbers
    if kind == _MULTIPLES:
        return np.ldexp(numbers.astype(np.float64), shift)
    if kind == _BITS:
        return (numbers << shift).view(np.float64)
    raise ValueError(kind)


def _planes(numbers: np.ndarray) -> np.ndarray:
    """Differences of neighbours, a small number whatever its sign, as planes of bytes; at least one."""
    steps = np.diff(numbers, prepend=np.int64(0))  # may wrap around, and does so back again
    planes = ((steps << 1) ^ (steps >> 63)).astype("<i8").view(np.uint8).reshape(-1, 8).T
    used = np.flatnonzero(planes.any(axis=1))
    return planes[: used[-1] + 1 if len(used) else 1]


def _unit(values: np.ndarray) -> int | None:
    """The exponent of the largest power of two that all values are multiples of; None where that is too small."""
    if not np.isfinite(values).all():
        return None
    fraction, exponent = np.frexp(values[values != 0])
    if not len(fraction):
        return 0
    digits = np.ldexp(fraction, _MANTISSA).astype(np.int64)
    lowest = np.frexp((digits & -digits).astype(np.float64))[1] - 1
    unit = int((exponent - _MANTISSA + lowest).min())
    return unit if int(exponent.max()) - unit <= _WIDEST else None


def _zeros(bits: int) -> int:
    """How many zeros a pattern ends in."""
    return (bits & -bits).bit_length() - 1 if bits else 0
