"""The one operator behind all draws, `bnnbench::draw`: vmap, `torch.compile` and `make_fx` take it as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bnnbench.errors import UserError
from bnnbench.random import native, pytorch

# The kind of a draw is the second word of its counters. Appended to, never renumbered: it pins the streams.
SPLIT, FOLD, BITS, UNIFORM, BERNOULLI, RANDINT, PERMUTATION, NORMAL, NORMAL64, GAMMA = range(2, 12)


def _draw(key: Tensor, shape: Sequence[int], kind: int) -> Tensor:
    """Draws [..., *shape] from keys [..., 2], or [..., 3] with the first counter: float32 normals or int32 words.

    Raises:
        UserError: that is no key.
    """
    *batch, width = key.shape or (0,)
    if key.dtype != torch.int32 or not 2 <= width <= 3:  # C would read whatever lies there
        raise UserError(f"A key is an int32 tensor [..., 2], as `key(seed)` gives, not {key.dtype} {[*key.shape]}.")
    rows, size = key.reshape(-1, width), math.prod(shape)
    kernel = native.kernel() if key.is_cpu else None
    if kernel is None:
        return pytorch.drawn(rows, size, kind, kind == NORMAL).view(*batch, *shape)
    out = _empty(key, shape, kind)
    kernel(rows, size, kind, kind == NORMAL, out)
    return out


def _empty(key: Tensor, shape: Sequence[int], kind: int) -> Tensor:
    """Room for a draw, which is also all that tracing needs of it."""
    return key.new_empty((*key.shape[:-1], *shape), dtype=torch.float32 if kind == NORMAL else torch.int32)


def _draw_vmap(info, in_dims, key: Tensor, shape: Sequence[int], kind: int) -> tuple[Tensor, int]:
    return draw(key.movedim(in_dims[0], 0), shape, kind), 0


# What torch.library.custom_op does, less the wrapper that costs 6 us a call.
torch.library.define(
    "bnnbench::draw", "(Tensor key, SymInt[] shape, int kind) -> Tensor", tags=torch.Tag.pt2_compliant_tag
)
torch.library.impl("bnnbench::draw", "default", _draw)
torch.library.register_fake("bnnbench::draw", _empty)
torch.library.register_vmap("bnnbench::draw", _draw_vmap)
draw = torch.ops.bnnbench.draw.default
