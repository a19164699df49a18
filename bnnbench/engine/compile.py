"""Compilation of the training step.

Whether a pack is compiled is fixed by its task, method and budget (see budget.py). Without a C++ compiler the engine
says so once and runs plain vmap.
"""

from __future__ import annotations

import functools
import logging
import re
import types
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from bnnbench import random
from bnnbench.engine.cell import Cell, structure
from bnnbench.engine.pack import Pack

# On a machine with the CUDA toolkit and no GPU every process would begin with a warning about that.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

log = logging.getLogger(__name__)
_codes: dict[tuple, types.CodeType] = {}


@functools.cache
def can_compile(device: torch.device) -> bool:
    """Whether torch.compile works here; says so once where it does not. Tried on a kernel that is needed anyway."""
    try:
        with random.compiled_kernels():
            random.bits(random.split(random.key(0, device)), (2,))
    except Exception as error:  # whatever the toolchain raises: no compiler, no Triton, no writable cache
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        log.warning("torch.compile does not work here (%s); running without it, several times slower.", reason)
        return False
    return True


def is_compiled(cell: Cell, device: torch.device) -> bool:
    """Whether a cell's steps and draws go through the compiler: a matter of its budget, where the compiler works."""
    return cell.budget.compiled and cell.steps > 0 and can_compile(device)


def compiled_step(pack: Pack, step: Callable, state: Any) -> Callable:
    """The step through torch.compile, whole graph or error.

    Every structure gets a code object of its own. Dynamo keeps its variants per code object: many methods through one
    would reach the recompile limit and fall back to eager without a word. And since all but tensors that a step closes
    over is fixed by the structure, only guards on tensors and their shapes are kept; testing the others took a
    quarter of a small step. Widths of inputs and lengths of splits are shapes: tasks share one program.
    """
    dynamo: Any = torch._dynamo.config
    dynamo.recompile_limit = 64
    dynamo.fail_on_recompile_limit_hit = True
    problem = pack.problem
    architecture = repr(problem.network)
    if not pack.task.fixed_input_shape:
        architecture = re.sub(rf"\b{problem.table.x.shape[-1]}\b", "columns", architecture)
    key = (structure(pack.cells[0])[2:], architecture, problem.likelihood, problem.prior)
    key = (*key, type(problem.network), problem.batch_size, problem.steps)
    if key not in _codes:
        _codes[key] = step.__code__.replace(co_name=f"step_{len(_codes)}")
    _mark_widths(pack, state)
    own = types.FunctionType(_codes[key], step.__globals__, step.__name__, step.__defaults__, step.__closure__)
    return torch.compile(own, fullgraph=True, options={"guard_filter_fn": _keep_shapes})


def _keep_shapes(guards: list[Any]) -> list[bool]:
    return [guard.guard_type in {"TENSOR_MATCH", "SHAPE_ENV"} for guard in guards]


def _mark_widths(pack: Pack, state: Any) -> None:
    """Tell the compiler which sizes differ between tasks: rows, columns, and weights as wide as the columns."""
    problem = pack.problem
    if pack.task.fixed_input_shape:
        return
    for leaf, first in [*((leaf, 0) for leaf in problem.table), *((leaf, 1) for leaf in problem.rows)]:
        for dim in range(first, leaf.dim()):
            torch._dynamo.maybe_mark_dynamic(leaf, dim)
    columns = problem.table.x.shape[-1]
    sizes = [size for value in problem.network.parameters() for size in value.shape]
    leaves = tree_leaves(state)
    if sizes.count(columns) > 1 or any(columns in leaf.shape[1:-1] for leaf in leaves):
        return  # which dimension holds the inputs cannot be told from its size: the next width compiles again
    for leaf in leaves:
        if leaf.dim() > 1 and leaf.shape[-1] == columns:
            torch._dynamo.maybe_mark_dynamic(leaf, leaf.dim() - 1)
