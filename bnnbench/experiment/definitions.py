"""What a report needs of the methods, tasks and metrics of a run, as the store keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bnnbench import metrics
from bnnbench.engine.cell import Cell
from bnnbench.evaluation.calibrations import FITTED
from bnnbench.evaluation.certificate import CERTIFICATE
from bnnbench.evaluation.diagnostics import DIAGNOSTICS
from bnnbench.methods import METHODS, Inference
from bnnbench.methods.base import role_of
from bnnbench.records import MethodRecord, MetricRecord, TaskRecord
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS, Task

Definitions = tuple[list[MethodRecord], list[TaskRecord], list[MetricRecord]]


def definitions(cells: Sequence[Cell]) -> Definitions:
    """What a report needs of everything in the plan."""
    used_methods = {cell.method.name: cell.method for cell in cells}
    used_tasks = {cell.task.name: cell for cell in cells}
    methods = _order([*METHODS.names(), *used_methods])
    tasks = _order([*TASKS.names(), *used_tasks])
    return (
        [replace(method_record(method), order=methods[method.name]) for method in used_methods.values()],
        [replace(task_record(cell.task, cell.root), order=tasks[cell.task.name]) for cell in used_tasks.values()],
        metric_records(),
    )


def method_record(method: Inference) -> MethodRecord:
    """A method as the store keeps it; one that is not registered stands after those that are."""
    return MethodRecord(
        name=method.name,
        version=method.version,
        citation=method.citation,
        tags=method.tags,
        order=_order([*METHODS.names(), method.name])[method.name],
        role=role_of(type(method)),
        other_target="other-target" in method.tags,
        implements=method.implements,
    )


def task_record(task: Task, root: Path | None) -> TaskRecord:
    """A task as the store keeps it; one that is not registered stands after those that are."""
    return TaskRecord(
        name=task.name,
        version=task.versioned(root),
        kind=task.kind,
        groups=task.groups,
        citation=task.citation,
        order=_order([*TASKS.names(), task.name])[task.name],
        notes=task.data(root).notes,
        warning=task.warning,
    )


def metric_records() -> list[MetricRecord]:
    """All metrics, in the order of the tables."""
    known = [*(metric.record() for metric in metrics.METRICS), *DIAGNOSTICS, *CERTIFICATE, *FITTED]
    return [replace(record, order=order) for order, record in enumerate(known)]


def _order(names: list[str]) -> dict[str, int]:
    """Place of each name: that of the registry, then of what is not registered."""
    return {name: order for order, name in enumerate(dict.fromkeys(names))}


def is_registered(store: ResultStore, wanted: Definitions) -> bool:
    """Whether the store has these definitions, and has them as the current ones."""
    for frame, records in zip((store.methods(), store.tasks(), store.metrics()), wanted, strict=True):
        known = {row["name"]: row for row in frame.to_dict("records")}
        for record in records:
            row = known.get(record.name, {})
            if any(row.get(k) != (list(v) if isinstance(v, tuple) else v) for k, v in vars(record).items()):
                return False
    return True
