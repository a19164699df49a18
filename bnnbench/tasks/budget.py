"""Budgets: how many minibatch gradients each trained network or chain gets, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass

from bnnbench.errors import UserError
from bnnbench.registry import nearest


@dataclass(frozen=True)
class Budget:
    """Gradients per network (`steps`), predictive samples, and the number of validation checks.

    `validation_samples`: predictive samples of such a check. `pruning`: whether posteriors are scored with a part of
    their weights taken out, too. A task may grant other numbers under the same names (`Task.budgets`).
    """

    name: str
    steps: int
    samples: int
    validation_checks: int
    summary: str
    validation_samples: int = 10
    pruning: bool = False


BUDGETS = {
    budget.name: budget
    for budget in [
        Budget("smoke", 20, 10, 2, "does everything run? Numbers mean nothing."),
        Budget("quick", 3_000, 50, 60, "a first comparison, minutes on a laptop."),
        Budget("full", 10_000, 100, 100, "the reference results.", pruning=True),
        Budget("long", 40_000, 100, 100, "four times `full`: what does training still gain?"),
    ]
}


def budget_of(name: str) -> Budget:
    """The budget of this name, else a UserError that offers the nearest."""
    if name not in BUDGETS:
        raise UserError(f"There is no budget {name!r}{nearest(name, BUDGETS)}")
    return BUDGETS[name]
