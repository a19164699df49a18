"""Fidelity of what is stored: each predictive against that of the gold standard of the same task and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bnnbench import names
from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.evaluation.fidelity import KINDS, compared, halves_compared
from bnnbench.experiment.library import GOLD_STANDARD, gold_predictive, shipped
from bnnbench.records import SCORED
from bnnbench.store.store import ResultStore


@dataclass(frozen=True)
class GoldComparison:
    """Fingerprints of a gold standard and of the cells that lack a comparison with it."""

    task: str
    split: str
    gold: str
    cells: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.task} {self.split}: {len(self.cells)} cells compared with {GOLD_STANDARD}"


def fidelity_missing(store: ResultStore, cells: Sequence[Cell]) -> list[GoldComparison]:
    """What lacks a comparison on the tasks of these cells, and has a predictive as its gold standard has."""
    tasks = sorted({cell.task.name for cell in cells if cell.task.kind in KINDS})
    attempts: Any = store.attempts(task=tasks)
    attempts = attempts[attempts["status"].isin(SCORED)]
    found = []
    golds: Any = store.best_runs(method=GOLD_STANDARD, task=tasks)
    for (task, split), gold in golds.set_index(["task", "split"])["fingerprint"].items():
        group = attempts[(attempts["task"] == task) & (attempts["split"] == split)]
        done = store.evaluated(group["fingerprint"])
        lacking = [f for f in group["fingerprint"] if names.FIDELITY not in done.get(f, ())]
        stored = store.stored([gold, *lacking], "predictive") if lacking else set()
        lacking = [f for f in lacking if f in stored]
        if lacking and (gold in stored or shipped(str(task), gold) is not None):
            found.append(GoldComparison(str(task), str(split), gold, tuple(lacking)))
    return found


def fidelity(store: ResultStore, piece: GoldComparison, device: torch.device) -> tuple[int, list[str]]:
    """Compare, and add what the cells lack."""
    del device
    added, faults = 0, []
    try:
        gold = gold_predictive(store, piece.task, piece.gold)
    except UserError as error:  # damaged, or gone in the meantime
        return 0, [str(error)]
    for cell in piece.cells:
        try:
            own = store.artifact(cell, "predictive")
            records = halves_compared(gold) if cell == piece.gold else compared(own, gold)
        except UserError as error:
            faults.append(str(error))
        else:
            added += bool(store.add_evaluations(cell, records))
    return added, faults
