"""The plan of a run: which cells, in which packs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bnnbench.arguments import whole_of
from bnnbench.data.loaders import load
from bnnbench.engine.cell import Cell, structure
from bnnbench.errors import UserError
from bnnbench.methods import METHODS, Method, configure
from bnnbench.registry import ALL, nearest
from bnnbench.tasks import TASKS, Task
from bnnbench.tasks.budget import Budget
from bnnbench.tasks.images import ImageTask
from bnnbench.tasks.shifts import ALL as EXHAUSTIVE
from bnnbench.tasks.shifts import OUT_OF_DISTRIBUTION
from bnnbench.tasks.shifts import select as shift_names

MOST_CELLS = 100_000  # of one run: its plan is held in memory
Settings = dict[str, dict[str, list[str]]]  # method -> field -> values; several values make a grid


def parse_settings(texts: Iterable[str]) -> Settings:
    """`--set method.param=value[,value...]` strings to a nested dict.

    Raises:
        UserError: a string of another form, an unknown method, or a parameter that is named twice.
    """
    settings: Settings = {}
    for text in texts:
        path, equals, values = text.partition("=")
        method, dot, parameter = path.strip().rpartition(".")
        if not (equals and dot and method and parameter and values):
            raise UserError(f"--set takes method.param=value (several values with commas), not {text!r:.200}.")
        METHODS.get(method)
        if parameter in settings.setdefault(method, {}):
            raise UserError(f"--set names {path} twice; give its values in one --set, with commas.")
        settings[method][parameter] = [value.strip() for value in values.split(",")]
    return settings


def configurations(
    cls: type[Method], grid: dict[str, list[str]], tuned: Mapping[str, Any] | None = None
) -> list[Method]:
    """All combinations of the values of a grid, each once; a single default configuration without one.

    Args:
        tuned: a task's own defaults.

    Raises:
        UserError: a value that the method does not take.
    """
    combinations = itertools.product(*grid.values())
    return list(dict.fromkeys(configure(cls, dict(zip(grid, values, strict=True)), tuned) for values in combinations))


def select_methods(names: Sequence[str]) -> list[type[Method]]:
    """`all` means every practical method; references run when named."""
    if list(names) == [ALL]:
        return [method for method in METHODS if "references" not in method.tags]
    return METHODS.select(names)


def select_tasks(names: Sequence[str], root: Path | None) -> tuple[list[Task], list[str]]:
    """Tasks behind names and groups, and warnings: `all` skips tasks whose data are missing."""
    if list(names) != [ALL]:
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

    What cannot be planned is an error where it was named, and left out where it came by a group.

    Args:
        folds: indices of the splits to run, None for all.
        exhaustive: whether sweeps over shifted test sets take all images and samples.

    Raises:
        UserError: an unknown name, a pair that does not fit, a setting for a method that is not run, data that are
            not there, more than `MOST_CELLS` cells.
    """
    seeds = whole_of(seeds, "--seeds", MOST_CELLS)
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
    cells: list[Cell] = []
    for task in chosen:
        fitting = [cls for cls in classes if _fits(task, cls, rule, tasks, methods, warnings)]
        own_rule, grant = rule or task.rules[0], task.budget(budget.name) if task.budgets else budget
        try:
            rows, known = _loaded(task, own_rule, root) if fitting else (0, 0)
        except UserError as error:
            if task.name in tasks:
                raise
            warnings.append(f"{task.name}: skipped. {error}")
            continue
        indices = _indices(task, own_rule, known, folds) if fitting else []
        for cls in fitting:
            grid = settings.get(cls.name, {})
            count = len(cells) + seeds * len(indices) * math.prod(map(len, grid.values()))
            if count > MOST_CELLS:
                raise UserError(f"A run holds {MOST_CELLS:,} cells at most, and this one {count:,} or more; split it.")
            try:
                for method, splits in _configured(task, cls, grid, rows, own_rule, grant, root):
                    numbers = itertools.product(range(seeds), indices[:splits])
                    shared = grant, root, own_shifts(task, shifts)
                    cells += [Cell(task, method, own_rule, index, seed, *shared) for seed, index in numbers]
            except UserError as error:
                if grid or (task.name in tasks and cls.name in methods):
                    raise
                warnings.append(f"{cls.name} on {task.name}: skipped. {error}")
    if not cells:
        raise UserError("This run holds no cell: no chosen method supports a chosen task under this split rule.")
    return cells, warnings


def _shifted(chosen: list[Task], shifts: Sequence[str], warnings: list[str], root: Path | None) -> list[Task]:
    """The tasks of which shifted test sets are wanted; `mnist` beside them where none is of images."""
    images = [task for task in chosen if isinstance(task, ImageTask)]
    without = [task.name for task in images if not own_shifts(task, shifts)]
    wanted = ", ".join(name.removesuffix(EXHAUSTIVE) for name in shifts)
    if images and len(without) == len(images):
        known = sorted({name for task in images for name in task.shifts})
        raise UserError(f"{', '.join(without)}: no such test sets ({wanted}); known are {', '.join(known) or 'none'}.")
    warnings += [f"{name}: has no test sets {wanted}, scored without them." for name in without]
    if not images:
        chosen = [*chosen, TASKS.get("mnist")]
    for name in {name for task in chosen for name in own_shifts(task, shifts) if name in OUT_OF_DISTRIBUTION}:
        load(name, root)  # raises where they are missing, before anything is trained
    return chosen


def own_shifts(task: Task, shifts: Sequence[str]) -> tuple[str, ...]:
    """Those families of shifted test sets that a task has."""
    return tuple(name for name in shifts if name.removesuffix(EXHAUSTIVE) in task.shifts)


def _loaded(task: Task, rule: str, root: Path | None) -> tuple[int, int]:
    """How many rows and how many splits a task has; whatever its loader raises becomes a sentence."""
    try:
        return len(task.data(root).x), len(task.splits(rule, root))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"The data of the task {task.name!r} cannot be loaded ({_named(error)}).") from error


def _configured(
    task: Task, cls: type[Method], grid: dict[str, list[str]], rows: int, rule: str, budget: Budget, root: Path | None
) -> list[tuple[Method, int | None]]:
    """The configurations of a method on a task, each with the number of splits that it runs, None for all.

    Whatever the method's own code raises when it is planned becomes a sentence.
    """
    try:
        methods = configurations(cls, grid, task.defaults(cls.name, cls.tags))
        for method in methods:
            cell = Cell(task, method, rule, 0, 0, budget, root)
            _ = hash(cell), cell.record, structure(cell)
        few = [method.most_rows is not None and rows > method.most_rows for method in methods]
        return [(method, 1 if first_only else None) for method, first_only in zip(methods, few, strict=True)]
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"The method {cls.name!r} cannot be planned on {task.name!r} ({_named(error)}).") from error


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": .")


def _indices(task: Task, rule: str, count: int, folds: Sequence[int] | None) -> list[int]:
    for index in folds or ():
        if index not in range(count):
            raise UserError(f"The task {task.name!r} has splits 0 to {count - 1} under {rule!r}, no {index}.")
    return list(range(count)) if folds is None else sorted(set(folds))


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
