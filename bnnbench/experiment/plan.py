"""The plan of a run: which cells a request holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bnnbench.arguments import whole_of
from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import structure
from bnnbench.errors import UserError, told
from bnnbench.experiment.request import Request
from bnnbench.experiment.selection import Choice, select_calibrations, select_methods, select_tasks, select_test_sets
from bnnbench.methods import Inference
from bnnbench.registry import nearest
from bnnbench.tasks import TASKS, Task
from bnnbench.tasks.budget import Budget

MOST_CELLS = 1_000_000  # of one run: its plan is held in memory


class Plan(NamedTuple):
    """The cells of a run in the order of the registries, and what was left out, one sentence each."""

    cells: list[Cell]
    warnings: list[str]


def build_plan(request: Request) -> Plan:
    """All cells of a request. What cannot be planned is an error where it was named, and left out where it came by a
    group.

    Raises:
        UserError: an unknown name, a pair that does not fit, a setting for a method that is not run, data that are
            not there, more than `MOST_CELLS` cells.
    """
    whole_of(request.seeds, "--seeds", MOST_CELLS)
    methods = select_methods(request.methods)
    tasks, warnings = select_tasks(request.tasks, request.root)
    test_sets, without = select_test_sets(request, tasks)
    calibrations, uncalibrated = select_calibrations(request, tasks)
    plan = Plan([], [*warnings, *without, *uncalibrated])
    _refuse_settings_of_others(request, methods)
    _refuse_unknown_rule(request, tasks)
    for task in tasks:
        supporting = [choice for choice in methods if _supports(choice.cls, task, request)]
        if supporting and (shared := _shared(task, test_sets[task], calibrations[task], request, plan)):
            for choice in supporting:
                _add_method(choice, shared, request, plan)
    if not plan.cells:
        raise UserError("This run holds no cell: no chosen method supports a chosen task under this split rule.")
    return plan


class Shared(NamedTuple):
    """What the cells of a task in this run share.

    Attributes:
        rows: of its data. indices: of the splits to run.
    """

    task: Task
    rule: str
    budget: Budget
    test_sets: tuple[str, ...]
    calibrations: tuple[str, ...]
    rows: int
    indices: list[int]


def _shared(
    task: Task, test_sets: tuple[str, ...], calibrations: tuple[str, ...], request: Request, plan: Plan
) -> Shared | None:
    """What the cells of a task share; None, with a warning, where it came by a group and cannot run."""
    rule = request.split_rule or task.rules[0]
    if rule not in task.rules and not request.names_task(task):
        plan.warnings.append(f"{task.name}: has no split rule {rule!r}, skipped.")
        return None
    try:
        rows, count = _loaded(task, rule, request)
    except UserError as error:
        if request.names_task(task):
            raise
        plan.warnings.append(f"{task.name}: skipped. {error}")
        return None
    budget = task.budget(request.budget.name) if task.budgets else request.budget
    return Shared(task, rule, budget, test_sets, calibrations, rows, _indices(task, rule, count, request.splits))


def _add_method(choice: Choice, shared: Shared, request: Request, plan: Plan) -> None:
    """Add the cells of a method on a task to the plan, or a warning where it came by a group and cannot run."""
    task, grid = shared.task, request.settings.get(choice.cls.name, {})
    combinations = math.prod(map(len, grid.values())) if choice.by_name else 0
    count = request.seeds * len(shared.indices) * (combinations + len(choice.objects))
    if (count := len(plan.cells) + count) > MOST_CELLS:
        raise UserError(f"A run holds {MOST_CELLS:,} cells at most, and this one {count:,} or more; split it.")
    try:
        plan.cells.extend(_cells(choice, shared, request))
    except UserError as error:
        if grid or (request.names_task(task) and request.names_method(choice.cls)):
            raise
        plan.warnings.append(f"{choice.cls.name} on {task.name}: skipped. {error}")


def _cells(choice: Choice, shared: Shared, request: Request) -> list[Cell]:
    """The cells of a method on a task; whatever the method's own code raises when it is planned becomes a sentence."""
    further = shared.test_sets, shared.calibrations
    try:
        return [
            Cell(shared.task, method, shared.rule, index, seed, shared.budget, request.root, *further)
            for method, splits in _configured(choice, shared, request)
            for seed, index in itertools.product(range(request.seeds), shared.indices[:splits])
        ]
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        name = choice.cls.name
        raise UserError(f"The method {name!r} cannot be planned on {shared.task.name!r} ({told(error)}).") from error


def _configured(choice: Choice, shared: Shared, request: Request) -> Iterator[tuple[Inference, int | None]]:
    """The configurations of a method on a task, each with the number of splits that it runs, None for all."""
    task, cls = shared.task, choice.cls
    grid = request.settings.get(cls.name, {})
    for method in choice.configurations(grid, task.defaults(cls.name, cls.tags)):
        cell = Cell(task, method, shared.rule, 0, 0, shared.budget, request.root)
        _ = hash(cell), cell.record, structure(cell)  # what the method's own code may fail at
        first_only = method.most_rows is not None and shared.rows > method.most_rows
        yield method, 1 if first_only else None


def _loaded(task: Task, rule: str, request: Request) -> tuple[int, int]:
    """How many rows and how many splits a task has; whatever its loader raises becomes a sentence."""
    try:
        count = len(task.splits(rule, request.root))  # refuses a rule that it lacks before any data are fetched
        return len(task.data(request.root).x), count
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"The data of the task {task.name!r} cannot be loaded ({told(error)}).") from error


def _indices(task: Task, rule: str, count: int, splits: Sequence[int] | None) -> list[int]:
    for index in splits or ():
        if index not in range(count):
            raise UserError(f"The task {task.name!r} has splits 0 to {count - 1} under {rule!r}, no {index}.")
    return list(range(count)) if splits is None else sorted(set(splits))


def _supports(cls: type[Inference], task: Task, request: Request) -> bool:
    """Whether a method supports the kind of a task; if not, an error for a pair that was named."""
    if task.kind not in cls.supports and request.names_task(task) and request.names_method(cls):
        raise UserError(
            f"The method {cls.name!r} does not support {task.kind}, the kind of task {task.name!r}; "
            f"choose a task of kind {' or '.join(cls.supports)}."
        )
    return task.kind in cls.supports


def _refuse_settings_of_others(request: Request, methods: Sequence[Choice]) -> None:
    named = [choice.cls.name for choice in methods if choice.by_name]
    for name in request.settings:
        if name not in named:
            hint = nearest(name, named) if named else " by its name; objects have a configuration of their own."
            raise UserError(f"--set names {name!r}, which this run does not hold{hint}")


def _refuse_unknown_rule(request: Request, tasks: Sequence[Task]) -> None:
    known = sorted({rule for task in [*TASKS, *tasks] for rule in task.rules})
    if request.split_rule is not None and request.split_rule not in known:
        raise UserError(f"There is no split rule {request.split_rule!r}{nearest(request.split_rule, known)}")
