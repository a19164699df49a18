"""Steps traced into graphs of plain operations, and machine code of them; sizes that differ between tasks are symbols.

The trace goes through vmap and autograd (`make_fx`), so that nothing of either is left when Inductor sees it; this
takes a second where Dynamo, which interprets the Python code of both, took five.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch._inductor.config
from torch import Tensor
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten


@dataclass(frozen=True)
class Program:
    """A traced or compiled step.

    Attributes:
        run: leaves of the step's arguments -> leaves of what it returns. out: their structure.
        takes: whether it is right for leaves of these sizes.
    """

    run: Callable[..., Sequence[Tensor]]
    out: TreeSpec
    takes: Callable[[Sequence[Tensor]], bool]

    def __call__(self, *arguments: Any) -> Any:
        return tree_unflatten(self.run(*tree_leaves(arguments)), self.out)


def traced(step: Callable, arguments: tuple, symbolic: Sequence[tuple[bool, ...]], compiled: bool) -> Program:
    """The program of a step.

    Args:
        arguments: of the step, as examples. symbolic: which sizes of their leaves may differ from theirs.
        compiled: whether Inductor makes machine code of it.
    """
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
    run = _machine_code(graph, fakes, "from_graph") if compiled else graph
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


def try_compiler(device: torch.device) -> None:
    """Compile a tiny graph; raises whatever the toolchain raises."""
    x, instructions = torch.ones(64, device=device), torch._inductor.config.cpp
    # The vector instructions are the processor's; trying each with the compiler takes ten seconds, and comes second.
    instructions.vec_isa_ok = True
    try:
        _machine_code(make_fx(torch.sin)(x), [x], "from_example_inputs")(x)
    except Exception:
        instructions.vec_isa_ok = None
        _machine_code(make_fx(torch.sin)(x), [x], "from_example_inputs")(x)
