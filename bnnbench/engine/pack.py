"""Packs: cells of equal structure stacked along a leading replica dimension.

Splits of unequal size are padded by repeating their first row with weight 0. The table is shared by all replicas, in
original units and in the dtype of the data: float64 for tables, since float32 holds no Unix time to the minute. Where
every split has an encoding of its own, it holds the encoded tables of the splits one below the other.
"""

from __future__ import annotations

import dataclasses
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
from bnnbench.errors import UserError
from bnnbench.methods import Inference
from bnnbench.model import Problem, Rows, Table
from bnnbench.tasks import Task
from bnnbench.tasks.budget import Budget


@dataclass(frozen=True)
class Replicas:
    """R networks of equal structure as one tensor program: all that predicting needs.

    Attributes:
        cells: the R cells.
        method: the method, or the estimator, of all of them; its float fields are those of the first cell, `floats`
            holds all.
        floats: float field -> values [R].
        problem: the problem template; its `rows` have a leading dimension R, its `t` is 0.
        keys: cell keys [R, 2].
    """

    cells: tuple[Cell, ...]
    method: Any
    floats: dict[str, Tensor]
    problem: Problem
    keys: Tensor

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

    def method_of(self, floats: dict[str, Tensor]) -> Any:
        """The method with its float fields replaced, inside vmap by 0-dim tensors."""
        return dataclasses.replace(self.method, **floats)

    def problem_of(self, table: Table, rows: Rows, t: Tensor) -> Problem:
        """The problem of one replica, inside vmap, as the task gives it; `Method.target` makes it the method's."""
        return dataclasses.replace(self.problem, table=table, rows=rows, t=t)


@dataclass(frozen=True)
class Pack(Replicas):
    """R cells with their data.

    Attributes:
        data: the task's.
        splits, encoded: of each cell: its rows, and the data that they point into.
        offsets: of each cell: where its data begin in the shared table.
    """

    data: Data
    splits: tuple[Split, ...]
    encoded: tuple[Data, ...]
    offsets: tuple[int, ...]


def stack(cells: list[Cell], device: torch.device, dtype: torch.dtype = torch.float32) -> Pack:
    """Load, split and stack the data of cells of equal structure, for networks of a dtype.

    Raises:
        UserError: a split whose training rows give no unit (see `data.scales`).
    """
    first = cells[0]
    task, method, data = first.task, first.method, first.task.data(first.root)
    splits = tuple(task.splits(first.rule, first.root)[cell.index] for cell in cells)
    encoded = tuple(task.encoded(cell.rule, cell.index, cell.root) for cell in cells)
    table, offsets = _stack_tables(encoded, device, dtype)
    rows = _stack_rows(cells, splits, offsets, table, dtype)
    problem = task.problem(first.rule, table, rows, len(data.classes), first.steps)
    return Pack(
        cells=tuple(cells),
        method=method,
        floats=floats_of([cell.method for cell in cells], dtype, device),
        problem=method.prepare(problem),
        keys=torch.stack([cell.key for cell in cells]).to(device),
        data=data,
        splits=splits,
        encoded=encoded,
        offsets=offsets,
    )


def floats_of(methods: Sequence[Inference], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """Float field -> values [R], of methods of one class."""
    values = dataclasses.asdict(methods[0])  # type: ignore[call-overload]
    names = [name for name, value in values.items() if isinstance(value, float)]
    like = {"dtype": dtype, "device": device}
    return {name: torch.tensor([getattr(method, name) for method in methods], **like) for name in names}


@lru_cache(maxsize=256)
def _scales(task: Task, rule: str, index: int, root: Path | None) -> dict[str, Any]:
    """Shift and scale of inputs and target, by the training rows of a split; images take seconds."""
    data, fit = task.encoded(rule, index, root), task.splits(rule, root)[index].train
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


def _stack_tables(encoded: tuple[Data, ...], device: torch.device, dtype: torch.dtype) -> tuple[Table, tuple[int, ...]]:
    """The data of all cells, each set once, one below the other; and where those of each cell begin."""
    distinct = list({id(data.x): data for data in encoded}.values())
    ends = np.cumsum([len(data.x) for data in distinct]).tolist()
    begins = {id(data.x): end - len(data.x) for data, end in zip(distinct, ends, strict=True)}
    x, y = (_below([getattr(data, name) for data in distinct]) for name in ("x", "y"))
    table = Table(x.to(device, torch.promote_types(x.dtype, dtype)), y.to(device))
    return table, tuple(begins[id(data.x)] for data in encoded)


def _below(parts: list[np.ndarray]) -> Tensor:
    """Arrays one below the other; a single one is not copied."""
    return torch.as_tensor(parts[0] if len(parts) == 1 else np.concatenate(parts))


def _stack_rows(
    cells: list[Cell], splits: tuple[Split, ...], offsets: tuple[int, ...], table: Table, dtype: torch.dtype
) -> Rows:
    longest = max(len(split.train) for split in splits)
    columns: dict[str, list[Any]] = {name: [] for name in Rows._fields}
    for cell, split, offset in zip(cells, splits, offsets, strict=True):
        padding = longest - len(split.train)
        columns["index"].append(offset + np.concatenate([split.train, np.full(padding, split.train[0])]))
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
