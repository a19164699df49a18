"""The cells of a database as this bnnbench can score them again, and why it cannot score others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bnnbench import names
from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.evaluation.calibrations import CALIBRATIONS
from bnnbench.experiment.request import Request
from bnnbench.experiment.selection import select_calibrations, select_test_sets
from bnnbench.methods import METHODS
from bnnbench.records import SCORED, Purpose
from bnnbench.registry import ALL
from bnnbench.store.store import ResultStore
from bnnbench.tasks import Task
from bnnbench.tasks.own import all_tasks
from bnnbench.tasks.shifts import CORRUPTION


def stored_cells(store: ResultStore, request: Request) -> tuple[list[Cell], list[str]]:
    """Scored cells of the methods and tasks of a request, with the test sets and calibrations that it asks for beside
    those that they have in part; and a sentence for each reason why others are left out.

    Raises:
        UserError: a name without results, or test sets or calibrations that no stored task has.
    """
    attempts: Any = store.attempts(latest_only=False, status=SCORED)
    tasks = all_tasks(request.root)
    for column, registry, wanted in (("task", tasks, request.tasks), ("method", METHODS, request.methods)):
        attempts = attempts[attempts[column].isin(_present(column, registry, wanted, set(attempts[column])))]
    known = [tasks.get(name) for name in tasks.names() if name in set(attempts["task"])]
    asked, said = select_test_sets(replace(request, tasks=known), known)
    calibrations, more = select_calibrations(replace(request, tasks=known), known)
    scored = store.scored(attempts["fingerprint"])
    cells, reasons = [], Counter()
    for row in attempts.to_dict("records"):
        try:
            cell = _cell(row, request)
        except UserError as error:
            reasons[str(error)] += 1
            continue
        has = scored.get(row["fingerprint"], {})
        families = dict.fromkeys([*asked[cell.task], *_families(cell.task, has)])
        own = [name for name in CALIBRATIONS if name in calibrations[cell.task] or names.calibrated(name) in has]
        cells.append(replace(cell, test_sets=tuple(families), calibrations=tuple(own)))
    cells, missing = _with_data(cells, asked)
    left_out = [f"{count} cells: {reason}" for reason, count in reasons.items()]
    return cells, [*said, *more, *missing, *left_out]


def _present(what: str, registry: Any, wanted: Sequence[Any], stored: set[str]) -> set[str]:
    """Names behind names and groups that the database has; of what is not registered, names alone."""
    if not wanted:
        raise UserError(f"Name a {what}, or `all`.")
    if ALL in wanted:
        return stored
    plain = [name for name in wanted if name not in stored]
    found = {name for name in wanted if name in stored} | ({e.name for e in registry.select(plain)} & stored)
    if not found:
        raise UserError(
            f"The database has no scored cell of the {what} {', '.join(wanted)}; `bnnbench status` lists all."
        )
    return found


def _cell(row: dict[str, Any], request: Request) -> Cell:
    """A stored cell.

    Raises:
        UserError: its method, task or data are not the ones that are here.
    """
    tasks = all_tasks(request.root)
    for what, registry in (("method", METHODS), ("task", tasks)):
        if row[what] not in registry.names():
            raise UserError(f"the {what} {row[what]!r} is not registered here.")
    cls, task = METHODS.get(row["method"]), tasks.get(row["task"])
    if cls.version != row["method_version"]:
        raise UserError(
            f"{cls.name} version {row['method_version']} trained them, and version {cls.version} is installed."
        )
    try:
        method = cls(**json.loads(row["configuration"]))
    except (TypeError, ValueError) as error:
        raise UserError(f"{cls.name} does not take their configuration any more ({error}).") from error
    rule, index = names.parse_split(row["split"])
    purpose = Purpose(row["purpose"])
    cell = Cell(
        task, method, rule, index, row["seed"], task.budget(row["budget"]), request.root, purpose=purpose,
        named="" if purpose is Purpose.RESULT else row["config"],
    )  # fmt: skip
    if cell.record.task_version != row["task_version"]:
        raise UserError(
            f"they are of {task.name} version {row['task_version']}, and here it is {cell.record.task_version}."
        )
    if cell.record.fingerprint != row["fingerprint"]:
        raise UserError(f"their configuration of {cls.name} is not as it would be stored today.")
    return cell


def _families(task: Task, has: dict[str, set[str]]) -> list[str]:
    """Families of further test sets that a cell has evaluations of."""
    found = []
    for name in has:
        sweep, end = names.sweep(name), names.EXHAUSTIVE * name.endswith(names.EXHAUSTIVE)
        plain = names.usual(name) if sweep is None else "" if sweep.transferred else sweep.family
        for family in task.test_set_families:
            if family.name == plain or (names.corruption(name) and CORRUPTION in family.groups):
                found.append(family.name + end)
    return found


def _with_data(cells: list[Cell], asked: dict[Task, tuple[str, ...]]) -> tuple[list[Cell], list[str]]:
    """The cells without families of test sets whose data are missing here, of those that were not asked for."""
    faults: dict[tuple[Task, str], str] = {}
    for task, family in dict.fromkeys((cell.task, family) for cell in cells for family in cell.test_sets):
        first = next(cell for cell in cells if cell.task is task)
        split = task.splits(first.rule, first.root)[0]
        try:
            task.test_sets(task.data(first.root), split, (family,), first.root)
        except UserError as error:
            faults[task, family] = str(error)
    kept = [replace(c, test_sets=tuple(f for f in c.test_sets if (c.task, f) not in faults)) for c in cells]
    return kept, list(dict.fromkeys(faults.values()))
