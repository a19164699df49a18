"""Attacks: is a method robust, or do its gradients only hide the way? Its own attack against a transferred one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bnnbench import names
from bnnbench.reporting.averages import averages, look_up
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import EMPTY, mean_and_error

ATTACKS = tuple(names.attack(family, strength) for family in ("fgsm", "pgd") for strength in (0.1, 0.3))
SOURCE = "ensemble-deep"
WAYS = ("own", "transferred")
VERDICTS = {None: EMPTY, False: "no", True: "yes"}
ERRORS = 2.0  # standard errors of the difference that a gap must exceed
CAPTION = (
    "Error (%) on test images attacked through the method's own gradients, and on images attacked through those of "
    f"{SOURCE} (transferred); the number is the largest change of a pixel. Who attacks a method through itself should "
    "do at least as much harm as who attacks it through another network. Masked: the error under its own attack is "
    f"lower than under the transferred one by more than {ERRORS:g} standard errors of the difference (as of "
    "independent samples, which for the same images is cautious). Then its gradients do not show the way to the worst "
    "image, and its low error under its own attack is no robustness."
)


def attack_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table a task that was attacked."""
    for task in section.tasks:
        numbers = _numbers(averages(section, task), section.rows)
        if len(numbers):
            name, title = f"{section.name}-attacks-{task}", f"{task}: attacks and masked gradients"
            yield Table(name, title, _grid(numbers, section.rows), CAPTION, numbers)


def masked(own: float, own_se: float, transferred: float, transferred_se: float) -> bool | None:
    """Whether the method's own attack does less harm than the transferred one, beyond chance; None: unknown."""
    gap, error = transferred - own, np.hypot(own_se, transferred_se)
    return None if np.isnan(gap) or np.isnan(error) else bool(gap > ERRORS * error)


def _numbers(scores: Frame, rows: tuple[str, ...]) -> Frame:
    """A line a method and attack: errors under both, and whether the gradients are masked."""
    found = {(attack, "own"): look_up(scores, attack, "error") for attack in ATTACKS}
    found |= {(attack, "transferred"): look_up(scores, names.transferred(attack), "error") for attack in ATTACKS}
    nothing = (np.nan, np.nan)
    records = []
    for row in rows:
        for attack in ATTACKS:
            if row in found[attack, "own"] or row in found[attack, "transferred"]:
                errors = [value for way in WAYS for value in found[attack, way].get(row, nothing)]
                records.append((row, attack, *errors, masked(*errors)))
    return pd.DataFrame(
        records, columns=["method", "attack", "own", "own_se", "transferred", "transferred_se", "masked"]
    )


def _grid(numbers: Frame, rows: tuple[str, ...]) -> Grid:
    lines = [
        {"method": row, "column": (attack, way), "text": mean_and_error(100 * value, 100 * se)}
        for way in WAYS
        for row, attack, value, se in numbers[["method", "attack", way, f"{way}_se"]].dropna(subset=way).to_numpy()
    ]
    for row, own in numbers.groupby("method"):
        verdict = max(own["masked"], key=[*VERDICTS].index)
        where = ", ".join(own.loc[[m is True for m in own["masked"]], "attack"])
        text = VERDICTS[verdict] + f": {where}" * bool(where)
        lines.append({"method": row, "column": "masked", "text": text, "best": verdict is True})
    columns = {(attack, way): f"{attack} {way}" for attack in ATTACKS for way in WAYS}
    return Grid.from_long(pd.DataFrame(lines), rows, columns | {"masked": "masked"})
