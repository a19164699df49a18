"""Keys: made from integers and names, split, and folded with data."""

from __future__ import annotations

import hashlib
import json
import operator
from dataclasses import dataclass

import torch
from torch import Tensor

from bnnbench.errors import UserError
from bnnbench.random.operator import FOLD, SPLIT, draw


def checked_seed(seed: int) -> int:
    """A seed as an integer of Python.

    Raises:
        UserError: it is no whole number.
    """
    try:
        return operator.index(seed)
    except TypeError:
        raise UserError(f"A seed is a whole number, not {seed!r}.") from None


def key(seed: int, device: torch.device | str | None = None) -> Tensor:
    """The key [2] of an integer: its two low 32-bit words."""
    seed = checked_seed(seed)
    return _from_words(seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF, device)


def key_of(*parts: str | int, device: torch.device | str | None = None) -> Tensor:
    """The key [2] of a tuple of strings and integers, e.g. (task, split, seed): the head of its JSON's sha256."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return _from_words(int.from_bytes(digest[:4]), int.from_bytes(digest[4:8]), device)


def seed_of(key: Tensor) -> int:
    """A key [2] as a whole number below 2^63, for generators of other libraries."""
    first, second = (int(word) % 2**32 for word in key)
    return (first << 31) ^ second


def is_key(value: object) -> bool:
    """Whether this can be a key, or a batch of keys [..., 2]: an int32 tensor of that shape."""
    return isinstance(value, Tensor) and value.dtype == torch.int32 and value.shape[-1:] == (2,)


def _signed(word: int) -> int:
    """The int32 with the bits of an unsigned 32-bit word."""
    return word - 2**32 if word >= 2**31 else word


def _from_words(first: int, second: int, device: torch.device | str | None) -> Tensor:
    return torch.tensor([_signed(first), _signed(second)], dtype=torch.int32, device=device)


@dataclass(frozen=True)
class Span:
    """The keys `start` to `stop - 1` among the `total` of a split: a few of a prediction's samples at a time."""

    start: int
    stop: int
    total: int

    def __len__(self) -> int:
        return self.stop - self.start


def split(key: Tensor, n: int | Span = 2) -> Tensor:
    """n independent keys [..., n, 2], or the part of them that a span names."""
    if isinstance(n, Span):
        return split(key, n.total)[..., n.start : n.stop, :]
    return draw(key, (2, n), SPLIT).transpose(-1, -2)


def fold_in(key: Tensor, data: int | Tensor) -> Tensor:
    """The key of (key, data), e.g. of a training step: distinct data give independent keys.

    Args:
        key: [..., 2].
        data: an integer in [-2^31, 2^32), or a tensor of such [...] that broadcasts against the keys; only its low
            32 bits count. `fold_in(key, torch.arange(n))` gives n keys [n, 2].
    """
    if isinstance(data, int):
        if not -(2**31) <= data < 2**32:
            raise ValueError(f"fold_in takes 32-bit integers, not {data}; chain two calls for more.")
        first = key.new_full((*key.shape[:-1], 1), _signed(data))
    else:
        first = data.to(device=key.device, dtype=torch.int32)[..., None]
        key = key.expand(torch.broadcast_shapes(key.shape, (*data.shape, 2)))
        first = first.expand(*key.shape[:-1], 1)
    return draw(torch.cat([key, first], -1), (2, 2), FOLD)[..., 0]
