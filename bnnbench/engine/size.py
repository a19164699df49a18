"""How large a network is: what decides on packs, and on how much is predicted at once."""

from __future__ import annotations

import copy
import functools
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnnbench.flows import Flow
from bnnbench.tasks import Task

LARGE = 40_000  # parameters above which a step is bound by arithmetic: packs then gain nothing on a CPU


def parameters(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(value.numel() for value in network.parameters())


def is_large(network: nn.Module) -> bool:
    """Whether one step of the network keeps a CPU's cores busy."""
    return parameters(network) > LARGE


@functools.lru_cache(maxsize=64)
def activations(task: Task, rule: str, shape: tuple[int, ...], outputs: int) -> tuple[int, ...]:
    """Numbers that each layer of a task's network puts out for one example, found without any arithmetic."""
    sizes: list[int] = []
    with torch.device("meta"):
        ghost = task.network(rule, shape, outputs)

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        sizes.append((output if isinstance(output, Tensor) else output[0]).numel())

    for module in ghost.modules():
        if not list(module.children()):
            module.register_forward_hook(record)
    with torch.no_grad():
        ghost(torch.zeros(1, *shape, device="meta"))
    return tuple(sizes)


def device_memory(device: torch.device) -> int:
    """Bytes of memory that a device has, on a CPU as far as this process may use them."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] if hasattr(os, "sysconf") else []
    with suppress(OSError, ValueError):  # the limit of a container, which may also say `max`
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found, default=2**63)


class _Count(TorchDispatchMode):
    """Counts the numbers that every operation inside the block puts out, views left out."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not any(result.alias_info for result in func._schema.returns):
            self.total += sum(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        return out


def numbers(flow: Flow) -> int:
    """Numbers that all operations of a flow put out for one more example, in the direction where they are fewer: that
    of a fit. Most are no layer's output."""
    ghost, found = copy.deepcopy(flow.bijection).to("meta"), []
    for direction in (ghost.forward, ghost.inverse):
        counts = []
        for rows in (1, 2):
            with torch.no_grad(), _Count() as count:
                direction(torch.zeros(rows, flow.dim, device="meta"))
            counts.append(count.total)
        found.append(counts[1] - counts[0])
    return min(found)
