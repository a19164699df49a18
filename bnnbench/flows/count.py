"""How many numbers a bijection puts out, which is what decides how much memory its training takes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnnbench.flows.bijection import Bijection


class _Count(TorchDispatchMode):
    """Counts the numbers that every operation inside the block puts out, views left out."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not any(result.alias_info for result in func._schema.returns):
            self.total += sum(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        return out


def numbers_per_example(bijection: Bijection) -> int:
    """Numbers that all operations put out for one more example, in the direction with fewer of them: that of a fit."""
    ghost, found = copy.deepcopy(bijection).to("meta"), []
    for direction in (ghost.forward, ghost.inverse):
        counts = []
        for rows in (1, 2):
            with torch.no_grad(), _Count() as count:
                direction(torch.zeros(rows, bijection.dim, device="meta"))
            counts.append(count.total)
        found.append(counts[1] - counts[0])
    return min(found)
