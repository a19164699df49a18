"""Evaluations that are added to trained cells, family by family, so that an interruption loses no more than one."""

from __future__ import annotations

from collections.abc import Iterable

from bnnbench.run.evaluate import evaluate, test_sets
from bnnbench.run.pack import Pack
from bnnbench.run.train import Trained
from bnnbench.store.store import ResultStore
from bnnbench.tasks.shifts import FOREIGN


def shift_names(pack: Pack) -> list[str]:
    """Evaluations off the data's manifold that the cells of a pack are to get."""
    if not pack.cells[0].shifts:
        return []
    (plain, *_), (shifted, *_) = test_sets(pack, shifted=False), test_sets(pack, shifted=True)
    return [name for name in shifted if name not in plain]


def add_evaluations(store: ResultStore, trained: Trained, names: Iterable[str]) -> int:
    """Score a trained pack on further test sets; returns how many evaluations were stored."""
    families: dict[str, set[str]] = {}
    for name in names:
        families.setdefault("foreign" if name in FOREIGN else name.partition("-")[0], set()).add(name)
    added = 0
    for family in families.values():
        for cell, live, evaluated in zip(trained.pack.cells, trained.live, evaluate(trained, family), strict=True):
            if live:
                added += store.add_evaluations(cell.record.fingerprint, evaluated.records)
    return added
