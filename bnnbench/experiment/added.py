"""Evaluations that are added to trained cells, family by family, so that an interruption loses no more than one."""

from __future__ import annotations

from collections.abc import Iterable

from bnnbench.evaluation.evaluate import evaluate_only
from bnnbench.evaluation.evaluator import Evaluator, sets_of
from bnnbench.store.store import ResultStore
from bnnbench.tasks.shifts import OUT_OF_DISTRIBUTION


def add_evaluations(
    store: ResultStore, evaluator: Evaluator, names: Iterable[str] | None = None
) -> tuple[int, list[str]]:
    """Score a trained pack on further test sets; returns how many evaluations were stored, and why others were not.

    Args:
        names: of the evaluations; None for all those under distribution shift.
    """
    sets = sets_of(evaluator.pack, shifted=True)
    if names is None:
        plain = sets_of(evaluator.pack, shifted=False)[0]
        names = [name for name in sets[0] if name not in plain]
    families: dict[str, set[str]] = {}
    for name in names:
        family = "out-of-distribution" if name in OUT_OF_DISTRIBUTION else name.partition("-")[0]
        families.setdefault(family, set()).add(name)
    added, faults, first = 0, [], evaluator.pack.cells[0]
    for family, members in families.items():
        try:
            scored = evaluate_only(evaluator, members, sets)
        except Exception as error:  # one family that cannot be scored takes nothing from the others
            reason = f"{type(error).__name__}: {error}"
            faults.append(f"{first.task.name} {first.method.name}: {family} cannot be scored ({reason}).")
            continue
        for cell, live, records in zip(evaluator.pack.cells, evaluator.fitted.live, scored, strict=True):
            if live:
                added += store.add_evaluations(cell.record.fingerprint, records)
    return added, faults
