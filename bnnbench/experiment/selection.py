"""The methods, tasks, test sets and calibrations behind the names, groups and objects of a request or of a check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnnbench.arguments import text_of
from bnnbench.data.loaders import load
from bnnbench.errors import UserError
from bnnbench.evaluation.calibrations import CALIBRATIONS, KINDS
from bnnbench.experiment.request import Grid, Overrides, Request, configurations
from bnnbench.methods import METHODS, Inference, valid
from bnnbench.methods.base import NAMED_ONLY
from bnnbench.names import EXHAUSTIVE
from bnnbench.registry import ALL, nearest
from bnnbench.tasks import TASKS, Task, TestSetFamily
from bnnbench.tasks.own import all_tasks


@dataclass(frozen=True)
class Choice:
    """A method of a run.

    Attributes:
        cls: its class.
        by_name: whether it is chosen by its name or a group, and so runs with a task's defaults and a grid.
        objects: configurations that were given as objects.
    """

    cls: type[Inference]
    by_name: bool
    objects: tuple[Inference, ...] = ()

    def configurations(self, grid: Grid, tuned: Mapping[str, Any]) -> list[Inference]:
        """All its configurations on a task with these defaults, each once."""
        named = configurations(self.cls, grid, tuned) if self.by_name else []
        return list(dict.fromkeys([*named, *map(valid, self.objects)]))


def select_methods(entries: Sequence[str | Inference]) -> list[Choice]:
    """Methods in the order of the registry, then those that are not registered; `all` is every practical method.

    Raises:
        UserError: an unknown name, or an object whose class is no method or bears the name of another.
    """
    wanted, objects = _strings(entries), [entry for entry in entries if not isinstance(entry, str)]
    practical = [cls for cls in METHODS if not NAMED_ONLY & set(cls.tags)] if ALL in wanted else []
    named = {*practical, *METHODS.select(name for name in wanted if name != ALL)}
    classes = [METHODS.admitted(type(method)) for method in objects]
    _refuse_twins("method", classes)
    order = dict.fromkeys([*METHODS, *classes])
    chosen = (Choice(cls, cls in named, tuple(m for m in objects if type(m) is cls)) for cls in order)
    return [choice for choice in chosen if choice.by_name or choice.objects]


def select_tasks(entries: Sequence[str | Task], root: Path | None) -> tuple[list[Task], list[str]]:
    """Tasks in the order of the registry, then the tables in the data root and those that are not registered, and
    warnings: `all` skips tasks whose data are missing.

    Raises:
        UserError: an unknown name, that of a family of test sets, or an object with the name of another task.
    """
    wanted, warnings = _strings(entries), []
    _refuse_families(wanted)
    tasks = all_tasks(root)
    objects = [tasks.admitted(entry) for entry in entries if not isinstance(entry, str)]
    _refuse_twins("task", objects)
    named = [*tasks.select(name for name in wanted if name != ALL), *objects]
    if ALL in wanted:
        missing = [task for task in tasks if not task.present(root) and task not in named]
        fetch = "its data are missing, skipped; fetch them by `bnnbench data fetch"
        warnings = [f"{task.name}: {fetch} {task.name}`." for task in missing]
        named += [task for task in tasks if task not in missing]
    return [task for task in dict.fromkeys([*tasks, *objects]) if task in named], warnings


def select_test_sets(request: Request, tasks: Sequence[Task]) -> tuple[dict[Task, tuple[str, ...]], list[str]]:
    """The families of further test sets that each task is scored on, `-all` at the end of their names where sweeps are
    exhaustive; and warnings.

    Raises:
        UserError: an unknown name, families that no chosen task has, or one whose data are missing.
    """
    if not request.test_sets:
        return dict.fromkeys(tasks, ()), []
    wanted = _families(request.test_sets, _known([*TASKS, *tasks]))
    found = {task: [family for family in task.test_set_families if family.name in wanted] for task in tasks}
    said = ", ".join(wanted)
    if not any(found.values()):
        having = [task.name for task in TASKS if {family.name for family in task.test_set_families} & set(wanted)]
        raise UserError(f"No chosen task has the test sets {said}; choose --task {' or '.join(having)}.")
    for name in dict.fromkeys(name for own in found.values() for family in own for name in family.data_sets):
        load(name, request.root)  # raises where they are missing, before anything is trained
    lacking = [task for task, own in found.items() if not own and (task.test_set_families or request.names_task(task))]
    end = EXHAUSTIVE if request.exhaustive else ""
    return (
        {task: tuple(family.name + end for family in own) for task, own in found.items()},
        [f"{task.name}: has no test sets {said}, scored without them." for task in lacking],
    )


def select_calibrations(request: Request, tasks: Sequence[Task]) -> tuple[dict[Task, tuple[str, ...]], list[str]]:
    """The calibrations after training that each task's cells get, in the order of the table; and warnings.

    Raises:
        UserError: an unknown name, or no chosen task that can be calibrated.
    """
    for name in request.calibrations:
        if name not in {ALL, *CALIBRATIONS}:
            raise UserError(f"There is no calibration {name!r}{nearest(name, CALIBRATIONS)}")
    wanted = tuple(name for name in CALIBRATIONS if {name, ALL} & set(request.calibrations))
    able = {task: wanted if task.kind in KINDS else () for task in tasks}
    if not wanted:
        return able, []
    if not any(able.values()):
        raise UserError(f"No chosen task can be calibrated; choose one of kind {' or '.join(KINDS)}.")
    lacking = [task for task, own in able.items() if not own and request.names_task(task)]
    return able, [f"{task.name}: {task.kind} is not calibrated, scored without." for task in lacking]


def _strings(entries: Iterable[Any]) -> list[str]:
    return [entry for entry in entries if isinstance(entry, str)]


def _refuse_twins(noun: str, entries: Sequence[Any]) -> None:
    """Raise if two objects bear one name."""
    by_name: dict[str, Any] = {}
    for entry in entries:
        if by_name.setdefault(entry.name, entry) is not entry:
            raise UserError(f"Two {noun}s are named {entry.name!r}; rename one of the two.")


def _known(tasks: Iterable[Task]) -> dict[str, TestSetFamily]:
    """Families of test sets by name."""
    return {family.name: family for task in tasks for family in task.test_set_families}


def _families(wanted: Sequence[str], known: Mapping[str, TestSetFamily]) -> list[str]:
    """Names of the families behind names and groups, in order; `all` leaves out the optional ones."""
    groups = {group for family in known.values() for group in family.groups}
    for name in wanted:
        if name not in {ALL, *known, *groups}:
            raise UserError(f"There is no family of test sets {name!r}{nearest(name, [*known, *groups])}")
    return [
        family.name
        for family in known.values()
        if {family.name, *family.groups} & set(wanted) or (ALL in wanted and not family.optional)
    ]


def _refuse_families(names: Sequence[str]) -> None:
    """Raise if there are families of test sets among the names of tasks, where they once stood."""
    known = _known(TASKS)
    families = {*known, *(group for family in known.values() for group in family.groups)} - set(TASKS.names())
    if not (found := [name for name in names if name in families]):
        return
    first = next(task.name for task in TASKS if task.test_set_families)
    tasks = ",".join(name for name in names if name not in families) or first
    one = "is a family" if found[0] in known else "is a group"
    what = f"{one if len(found) == 1 else 'are families'} of test sets"
    raise UserError(f"{', '.join(found)} {what}: use --task {tasks} --test-sets {','.join(found)}.")


def method_to_check(method: Any, settings: Overrides) -> Inference:
    """A method by its name, with settings of its own, or as an object.

    Raises:
        UserError: no such method, settings of others or a grid, or a method without regression.
    """
    given = isinstance(method, Inference)
    found = _given_to_check(method, settings) if given else _named_to_check(text_of(method, "METHOD"), settings)
    if "regression" not in found.supports:
        raise UserError(f"The checks are regressions, which {found.name!r} does not support.")
    return found


def _given_to_check(method: Inference, settings: Overrides) -> Inference:
    METHODS.admitted(type(method))
    if settings:
        raise UserError(f"--set is for a method that is named; {method.name!r} was given as an object, configured.")
    return valid(method)


def _named_to_check(name: str, settings: Overrides) -> Inference:
    cls = METHODS.get(name)
    if others := sorted(set(settings) - {cls.name}):
        raise UserError(f"--set names {others[0]!r}, and the method to be checked is {cls.name!r}.")
    grid = settings.get(cls.name, {})
    if any(len(values) > 1 for values in grid.values()):
        raise UserError("bnnbench check takes one value a parameter, no grid.")
    (configured,) = configurations(cls, grid)
    return configured
