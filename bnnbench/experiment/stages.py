"""Scorings that come after training: what finished cells lack and stored files can give. Nothing is trained again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from bnnbench.engine.cell import Cell
from bnnbench.experiment.fidelity import fidelity, fidelity_missing
from bnnbench.experiment.progress import RunProgress
from bnnbench.experiment.rescore import rescore, rescoring_missing
from bnnbench.experiment.transfer import transfer, transfers_missing
from bnnbench.store.store import ResultStore


class Scored(NamedTuple):
    """How many cells were given evaluations, and why others were not, a sentence each."""

    cells: int
    faults: list[str]


@dataclass(frozen=True)
class Stage:
    """One kind of later scoring.

    Attributes:
        missing: (store, cells of a plan) -> pieces of work that are left; it only reads.
        run: (store, piece, device) -> how many cells it gave evaluations to, and why not to others.
    """

    missing: Callable[[ResultStore, Sequence[Cell]], Sequence[Any]]
    run: Callable[[ResultStore, Any, torch.device], tuple[int, list[str]]]


# In this order: attacks can be transferred once they are scored.
STAGES = (
    Stage(rescoring_missing, rescore),
    Stage(transfers_missing, transfer),
    Stage(fidelity_missing, fidelity),
)


def anything_missing(store: ResultStore, cells: Sequence[Cell]) -> bool:
    """Whether a stage has something to do."""
    return any(stage.missing(store, cells) for stage in STAGES)


def run_stages(store: ResultStore, cells: Sequence[Cell], device: torch.device, progress: RunProgress) -> Scored:
    """Do what is left of all stages."""
    added, faults = 0, []
    for stage in STAGES:
        pieces = stage.missing(store, cells)
        for number, piece in enumerate(pieces, 1):
            line = f"[{number}/{len(pieces)}] {piece}"
            progress.start(line)
            scored, more = stage.run(store, piece, device)
            if scored:
                progress.say(line)
            added, faults = added + scored, faults + more
    return Scored(added, faults)
