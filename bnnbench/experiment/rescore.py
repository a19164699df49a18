"""Evaluations that a finished cell lacks, scored from its stored posterior: a new evaluation never trains anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.engine.cell import Cell
from bnnbench.engine.compile import is_compiled
from bnnbench.engine.pack import stack
from bnnbench.engine.stored import from_arrays
from bnnbench.engine.train import Trained
from bnnbench.errors import UserError
from bnnbench.evaluation.pruning import pruned_sets
from bnnbench.experiment.added import add_evaluations
from bnnbench.experiment.progress import RunProgress
from bnnbench.records import CellRecord
from bnnbench.store.store import ResultStore

Lacking = dict[Cell, set[str]]  # cell -> names of the evaluations it is to get


def lacking(store: ResultStore, cells: Mapping[Cell, CellRecord]) -> tuple[Lacking, int]:
    """What scored cells lack and their stored posteriors can give, and how many cells have no posterior any more."""
    known: dict[tuple, tuple[set[str], nn.Module]] = {}
    done = store.evaluated(record.fingerprint for record in cells.values())
    wanted = {}
    for cell, record in cells.items():
        has = done.get(record.fingerprint)
        if has and (missing := _evaluations(cell, known) - has):  # what has none at all was not worth scoring
            wanted[cell] = missing
    stored = store.stored((cells[cell].fingerprint for cell in wanted), "posterior")
    there = {cell: missing for cell, missing in wanted.items() if cells[cell].fingerprint in stored}
    return there, len(wanted) - len(there)


def _evaluations(cell: Cell, known: dict[tuple, tuple[set[str], nn.Module]]) -> set[str]:
    """Names of the evaluations of a scored cell: of its test sets, which all splits of a task share, and of pruning."""
    key = (cell.task.name, cell.rule, cell.test_sets)
    if key not in known:
        data, split = cell.task.data(cell.root), cell.task.splits(cell.rule, cell.root)[0]
        network = cell.task.network(cell.rule, data.x.shape[1:], max(len(data.classes), 1))
        known[key] = set(cell.task.test_sets(data, split, cell.test_sets, cell.root)), network
    names, network = known[key]
    return names | set(pruned_sets(cell.method, network))


def add_lacking(
    store: ResultStore, wanted: Lacking, device: torch.device, progress: RunProgress
) -> tuple[int, list[str]]:
    """Score the stored posteriors and add what they lack; returns to how many cells, and why not to others."""
    added, faults = 0, []
    for cell, names in wanted.items():
        progress.start(f"{cell.task.name} {cell.method.name}: {len(names)} more evaluations")
        try:
            trained = restored(cell, store.artifact(cell.record.fingerprint, "posterior"), device)
        except UserError as error:  # damaged, of another version, or gone in the meantime
            faults.append(str(error))
            continue
        with random.compiled_kernels(is_compiled(cell, device)):  # as when it was trained
            stored, more = add_evaluations(store, trained, names)
        added += bool(stored)
        faults += more
        progress.finish(f"{cell.task.name} {cell.rule} {cell.method.name}: {len(names)} more evaluations", 1)
    return added, faults


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
