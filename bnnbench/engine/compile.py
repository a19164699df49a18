"""Training steps as programs: traced once into a graph of plain operations, which Inductor turns into machine code.

Tasks that differ in their numbers of rows and columns share one program.

A graph of n operations takes about 1 ms n to trace and 14 ms n to compile, 2 ms n where the compiler's cache has it. A
step saves about 3 us n by the trace, which leaves vmap and autograd behind, and 7 us n more by the compiler, unless it
is bound by arithmetic (medians of 15 methods on two cores). So compiling pays from 300 steps in a run that is repeated,
from 2,000 in one that is not; hence the rule by the number of steps below. It is fixed, and the mode stored with each
attempt, because compiled and plain runs drift apart in the last digits; traced steps equal plain ones to the bit.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves

from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import Pack
from bnnbench.engine.packing import structure
from bnnbench.engine.step import initial_state

if TYPE_CHECKING:
    from bnnbench.engine.trace import Program

# On a machine with the CUDA toolkit and no GPU every process would begin with a warning about that.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

log = logging.getLogger(__name__)

TRACED_FROM, COMPILED_FROM = 300, 500  # steps from which either pays

_programs: dict[tuple, list[Program]] = {}  # of this process, by all that is fixed in them


@functools.cache
def can_compile(device: torch.device) -> bool:
    """Whether Inductor works here; says so once where it does not."""
    from bnnbench.engine.trace import try_compiler

    try:
        try_compiler(device)
    except Exception as error:  # whatever the toolchain raises: no compiler, no Triton, no writable cache
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        log.warning("torch.compile does not work here (%s); running without it, several times slower.", reason)
        return False
    return True


def is_compiled(cell: Cell, device: torch.device) -> bool:
    """Whether a cell's steps are compiled: a matter of their number, where the compiler works."""
    return cell.steps >= COMPILED_FROM and can_compile(device)


def program(pack: Pack, step: Callable, arguments: tuple, compiled: bool) -> Callable:
    """The step as a program for a pack: one that another pack has brought here, or a new one; as it is, where the
    budget is too small for either."""
    if not compiled and pack.steps < TRACED_FROM:
        return step
    from bnnbench.engine.trace import traced  # with what it imports, a second

    leaves = tree_leaves(arguments)
    kinds = [(leaf.dtype, leaf.device) for leaf in leaves]
    programs = _programs.setdefault((compiled, structure(pack.cells[0])[1:], _constants(pack), *kinds), [])
    for known in programs:
        if known.takes(leaves):
            return known
    programs.append(traced(step, arguments, _symbolic(pack, arguments), compiled))
    return programs[-1]


def _constants(pack: Pack) -> tuple:
    """What a trace of a pack's problem takes as given: all but the tensors that are arguments of the step."""
    problem, given = pack.problem, {"network", "table", "rows", "t"}
    network = repr(problem.network)
    if not pack.task.fixed_input_shape:
        network = re.sub(rf"\b{problem.table.x.shape[-1]}\b", "columns", network)
    buffers = [buffer.cpu().numpy().tobytes() for buffer in problem.network.buffers()]
    fields = [repr(getattr(problem, field.name)) for field in dataclasses.fields(problem) if field.name not in given]
    return type(problem), type(problem.network), network, *buffers, *fields


def _symbolic(pack: Pack, arguments: tuple) -> list[tuple[bool, ...]]:
    """For every dimension of every leaf of the arguments, whether its size differs between tasks: all of the table,
    all of the rows but their replicas, and of the state what would differ with one more column and row."""
    floats, table, rows, state, *rest = arguments
    if pack.task.fixed_input_shape:
        return [(False,) * leaf.dim() for leaf in tree_leaves(arguments)]
    before, after = ([(False,) * leaf.dim() for leaf in tree_leaves(part)] for part in (floats, rest))
    row_sizes = [(False, *(True,) * (leaf.dim() - 1)) for leaf in rows]
    return [*before, *((True,) * leaf.dim() for leaf in table), *row_sizes, *_widening(pack, state), *after]


def _widening(pack: Pack, state: Any) -> list[tuple[bool, ...]]:
    """Which sizes of a state would differ if there were one more column of inputs, and one more row."""
    leaves = tree_leaves(state)
    try:
        wider = tree_leaves(_wider_state(pack))
    except Exception:  # a network that takes inputs of one width alone has a program of its own for it
        wider = leaves
    pairs = zip(leaves, wider, strict=True)
    return [tuple(a != b for a, b in zip(one.shape, other.shape, strict=True)) for one, other in pairs]


def _wider_state(pack: Pack) -> Any:
    first, (table, rows) = pack.cells[0], (pack.problem.table, pack.problem.rows)
    shape = len(pack.cells), table.x.shape[-1] + 1
    rows = rows._replace(
        index=torch.nn.functional.pad(rows.index, (0, 1)),
        weight=torch.nn.functional.pad(rows.weight, (0, 1)),
        x_shift=rows.x_shift.new_zeros(shape),
        x_scale=rows.x_scale.new_ones(shape),
    )
    table = table._replace(x=table.x.new_zeros(1, shape[1]).expand(len(table.x), shape[1]))
    problem = pack.method.prepare(pack.task.problem(first.rule, table, rows, len(pack.data.classes), first.steps))
    return initial_state(dataclasses.replace(pack, problem=problem))
