"""The library of certified posteriors: predictives of Hamiltonian Monte Carlo that come with the package.

A run of any method on the split of one brings it into its database as a cell, with which is compared as if it had been
run there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bnnbench import names
from bnnbench.engine.cell import Cell, default
from bnnbench.errors import UserError
from bnnbench.experiment.definitions import definitions
from bnnbench.methods import METHODS
from bnnbench.records import Status
from bnnbench.store.cell_file import identity, read_cell, write_cell
from bnnbench.store.store import ResultStore

GOLD_STANDARD = "hmc"
FOLDER = Path(__file__).resolve().parents[1] / "posteriors"
GROUP = "fidelity"  # of tasks
BUDGET = "full"
EVALUATIONS = (names.TEST, names.GRID, names.SAMPLER, names.CERTIFICATE, names.FIDELITY, names.FIDELITY_GRID)


@dataclass(frozen=True)
class Shipped:
    """A cell that comes with the package and that a database lacks."""

    cell: Cell
    path: Path

    def __str__(self) -> str:
        return f"{self.cell.task.name} {self.cell.record.split}: the certified posterior that comes with bnnbench"


def shipped_missing(store: ResultStore, cells: Sequence[Cell]) -> list[Shipped]:
    """Certified posteriors of the splits of these cells that the database lacks.

    One of another version of its task or of the gold standard is not the posterior of these cells and is left alone.
    """
    found = {}
    for cell in cells:
        if cell.task.name not in found and (path := _file(cell.task.name)) is not None:
            gold = replace(cell, method=default(METHODS.get(GOLD_STANDARD), cell.task), seed=0, test_sets=())
            gold = replace(gold, budget=cell.task.budget(BUDGET))
            if identity(path) == gold.record:
                found[cell.task.name] = Shipped(gold, path)
    done = store.evaluated([piece.cell.record.fingerprint for piece in found.values()])
    return [piece for piece in found.values() if piece.cell.record.fingerprint not in done]


def bring(store: ResultStore, piece: Shipped, device: torch.device) -> tuple[int, list[str]]:
    """Store the cell as what it is: trained by the session that came with it."""
    del device
    outcome, session = read_cell(piece.path)
    store.register(*definitions([piece.cell]))
    return store.record(store.start_session(session), [outcome]), []


def shipped(task: str, fingerprint: str) -> Path | None:
    """The file of a cell that comes with the package, if it does."""
    path = _file(task)
    return path if path is not None and identity(path).fingerprint == fingerprint else None


def _file(task: str) -> Path | None:
    """The certified posterior of a task, if one comes with the package."""
    path = FOLDER / f"{task}.npz"
    return path if path.is_file() else None


def gold_predictive(store: ResultStore, task: str, fingerprint: str) -> dict[str, Any]:
    """The predictive of a gold standard: that of the package where the database keeps none (`forget --artifacts`).

    Raises:
        UserError: neither has one, or the file is damaged.
    """
    if store.stored([fingerprint], "predictive") or (path := shipped(task, fingerprint)) is None:
        return store.artifact(fingerprint, "predictive")
    return dict(read_cell(path)[0].artifacts["predictive"])


def export_certified(store: ResultStore, folder: Path) -> list[Path]:
    """Write the certified cells of the gold standard into a folder, one file a task.

    Raises:
        UserError: the database has none.
    """
    best = store.best_runs(method=GOLD_STANDARD)
    known = store.tasks().set_index("name")["groups"]
    here = best["task"].map(lambda task: GROUP in known[task])
    certified = best[here & (best["status"] == Status.OK.value) & (best["budget"] == BUDGET) & (best["seed"] == 0)]
    if certified.empty:
        raise UserError(
            f"{store.address} holds no certified run of {GOLD_STANDARD}; make one by bnnbench run --methods "
            f"{GOLD_STANDARD} --task {GROUP} --budget {BUDGET}."
        )
    written = []
    for task, fingerprint in zip(certified["task"], certified["fingerprint"], strict=True):
        written.append(folder / f"{task}.npz")
        write_cell(store, fingerprint, EVALUATIONS, written[-1])
    return written
