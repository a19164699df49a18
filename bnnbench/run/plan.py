"""The plan of a run: which cells, in which packs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bnnbench.errors import UserError
from bnnbench.methods import METHODS, Method, configure
from bnnbench.registry import nearest
from bnnbench.run.cell import Cell, structure
from bnnbench.tasks import TASKS, Task
from bnnbench.tasks.budget import Budget
from bnnbench.tasks.images import ImageTask
from bnnbench.tasks.loaders import load
from bnnbench.tasks.shifts import ALL, FOREIGN
from bnnbench.tasks.shifts import select as shift_names

Settings = dict[str, dict[str, list[str]]]  # method -> field -> values; several values make a grid


def parse_settings(texts: Iterable[str]) -> Settings:
    """`--set method.param=value[,value...]` strings to a nested dict.

    Raises:
        UserError: a string of another form, or an unknown method.
    """
    settings: Settings = {}
    for text in texts:
        path, equals, values = text.partition("=")
        method, dot, parameter = path.rpartition(".")
        if not (equals and dot and method and parameter and values):
            raise UserError(f"--set takes method.param=value (several values with commas), not {text!r}.")
        METHODS.get(method)
        settings.setdefault(method, {})[parameter] = values.split(",")
    return settings


def configurations(
    cls: type[Method], grid: dict[str, list[str]], tuned: Mapping[str, Any] | None = None
) -> list[Method]:
    """All combinations of the values of a grid; a single default configuration without one.

    Args:
        tuned: a task's own defaults.
    """
    combinations = itertools.product(*grid.values())
    return [configure(cls, dict(zip(grid, values, strict=True)), tuned) for values in combinations]


def select_methods(names: Sequence[str]) -> list[type[Method]]:
    """`all` means every practical method; references run when named."""
    if list(names) == ["all"]:
        return [method for method in METHODS if "references" not in method.tags]
    return METHODS.select(names)


def select_tasks(names: Sequence[str], root: Path | None) -> tuple[list[Task], list[str]]:
    """Tasks behind names and groups, and warnings: `all` skips tasks whose data are missing."""
    if list(names) != ["all"]:
        return TASKS.select(names), []
    missing = [task.name for task in TASKS if not task.present(root)]
    warnings = [
        f"{name}: its data are missing, skipped; fetch them by `bnnbench data fetch {name}`." for name in missing
    ]
    return [task for task in TASKS if task.name not in missing], warnings


def build_plan(
    methods: Sequence[str],
    tasks: Sequence[str],
    rule: str | None,
    budget: Budget,
    seeds: int,
    settings: Settings,
    root: Path | None,
    folds: Sequence[int] | None = None,
    exhaustive: bool = False,
) -> tuple[list[Cell], list[str]]:
    """All cells in the order of the registries, and warnings on what was left out.

    Args:
        folds: indices of the splits to run, None for all.
        exhaustive: whether sweeps over shifted test sets take all images and samples.

    Raises:
        UserError: an unknown name, a pair that does not fit, a setting for a method that is not run, data that are
            not there.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {seeds}.")
    classes = select_methods(methods)
    tasks, shifts = shift_names(tasks, exhaustive)
    chosen, warnings = select_tasks(tasks, root)
    if shifts:
        chosen = _shifted(chosen, shifts, warnings, root)
    for name in settings:
        if name not in {cls.name for cls in classes}:
            raise UserError(
                f"--set names {name!r}, which this run does not hold{nearest(name, [c.name for c in classes])}"
            )
    cells = []
    for task, cls in itertools.product(chosen, classes):
        if not _fits(task, cls, rule, tasks, methods, warnings):
            continue
        own_rule, grant = rule or task.rules[0], task.budget(budget.name) if task.budgets else budget
        indices, rows = _indices(task, own_rule, root, folds), len(task.data(root).x)
        for method in configurations(cls, settings.get(cls.name, {}), task.defaults(cls.name, cls.tags)):
            for seed, index in itertools.product(range(seeds), indices[: method.folds(rows)]):
                cells.append(Cell(task, method, own_rule, index, seed, grant, root, own_shifts(task, shifts)))
    if not cells:
        raise UserError("This run holds no cell: no chosen method supports a chosen task under this split rule.")
    return cells, warnings


def _shifted(chosen: list[Task], shifts: Sequence[str], warnings: list[str], root: Path | None) -> list[Task]:
    """The tasks of which shifted test sets are wanted; `mnist` beside them where none is of images."""
    images = [task for task in chosen if isinstance(task, ImageTask)]
    without = [task.name for task in images if not own_shifts(task, shifts)]
    wanted = ", ".join(name.removesuffix(ALL) for name in shifts)
    if images and len(without) == len(images):
        known = sorted({name for task in images for name in task.shifts})
        raise UserError(f"{', '.join(without)}: no such test sets ({wanted}); known are {', '.join(known) or 'none'}.")
    warnings += [f"{name}: has no test sets {wanted}, scored without them." for name in without]
    if not images:
        chosen = [*chosen, TASKS.get("mnist")]
    for name in {name for task in chosen for name in own_shifts(task, shifts) if name in FOREIGN}:
        load(name, root)  # raises where they are missing, before anything is trained
    return chosen


def own_shifts(task: Task, shifts: Sequence[str]) -> tuple[str, ...]:
    """Those families of shifted test sets that a task has."""
    return tuple(name for name in shifts if name.removesuffix(ALL) in task.shifts)


def _indices(task: Task, rule: str, root: Path | None, folds: Sequence[int] | None) -> list[int]:
    known = range(len(task.splits(rule, root)))
    for index in folds or ():
        if index not in known:
            raise UserError(f"The task {task.name!r} has splits 0 to {known[-1]} under {rule!r}, no {index}.")
    return list(known) if folds is None else sorted(set(folds))


def _fits(
    task: Task, cls: type[Method], rule: str | None, tasks: Sequence[str], methods: Sequence[str], warnings: list[str]
) -> bool:
    """Whether the pair can run; a pair that was named and cannot is an error, one out of groups a warning."""
    if task.kind not in cls.supports:
        if task.name in tasks and cls.name in methods:
            raise UserError(
                f"The method {cls.name!r} does not support {task.kind}, the kind of task {task.name!r}; "
                f"choose a task of kind {' or '.join(cls.supports)}."
            )
        return False
    if rule is not None and rule not in task.rules:
        known = sorted({r for t in TASKS for r in t.rules})
        if rule not in known:
            raise UserError(f"There is no split rule {rule!r}{nearest(rule, known)}")
        if task.name in tasks:
            raise UserError(f"The task {task.name!r} has no split rule {rule!r}; it has {', '.join(task.rules)}.")
        warning = f"{task.name}: has no split rule {rule!r}, skipped."
        if warning not in warnings:
            warnings.append(warning)
        return False
    return True


def packs(cells: Sequence[Cell], limits: Mapping[tuple, int]) -> list[list[Cell]]:
    """Cells of equal structure together, at most `limits[structure]` each, in the order of the plan.

    Packs are formed from the whole plan and filtered afterwards, so that a resumed run repeats them.
    """
    groups: dict[tuple, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(structure(cell), []).append(cell)
    return [
        group[start : start + limits[kind]]
        for kind, group in groups.items()
        for start in range(0, len(group), limits[kind])
    ]
