"""Draws by PyTorch's own operations: through `torch.compile` on a GPU, in blocks on a CPU without a C compiler."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from bnnbench.random.threefry import normals, words

_BLOCK = 2**16  # counters per eager block on a CPU: its temporaries stay in the cache

_compiled = False


@contextmanager
def compiled_kernels(enabled: bool = True) -> Iterator[None]:
    """Run the draws' kernels on a GPU through their own `torch.compile` (or not), also inside compiled steps.

    The numbers are the same either way; the switch is read when a draw runs, not when it is traced. On a CPU it does
    nothing: the kernel there is compiled as it is.
    """
    global _compiled
    before, _compiled = _compiled, enabled
    try:
        yield
    finally:
        _compiled = before


# Two functions, not one with a flag: Dynamo caches its graphs by code object and searches them at every call.
def _joined_words(rows: Tensor, half: int, kind: int) -> Tensor:
    return torch.cat(words(rows, 0, half, kind), -1)


def _joined_normals(rows: Tensor, half: int, kind: int) -> Tensor:
    return torch.cat(normals(rows, 0, half, kind), -1)


@functools.cache
def compiled_kernel(normal: bool, batched: bool, device: torch.device) -> Callable[[Tensor, int, int], Tensor]:
    """The compiled kernel (rows [B, 3], half, kind) -> [B, 2 half], after one large draw, by whose size Inductor tunes.

    The arguments are what graphs are specialised on. Compiled here and not on import, which would load Dynamo.
    """
    kernel = torch.compile(_joined_normals if normal else _joined_words, dynamic=True, fullgraph=True)
    kernel(torch.zeros(1 + batched, 3, dtype=torch.int32, device=device), 2**16, 0)
    return kernel


def _in_blocks(rows: Tensor, half: int, kind: int, normal: bool) -> Tensor:
    """The same, eagerly."""
    kernel, count = normals if normal else words, len(rows)
    out = rows.new_empty(count, 2, half, dtype=torch.float32 if normal else torch.int32)
    step = half if rows.is_cuda else max(2, _BLOCK // max(1, count))
    for start in range(0, half, step):
        stop = min(start + step, half)
        out[:, 0, start:stop], out[:, 1, start:stop] = kernel(rows, start, stop, kind)
    return out.view(count, 2 * half)


def drawn(rows: Tensor, size: int, kind: int, normal: bool) -> Tensor:
    """Draws [B, size] from keys [B, 2], or [B, 3] with the first counter: float32 normals or int32 words.

    Counter i gives elements i and i + half, half = max(2, ceil(size / 2)). (At least 2, since graphs are specialised
    on sizes 0 and 1.)
    """
    half = max(2, (size + 1) // 2)
    if rows.shape[1] == 2:
        rows = torch.nn.functional.pad(rows, (0, 1))
    if _compiled and not rows.is_cpu and len(rows):
        with torch.no_grad():  # one grad mode, one graph
            out = compiled_kernel(normal, len(rows) > 1, rows.device)(rows, half, kind)
    else:
        out = _in_blocks(rows, half, kind, normal)
    return out if size == 2 * half else out[:, :size].contiguous()
