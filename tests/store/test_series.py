"""Curves as bytes: every bit of every number comes back, and round or smooth ones take few bytes."""

import json
import zlib

import numpy as np
import pytest

from bnnbench.evaluation.rounding import multiples, significant
from bnnbench.store.series import decode, encode

EXAMPLES = {
    "nothing": [],
    "no whole numbers": np.zeros(0, int),
    "zeros of both signs": [0.0, -0.0],
    "not finite": [np.nan, np.inf, -np.inf, 1.0],
    "the smallest and the largest": [5e-324, -5e-324, 1.7976931348623157e308, 2.2250738585072014e-308],
    "one": [1.0],
    "thirds": [1 / 3, 2 / 3, -1 / 3],
    "halves": [0.5, -3.25, 2.0**40, -(2.0**-20)],
    "far apart": [2.0**52, 2.0**-52],
    "the widest integers": np.array([2**63 - 1, -(2**63), 0]),
    "truth values": [True, False],
    "half precision": np.float16([1.5, 3.0]),
    "single precision": np.float32([0.1, 1e30]),
    "small integers": np.uint8([3, 255]),
}


def same_bits(given, found) -> bool:
    given = np.asarray(given)
    if given.dtype.kind != "f":
        return found.dtype == np.int64 and np.array_equal(given.astype(np.int64), found)
    return found.dtype == np.float64 and np.array_equal(given.astype(float).view(np.int64), found.view(np.int64))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_bit_comes_back(name):
    found = decode(encode({"x": EXAMPLES[name], "y\n": EXAMPLES[name]}))
    assert list(found) == ["x", "y\n"]
    assert all(same_bits(EXAMPLES[name], column) for column in found.values())


def test_every_bit_of_any_numbers_comes_back():
    rng = np.random.default_rng(0)
    for _ in range(300):
        n = int(rng.integers(0, 40))
        patterns = rng.integers(0, 2**64, n, dtype=np.uint64)
        round_ = np.round(rng.normal(size=n) * 2**9) * 2.0 ** rng.integers(-1000, 1000)
        given = {"bits": patterns.view(float), "whole": patterns.view(np.int64), "round": round_}
        found = decode(encode(given))
        assert all(same_bits(given[name], found[name]) for name in given)


def test_no_columns_and_no_curve():
    assert decode(encode({})) == {}
    for damaged in (None, 5, "1", b"", b"1", b"2" + encode({"x": [1.0]})[1:]):
        assert decode(damaged) == {}


def test_a_changed_byte_is_other_numbers_or_none_but_no_error():
    content = encode({"step": np.arange(40), "loss": np.arange(40) / 7})
    for place in range(len(content)):
        for byte in (0, 255, content[place] ^ 1):
            found = decode(content[:place] + bytes([byte]) + content[place + 1 :])
            assert all(column.dtype in (np.int64, np.float64) for column in found.values())


def test_columns_are_vectors_of_numbers_of_one_length():
    for bad in ({"a": [1.0], "b": [1.0, 2.0]}, {"a": [[1.0]]}, {"a": ["x"]}, {"a": [None]}):
        with pytest.raises(ValueError, match="Columns"):
            encode(bad)


def test_a_rounded_curve_takes_a_third_of_its_deflated_text():
    """A noisy training curve, as JSON to seven digits in zlib, and as it is stored: a law of size, not of time."""
    rng = np.random.default_rng(1)
    step = np.arange(1, 101) * 2000
    loss = 2 + 5 * np.exp(-np.arange(100) / 20) + 0.05 * rng.normal(size=100)
    curve = {"step": step, "loss": loss, "validation": -loss}
    text = json.dumps({name: [float(f"{v:.7g}") for v in column] for name, column in curve.items()})
    plain, stored = len(zlib.compress(text.encode(), 9)), len(encode(significant(curve)))
    assert stored < plain / 3
    assert len(encode(significant({"step": step}))) < 40


def test_rounding_keeps_what_it_says():
    rng = np.random.default_rng(2)
    values = rng.normal(size=1000) * 10.0 ** rng.integers(-300, 300, 1000)
    values[:4] = [np.nan, np.inf, -np.inf, 0.0]
    found = np.asarray(significant({"x": values, "n": np.arange(1000)})["x"])
    np.testing.assert_allclose(found, values, rtol=2.0**-11)
    np.testing.assert_array_equal(significant({"n": np.arange(5000)})["n"], np.arange(5000))
    few = np.unique(np.abs(np.frexp(found[4:])[0]))
    assert len(few) <= 2**10 + 1, "eleven binary digits, the first of which is one"
    shares = multiples({"x": np.linspace(0, 1, 77), "count": np.array([9731.0])}, 2.0**-11)
    np.testing.assert_allclose(shares["x"], np.linspace(0, 1, 77), atol=2.0**-12)
    assert shares["count"] == [9731.0]
