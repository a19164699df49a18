"""How many numbers a bijection puts out, which is what decides how much memory its training takes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnnbench.flows.bijection import Bijection


class _Enough(Exception):
    """There are more numbers than matter."""


class _Count(TorchDispatchMode):
    """Counts the numbers that every operation inside the block puts out, views left out, up to `most`."""

    def __init__(self, most: float) -> None:
        super().__init__()
        self.total, self.most = 0, most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not any(result.alias_info for result in func._schema.returns):
            self.total += sum(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        if self.total > self.most:
            raise _Enough
        return out


def numbers_per_example(bijection: Bijection) -> int:
    """Numbers that all operations put out for one more example, in the direction with fewer of them: that of a fit.

    An inverse that is found step by step, as a root, is given up as soon as it has put out twice as many.
    """
    ghost = copy.deepcopy(bijection).to("meta")
    one, two = (_count(ghost.forward, bijection.dim, rows) for rows in (1, 2))
    try:
        first, second = (_count(ghost.inverse, bijection.dim, rows, most=2 * two) for rows in (1, 2))
    except _Enough:
        return two - one
    return min(two - one, second - first)


def _count(direction: Callable, dim: int, rows: int, most: float = math.inf) -> int:
    with torch.no_grad(), _Count(most) as count:
        direction(torch.zeros(rows, dim, device="meta"))
    return count.total
