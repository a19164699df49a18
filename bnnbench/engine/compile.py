"""Compilation of the training step: traced once into a graph of plain operations, which Inductor turns into machine code.

Whether a pack is compiled is fixed by its task, method and budget (see budget.py). Without a C++ compiler the engine
says so once and runs plain vmap.

The trace goes through vmap and autograd (`make_fx`), so that nothing of either is left when Inductor sees it; this
takes a second where Dynamo, which interprets the Python code of both, took five. Tasks that differ in their numbers of
rows and columns share one program: these sizes are symbols of the trace.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import Pack
from bnnbench.engine.packing import structure
from bnnbench.engine.step import initial_state

# On a machine with the CUDA toolkit and no GPU every process would begin with a warning about that.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Program:
    """A compiled step.

    Attributes:
        run: leaves of the step's arguments -> leaves of what it returns. out: their structure.
        takes: whether it is right for leaves of these sizes.
    """

    run: Callable[..., Sequence[Tensor]]
    out: TreeSpec
    takes: Callable[[Sequence[Tensor]], bool]

    def __call__(self, *arguments: Any) -> Any:
        return tree_unflatten(self.run(*tree_leaves(arguments)), self.out)


_programs: dict[tuple, list[Program]] = {}  # of this process, by all that is fixed in them


@functools.cache
def can_compile(device: torch.device) -> bool:
    """Whether Inductor works here, tried on a tiny graph; says so once where it does not."""
    try:
        x = torch.ones(2, device=device)
        _machine_code(make_fx(torch.sin)(x), [x], "from_example_inputs")(x)
    except Exception as error:  # whatever the toolchain raises: no compiler, no Triton, no writable cache
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        log.warning("torch.compile does not work here (%s); running without it, several times slower.", reason)
        return False
    return True


def is_compiled(cell: Cell, device: torch.device) -> bool:
    """Whether a cell's steps are compiled: a matter of its budget, where the compiler works."""
    return cell.budget.compiled and cell.steps > 0 and can_compile(device)


def compiled_step(pack: Pack, step: Callable, arguments: tuple) -> Program:
    """The step as a program for a pack: one that another pack has brought here, or a new one."""
    leaves = tree_leaves(arguments)
    kinds = [(leaf.dtype, leaf.device) for leaf in leaves]
    programs = _programs.setdefault((structure(pack.cells[0])[2:], _constants(pack), *kinds), [])
    for program in programs:
        if program.takes(leaves):
            return program
    programs.append(_compile(step, arguments, _symbolic(pack, arguments)))
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
    all of the rows but their replicas, and of the state what would differ if the inputs had one more column."""
    floats, table, rows, state, *rest = arguments
    if pack.task.fixed_input_shape:
        return [(False,) * leaf.dim() for leaf in tree_leaves(arguments)]
    same = [[(False,) * leaf.dim() for leaf in tree_leaves(part)] for part in (floats, rest)]
    table_sizes = [(True,) * leaf.dim() for leaf in table]
    row_sizes = [(False, *(True,) * (leaf.dim() - 1)) for leaf in rows]
    wider = tree_leaves(_wider_state(pack))
    state_sizes = [
        tuple(a != b for a, b in zip(leaf.shape, other.shape, strict=True))
        for leaf, other in zip(tree_leaves(state), wider, strict=True)
    ]
    return [*same[0], *table_sizes, *row_sizes, *state_sizes, *same[1]]


def _wider_state(pack: Pack) -> Any:
    """The initial state as it would be with one more column of inputs."""
    first, (table, rows) = pack.cells[0], (pack.problem.table, pack.problem.rows)
    more = table.x.shape[-1] + 1
    wide = rows._replace(x_shift=rows.x_shift.new_zeros(len(pack.cells), more), x_scale=rows.x_scale.new_ones(len(pack.cells), more))
    table = table._replace(x=table.x.new_zeros(1, more).expand(len(table.x), more))
    problem = pack.method.prepare(pack.task.problem(first.rule, table, wide, len(pack.data.classes), first.steps))
    return initial_state(dataclasses.replace(pack, problem=problem))


def _compile(step: Callable, arguments: tuple, symbolic: Sequence[tuple[bool, ...]]) -> Program:
    leaves, tree = tree_flatten(arguments)
    shapes = ShapeEnv()
    mode = FakeTensorMode(shape_env=shapes, allow_non_fake_inputs=True)
    fakes = [_fake(mode, number, *pair) for number, pair in enumerate(zip(leaves, symbolic, strict=True))]
    out: list[TreeSpec] = []

    def flat(*leaves: Tensor) -> list[Tensor]:
        returned, spec = tree_flatten(step(*tree_unflatten(leaves, tree)))
        out[:] = [spec]
        return [leaf.contiguous() for leaf in returned]  # as the leaves that come in, step after step

    graph = make_fx(flat, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*fakes)
    run = _machine_code(graph, fakes, "from_graph")
    guards = shapes.produce_guards_expression(fakes, ignore_static=False)

    def takes(leaves: Sequence[Tensor]) -> bool:
        return guards is not None and shapes.evaluate_guards_expression(guards, leaves)

    return Program(run, out[0], takes)


def _fake(mode: FakeTensorMode, number: int, leaf: Tensor, symbolic: tuple[bool, ...]) -> FakeTensor:
    sizes = [DimDynamic.DYNAMIC if free else DimDynamic.STATIC for free in symbolic]
    context = StatelessSymbolicContext(dynamic_sizes=sizes, constraint_sizes=[None] * len(sizes))
    return mode.from_tensor(leaf, symbolic_context=context, source=ConstantSource(f"leaf{number}"))


def _machine_code(graph: GraphModule, leaves: Sequence[Tensor], shapes: Any) -> Callable[..., Sequence[Tensor]]:
    return torch._inductor.standalone_compile(graph, list(leaves), dynamic_shapes=shapes)
