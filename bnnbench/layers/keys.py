"""The scoped key from which the stochastic layers of a network draw.

Layers inside a converted network take and return plain tensors; their randomness comes from the innermost
`keyed(key)` block, the j-th call inside it drawing from fold_in(key, j). A module-level stack works under vmap, grad
and compile alike, where a ContextVar does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor

from bnnbench import random


class Scope(NamedTuple):
    """One `keyed` block: its key, the number of layer calls so far, the settings its layers read, and the weights that
    were drawn for whoever reads them outside of their layer, by the layer's path.
    """

    key: Tensor
    calls: list[int]
    settings: dict[str, Any]
    read: dict[str, Any]


_stack: list[Scope] = []


@contextmanager
def keyed(key: Tensor, **settings: Any) -> Iterator[None]:
    """Let the stochastic layers called inside draw from this key; settings may be tensors (a dropout rate)."""
    _stack.append(Scope(key, [0], settings, {}))
    try:
        yield
    finally:
        _stack.pop()


def scope() -> Scope:
    """The innermost open block.

    Raises:
        RuntimeError: there is none; drawing from a global generator instead would make a cell's numbers depend on its
            neighbours.
    """
    if not _stack:
        raise RuntimeError("a stochastic layer was called without a key; call the network inside `with keyed(key):`")
    return _stack[-1]


def next_key() -> Tensor:
    """The key of the present layer call: fold_in(key, j) for the j-th call inside the block."""
    innermost = scope()
    innermost.calls[0] += 1
    return random.fold_in(innermost.key, innermost.calls[0])


def setting(name: str) -> Any:
    """A setting of the innermost block, None where there is no block or no such setting."""
    return _stack[-1].settings.get(name) if _stack else None
