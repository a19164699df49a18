"""Compilation of the training step.

Whether a pack is compiled is fixed by its task, method and budget (see budget.py). Without a C++ compiler the engine
says so once and runs plain vmap.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch

from bnnbench.run.pack import Pack

_steps: dict[tuple, Callable] = {}


@functools.cache
def can_compile(device_type: str) -> bool:
    """Whether torch.compile works here; tried once on a trivial function."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.compile(lambda x: x + 1)(torch.zeros(3, device=device_type))
    except Exception:  # whatever the toolchain raises: no compiler, no Triton, no writable cache
        return False
    return True


def compiled_step(pack: Pack, step: Callable) -> Callable:
    """The step through torch.compile, whole graph or error.

    Every (method, structure) gets a code object of its own: Dynamo keeps its compiled variants per code object, and
    many methods through one would reach the recompile limit and fall back to eager without a word.
    """
    torch._dynamo.config.recompile_limit = 64  # type: ignore
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return torch.compile(step, fullgraph=True)
