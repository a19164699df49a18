"""Evaluations that are added to trained cells, family by family, so that an interruption loses no more than one."""

from __future__ import annotations

from collections.abc import Iterable

from bnnbench.engine.train import Trained
from bnnbench.evaluation.evaluate import evaluate
from bnnbench.evaluation.sets import test_sets
from bnnbench.store.store import ResultStore


def add_evaluations(store: ResultStore, trained: Trained, names: Iterable[str] | None = None) -> tuple[int, list[str]]:
    """Score a trained pack on further test sets; returns how many evaluations were stored, and why others were not.

    Args:
        names: of the evaluations; None for all of the families that the cells ask for.
    """
    points = test_sets(trained.pack, shifted=True)
    if names is None:
        plain = test_sets(trained.pack, shifted=False)[0]
        names = [name for name in points[0] if name not in plain]
    families: dict[str, set[str]] = {}
    for name in names:
        known = points[0].get(name)
        family = "out-of-distribution" if known and known.out_of_distribution else name.partition("-")[0]
        families.setdefault(family, set()).add(name)
    added, faults, first = 0, [], trained.pack.cells[0]
    for family, members in families.items():
        try:
            scored = evaluate(trained, members, points)
        except Exception as error:  # one family that cannot be scored takes nothing from the others
            reason = f"{type(error).__name__}: {error}"
            faults.append(f"{first.task.name} {first.method.name}: {family} cannot be scored ({reason}).")
            continue
        for cell, live, evaluated in zip(trained.pack.cells, trained.live, scored, strict=True):
            if live:
                added += store.add_evaluations(cell.record.fingerprint, evaluated.records)
    return added, faults
