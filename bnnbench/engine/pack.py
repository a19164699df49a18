"""Packs: cells of equal structure stacked along a leading replica dimension.

Splits of unequal size are padded by repeating their first row with weight 0. The table is shared by all replicas, in
original units and in the dtype of the data: float64 for tables, since float32 holds no Unix time to the minute.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnnbench.data.arrays import Data, Split
from bnnbench.data.labels import check_target
from bnnbench.data.scales import check_spread, standardisation
from bnnbench.engine.cell import Cell
from bnnbench.engine.size import activations, device_memory, is_large, parameters
from bnnbench.errors import UserError
from bnnbench.methods import Method
from bnnbench.model import Problem, Rows, Table
from bnnbench.tasks import Task
from bnnbench.tasks.budget import Budget


@dataclass(frozen=True)
class Replicas:
    """R networks of equal structure as one tensor program: all that predicting needs.

    Attributes:
        cells: the R cells.
        method: the method of all of them; its float fields are those of the first cell, `floats` holds all.
        floats: float field -> values [R].
        problem: the problem template; its `rows` have a leading dimension R, its `t` is 0.
    """

    cells: tuple[Cell, ...]
    method: Method
    floats: dict[str, Tensor]
    problem: Problem

    @property
    def task(self) -> Task:
        """The task of all cells."""
        return self.cells[0].task

    @property
    def rule(self) -> str:
        """The split rule of all cells."""
        return self.cells[0].rule

    @property
    def budget(self) -> Budget:
        """The budget of all cells."""
        return self.cells[0].budget

    @property
    def steps(self) -> int:
        """Updates of each cell."""
        return self.cells[0].steps

    def method_of(self, floats: dict[str, Tensor]) -> Method:
        """The method with its float fields replaced, inside vmap by 0-dim tensors."""
        return dataclasses.replace(self.method, **floats)  # type: ignore[type-var]

    def problem_of(self, table: Table, rows: Rows, t: Tensor) -> Problem:
        """The problem of one replica, inside vmap, as the task gives it; `Method.target` makes it the method's."""
        return dataclasses.replace(self.problem, table=table, rows=rows, t=t)


@dataclass(frozen=True)
class Pack(Replicas):
    """R cells with their data.

    Attributes:
        keys: cell keys [R, 2].
        data, splits: what the rows point into.
    """

    keys: Tensor
    data: Data
    splits: tuple[Split, ...]


def stack(cells: list[Cell], device: torch.device, dtype: torch.dtype = torch.float32) -> Pack:
    """Load, split and stack the data of cells of equal structure, for networks of a dtype.

    Raises:
        UserError: a split whose training rows give no unit (see `data.scales`).
    """
    first = cells[0]
    task, method, data = first.task, first.method, first.task.data(first.root)
    splits = tuple(task.splits(first.rule, first.root)[cell.index] for cell in cells)
    x, y = torch.as_tensor(data.x), torch.as_tensor(data.y)
    table = Table(x.to(device, torch.promote_types(x.dtype, dtype)), y.to(device))
    rows = _stack_rows(cells, splits, table, dtype)
    problem = task.problem(first.rule, table, rows, len(data.classes), first.steps)
    return Pack(
        cells=tuple(cells),
        method=method,
        floats=floats_of([cell.method for cell in cells], dtype, device),
        problem=method.prepare(problem),
        keys=torch.stack([cell.key for cell in cells]).to(device),
        data=data,
        splits=splits,
    )


