"""Evaluations that a finished cell lacks, scored from its stored posterior: a new evaluation never trains anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
import torch
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.run.compile import is_compiled
from bnnbench.run.pack import stack
from bnnbench.run.plan import Cell
from bnnbench.run.posterior import from_arrays
from bnnbench.run.pruning import FRACTIONS, evaluation_name, prunable
from bnnbench.run.shifts import add_evaluations
from bnnbench.run.train import Trained
from bnnbench.store.records import CellRecord
from bnnbench.store.store import ResultStore

Lacking = dict[Cell, set[str]]  # cell -> names of the evaluations it is to get


def lacking(store: ResultStore, cells: Mapping[Cell, CellRecord]) -> tuple[Lacking, int]:
    """What scored cells lack and their stored posteriors can give, and how many cells have no posterior any more."""
    names: dict[tuple, set[str]] = {}
    done = store.evaluated(record.fingerprint for record in cells.values())
    wanted = {}
    for cell, record in cells.items():
        has = done.get(record.fingerprint)
        if has and (missing := _evaluations(cell, names) - has):  # what has none at all was not worth scoring
            wanted[cell] = missing
    stored = store.stored((cells[cell].fingerprint for cell in wanted), "posterior")
    there = {cell: missing for cell, missing in wanted.items() if cells[cell].fingerprint in stored}
    return there, len(wanted) - len(there)


def _evaluations(cell: Cell, known: dict[tuple, set[str]]) -> set[str]:
    """Names of the evaluations of a scored cell, which are the same for all splits of a task."""
    key = (cell.task.name, cell.rule, cell.shifts)
    if key not in known:
        split = cell.task.splits(cell.rule, cell.root)[0]
        known[key] = set(cell.task.evaluations(cell.task.data(cell.root), split, cell.shifts, cell.root))
    pruned = map(evaluation_name, FRACTIONS) if prunable(cell.method) else ()
    return known[key] | set(pruned)


def add_lacking(
    store: ResultStore, wanted: Lacking, device: torch.device, progress: Callable[[Cell], None] = lambda cell: None
) -> int:
    """Score the stored posteriors and add what they lack; returns to how many cells."""
    added = 0
    for cell, names in wanted.items():
        progress(cell)
        record = cell.record
        try:
            arrays = store.artifact(record.fingerprint, "posterior")
        except UserError:  # damaged, or gone in the meantime
            continue
        trained = restored(cell, arrays, device)
        with random.compiled_kernels(is_compiled(cell, device)):  # as when it was trained
            added += bool(add_evaluations(store, trained, names))
    return added


def restored(cell: Cell, arrays: Mapping[str, np.ndarray], device: torch.device) -> Trained:
    """A stored posterior as a trained pack of one."""
    record = cell.record
    posterior = from_arrays(asdict(record) | {"configuration": record.config, "split": record.split}, arrays)
    state, draws = (
        None if tree is None else tree_map(lambda leaf: leaf[None].to(device), tree)
        for tree in (posterior.state, posterior.draws)
    )
    live, never = torch.ones(1, dtype=torch.bool, device=device), np.full(1, -1)
    return Trained(stack([cell], device), state, draws, live, cell.steps, never, None, {})
