"""How cells are grouped into packs: those of equal structure, as many as memory takes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from bnnbench.engine.cell import Cell
from bnnbench.engine.size import activations, device_memory, is_large, parameters
from bnnbench.errors import UserError
from bnnbench.methods.optimise import selection_end
from bnnbench.model import Problem, Rows, Table
from bnnbench.records import canonical
from bnnbench.tasks import Task

MEMORY_SHARE = 0.25  # of the device's memory, for one pack


def structure(cell: Cell) -> tuple:
    """Cells of equal structure can be one tensor program: only float fields, splits and seeds may differ.

    What it begins with, task, rule and shape of an example, decides on packs alone: one program serves tables of many
    widths.
    """
    fields = dataclasses.asdict(cell.method)  # type: ignore[call-overload]
    fixed = {name: value for name, value in fields.items() if not isinstance(value, float)}
    method, steps = cell.method, cell.steps
    moments = tuple(method.schedule(steps)), selection_end(method.early_stopping_fraction, steps)
    place = cell.task.name, cell.rule, shape_of(cell)
    return place, type(method), canonical(fixed), moments, cell.budget.name


def shape_of(cell: Cell) -> tuple[int, ...]:
    """Shape of an example as the network of a cell gets it."""
    return cell.task.encoded(cell.rule, cell.index, cell.root).x.shape[1:]


def packs(cells: Sequence[Cell], limits: Mapping[tuple, int]) -> list[list[Cell]]:
    """Cells of equal structure together, at most `limits[structure]` each, in the order of the plan.

    Packs are formed from the whole plan and filtered afterwards, so that a resumed run repeats them.
    """
    groups: dict[tuple, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(structure(cell), []).append(cell)
    return [
        group[start : start + limits[kind]]
        for kind, group in groups.items()
        for start in range(0, len(group), limits[kind])
    ]


def all_packs(cells: Sequence[Cell], device: torch.device) -> list[list[Cell]]:
    """Packs of the whole plan, as large as memory allows."""
    limits: dict[tuple, int] = {}
    for cell in cells:
        if (kind := structure(cell)) not in limits:
            limits[kind] = _limit(cell, device)
    return packs(cells, limits)


def restricted(packs: Sequence[Sequence[Cell]], cells: Collection[Cell]) -> list[list[Cell]]:
    """The packs with these cells alone."""
    among = set(cells)
    left = ([cell for cell in pack if cell in among] for pack in packs)
    return [pack for pack in left if pack]


def _limit(cell: Cell, device: torch.device) -> int:
    try:
        return pack_limit(cell, _memory(device), device)
    except Exception:  # what cannot be sized says why when it is trained
        return 1


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(MEMORY_SHARE * device_memory(device))
    return 2 * 2**30  # a fixed share: packs, hence numbers, must not depend on what else runs on a machine


@lru_cache(maxsize=1024)  # of a flow it takes seconds
def replica_bytes(cell: Cell) -> int:
    """Estimate of the memory one replica needs in training, collected draws included.

    State, gradient, Adam and the kept best state count as eight copies of the parameters; activations are one
    minibatch and those of it, forward and backward. Measured peaks lie below (see tests/run/test_pack.py).
    """
    data = cell.task.data(cell.root)
    outputs, shape = cell.task.likelihood(cell.rule, len(data.classes)).outputs, shape_of(cell)
    with torch.device("meta"):  # sizes alone: nothing is allocated, however large they are
        network = cell.method.prepare(_ghost(cell)).network
    size = parameters(network)
    of_its_own = getattr(network, "numbers_per_example", None)  # of flows, most of whose numbers are no layer's output
    inside = of_its_own() if of_its_own else sum(activations(cell.task, cell.rule, shape, outputs)) + _added(network)
    units = 2 * (math.prod(shape) + inside)
    draws = len(cell.method.schedule(cell.steps))
    networks = max(cell.method.num_networks, 1)
    return 4 * networks * ((8 * size + 4 * units * cell.task.batch_size) * 2 + draws * size)


def _added(network: nn.Module) -> int:
    """Numbers for each example of layers that a method put into the network, where they tell."""
    told = (getattr(layer, "numbers_per_example", None) for layer in network.modules())
    return sum(numbers() for numbers in told if numbers)


def _ghost(cell: Cell) -> Problem:
    """A cell's problem on a table of one row of zeros."""
    data = cell.task.data(cell.root)
    x, one = torch.zeros(1, *shape_of(cell)), torch.ones(())
    rows = Rows(torch.zeros(1, dtype=torch.int64), one[None], one, one, x[0], x[0], one, one)
    return cell.task.problem(cell.rule, Table(x, one[None]), rows, len(data.classes), cell.steps)


def refuse_too_large(cell: Cell, device: torch.device) -> None:
    """Raise where one replica needs more memory than the device has; what is asked for is never tried.

    Raises:
        UserError: it needs more.
    """
    try:
        needed = replica_bytes(cell)
    except UserError:
        raise
    except Exception:  # a network that cannot be sized may still be trained
        return
    if needed > (memory := device_memory(device)):
        raise UserError(
            f"{cell.method.name} on {cell.task.name} would need about {needed / 1e9:,.0f} GB of memory, and this "
            f"machine has {memory / 1e9:,.0f}; take fewer or smaller networks, or fewer samples."
        )


def pack_limit(cell: Cell, memory: int, device: torch.device) -> int:
    """How many replicas of this cell fit into `memory` bytes, at least 1 and at most 512.

    1 if the method is not vmappable, and on a CPU for networks that are bound by arithmetic and not by dispatch.
    """
    if not cell.method.vmappable:
        return 1
    if device.type == "cpu" and is_large_cell(cell):
        return 1
    return max(1, min(512, memory // replica_bytes(cell)))


def is_large_cell(cell: Cell) -> bool:
    """Whether the network of a cell's task is large."""
    return _is_large(cell.task, cell.rule, shape_of(cell), cell.root)


@lru_cache(maxsize=256)
def _is_large(task: Task, rule: str, shape: tuple[int, ...], root: Path | None) -> bool:
    with torch.device("meta"):
        return is_large(task.network(rule, shape, max(len(task.data(root).classes), 1)))