def floats_of(methods: Sequence[Method], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """Float field -> values [R], of methods of one class."""
    values = dataclasses.asdict(methods[0])  # type: ignore[call-overload]
    names = [name for name, value in values.items() if isinstance(value, float)]
    like = {"dtype": dtype, "device": device}
    return {name: torch.tensor([getattr(method, name) for method in methods], **like) for name in names}


@lru_cache(maxsize=256)
def _scales(task: Task, rule: str, index: int, root: Path | None) -> dict[str, Any]:
    """Shift and scale of inputs and target, by the training rows of a split; images take seconds."""
    data, fit = task.data(root), task.splits(rule, root)[index].train
    x, y = data.x[fit], data.y[fit]
    try:
        if task.standardised and x.ndim == 2:
            check_spread(x, data.features)
        if task.kind == "regression":
            check_target(y, data.target)
    except UserError as error:
        raise UserError(
            f"Among the training rows of split {rule}-{index} of the task {task.name!r}: {error}"
        ) from error
    if task.standardised:
        x_shift, x_scale = standardisation(x, axes=(0, *range(2, x.ndim)))
    else:
        x_shift, x_scale = np.zeros(x.shape[1:]), np.ones(x.shape[1:])
    y_shift, y_scale = standardisation(y) if task.kind == "regression" else (0.0, 1.0)
    return {"x_shift": x_shift, "x_scale": x_scale, "y_shift": y_shift, "y_scale": y_scale}


def _stack_rows(cells: list[Cell], splits: tuple[Split, ...], table: Table, dtype: torch.dtype) -> Rows:
    longest = max(len(split.train) for split in splits)
    columns: dict[str, list[Any]] = {name: [] for name in Rows._fields}
    for cell, split in zip(cells, splits, strict=True):
        padding = longest - len(split.train)
        columns["index"].append(np.concatenate([split.train, np.full(padding, split.train[0])]))
        columns["weight"].append(np.concatenate([np.ones(len(split.train)), np.zeros(padding)]))
        columns["count"].append(len(split.train))
        columns["total"].append(len(split.train))
        for name, value in _scales(cell.task, cell.rule, cell.index, cell.root).items():
            columns[name].append(value)
    real, x = torch.float64, table.x.dtype
    dtypes = Rows(torch.int64, dtype, torch.int64, dtype, x, x, real, real)  # type: ignore[arg-type]
    return Rows(
        *(
            torch.as_tensor(np.stack(columns[name]), dtype=own, device=table.x.device)  # type: ignore[arg-type]
            for name, own in dtypes._asdict().items()
        )
    )


def padded(rows: list[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Row indices [R, longest], padded by repetition of the first, and the mask of those that are no padding."""
    longest = max(len(row) for row in rows)
    index = np.stack([np.concatenate([row, np.full(longest - len(row), row[0])]) for row in rows])
    mask = np.stack([np.arange(longest) < len(row) for row in rows])
    return torch.as_tensor(index, device=device), torch.as_tensor(mask, device=device)


@lru_cache(maxsize=1024)  # of a flow it takes seconds
def replica_bytes(cell: Cell) -> int:
    """Estimate of the memory one replica needs in training, collected draws included.

    State, gradient, Adam and the kept best state count as eight copies of the parameters; activations are one
    minibatch and those of it, forward and backward. Measured peaks lie below (see tests/run/test_pack.py).
    """
    data = cell.task.data(cell.root)
    outputs, shape = cell.task.likelihood(cell.rule, len(data.classes)).outputs, data.x.shape[1:]
    with torch.device("meta"):  # sizes alone: nothing is allocated, however large they are
        network = cell.method.prepare(_ghost(cell)).network
    size = parameters(network)
    of_its_own = getattr(network, "numbers_per_example", None)  # of flows, most of whose numbers are no layer's output
    inside = of_its_own() if of_its_own else sum(activations(cell.task, cell.rule, shape, outputs))
    units = 2 * (math.prod(shape) + inside)
    draws = len(cell.method.schedule(cell.steps))
    networks = max(cell.method.num_networks, 1)
    return 4 * (networks * (8 * size + 4 * units * cell.task.batch_size) * 2 + draws * size)


def _ghost(cell: Cell) -> Problem:
    """A cell's problem on a table of one row of zeros."""
    data = cell.task.data(cell.root)
    x, one = torch.zeros(1, *data.x.shape[1:]), torch.ones(())
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
    data = cell.task.data(cell.root)
    with torch.device("meta"):
        network = cell.task.network(cell.rule, data.x.shape[1:], max(len(data.classes), 1))
    if device.type == "cpu" and is_large(network):
        return 1
    return max(1, min(512, memory // replica_bytes(cell)))
