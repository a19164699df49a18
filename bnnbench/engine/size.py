"""How large a network is: what decides on packs, and on how much is predicted at once."""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

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
    found = [psutil.virtual_memory().total]
    with suppress(OSError, ValueError):  # the limit of a container, which may also say `max`
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    return min(found)
