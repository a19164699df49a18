"""Scorings that come after training: what finished cells lack and stored files can give. Nothing is trained again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from bnnbench.engine.cell import Cell
from bnnbench.experiment.fidelity import fidelity, fidelity_missing
from bnnbench.experiment.library import bring, shipped_missing
from bnnbench.experiment.progress import RunProgress
from bnnbench.experiment.rescore import rescore, rescoring_missing
from bnnbench.experiment.threads import threads, threads_of
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
        cell: piece -> a cell whose network it computes with, None of what computes with none.
    """

    missing: Callable[[ResultStore, Sequence[Cell]], Sequence[Any]]
    run: Callable[[ResultStore, Any, torch.device], tuple[int, list[str]]]
    cell: Callable[[Any], Cell | None]


# In this order: attacks can be transferred once they are scored.
STAGES = (
    Stage(rescoring_missing, rescore, lambda piece: piece.cell),
    Stage(transfers_missing, transfer, lambda piece: piece.source),
    Stage(shipped_missing, bring, lambda piece: None),
    Stage(fidelity_missing, fidelity, lambda piece: None),
)


def anything_missing(store: ResultStore, cells: Sequence[Cell]) -> bool:
    """Whether a stage has something to do."""
    return any(stage.missing(store, cells) for stage in STAGES)


def run_stages(
    store: ResultStore,
    cells: Sequence[Cell],
    device: torch.device,
    progress: RunProgress,
    large_threads: int,
    stages: Sequence[Stage] | None = None,
) -> Scored:
    """Do what is left of all stages, or of these."""
    added, faults, line = 0, [], progress.line()
    for stage in STAGES if stages is None else stages:
        pieces = stage.missing(store, cells)
        for number, piece in enumerate(pieces, 1):
            text = f"[{number}/{len(pieces)}] {piece}"
            line.tell(text)
            with threads(threads_of(stage.cell(piece), large_threads)):
                scored, more = stage.run(store, piece, device)
            if scored:
                progress.say(text)
            added, faults = added + scored, faults + more
    return Scored(added, faults)
