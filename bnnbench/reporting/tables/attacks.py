"""Attacks: is a method robust, or do its gradients only hide the way? Its own attack against a transferred one."""

from __future__ import annotations

import math

import pandas as pd

from bnnbench.reporting.extra import Extra
from bnnbench.reporting.images import Value, Values, values
from bnnbench.reporting.select import Section
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import EMPTY, Grid, Text, mean_and_error

ATTACKS = ("fgsm-0.10", "fgsm-0.30", "pgd-0.10", "pgd-0.30")
TRANSFER, SOURCE = "transfer-", "ensemble-deep"
ERRORS = 2.0  # standard errors of the difference that a gap must exceed
CAPTION = (
    "Error (%) on test images attacked through the method's own gradients, and on images attacked through those of "
    f"{SOURCE} (transferred); the number is the largest change of a pixel. Who attacks a method through itself should "
    "do at least as much harm as who attacks it through another network. Masked: the error under its own attack is "
    f"lower than under the transferred one by more than {ERRORS:g} standard errors of the difference (as of "
    "independent samples, which for the same images is cautious). Then its gradients do not show the way to the worst "
    "image, and its low error under its own attack is no robustness."
)


def attack_tables(section: Section) -> list[Extra]:
    """One table a task that was attacked."""
    found = []
    for task in section.tasks:
        numbers = _numbers(values(section, task), section.rows)
        if len(numbers):
            name = f"{section.name}-attacks-{task}"
            found.append(Extra(name, f"{task}: attacks and masked gradients", _grid(numbers), CAPTION, numbers))
    return found


def masked(own: Value, transferred: Value) -> bool | None:
    """Whether the method's own attack does less harm than the transferred one, beyond chance; None: unknown."""
    gap, error = transferred[0] - own[0], math.hypot(own[1], transferred[1])
    if math.isnan(gap) or math.isnan(error):
        return None
    return gap > ERRORS * error


def _numbers(own: Values, rows: tuple[str, ...]) -> Frame:
    """Long form: one line a method and attack."""
    nothing = (math.nan, math.nan)
    records = []
    for row in rows:
        for attack in ATTACKS:
            ours = own.get((row, attack, "error"), nothing)
            theirs = own.get((row, TRANSFER + attack, "error"), nothing)
            if ours is nothing and theirs is nothing:
                continue
            records.append((row, attack, *ours, *theirs, masked(ours, theirs)))
    columns = ["method", "attack", "own", "own_se", "transferred", "transferred_se", "masked"]
    return pd.DataFrame(records, columns=columns)


def _grid(numbers: Frame) -> Grid:
    present = {(r.method, r.attack): r for r in numbers.itertuples()}
    columns = [
        (attack, kind)
        for attack in ATTACKS
        for kind in ("own", "transferred")
        if numbers.loc[numbers["attack"] == attack, kind].notna().any()
    ]

    def text(row: str, attack: str, kind: str) -> Text:
        entry = present.get((row, attack))
        value = math.nan if entry is None else float(getattr(entry, kind))
        if entry is None or math.isnan(value):
            return EMPTY, False, ""
        return mean_and_error(100 * value, 100 * float(getattr(entry, f"{kind}_se"))), False, ""

    def verdict(row: str) -> Text:
        known = {a: present[row, a].masked for a in ATTACKS if (row, a) in present}
        where = [attack for attack, yes in known.items() if yes]
        if where:
            return "yes: " + ", ".join(where), True, ""
        return ("no" if any(v is not None for v in known.values()) else EMPTY), False, ""

    body = tuple((row, (*(text(row, *c) for c in columns), verdict(row))) for row in dict.fromkeys(numbers["method"]))
    return Grid(("method", *(f"{attack} {kind}" for attack, kind in columns), "masked"), body)
