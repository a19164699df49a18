"""What is installed here, against which a submission is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.evaluation.again import scored_again
from bnnbench.experiment.definitions import definitions
from bnnbench.methods import METHODS, Inference
from bnnbench.methods.constant import Constant
from bnnbench.names import parse_split
from bnnbench.records import CellRecord
from bnnbench.store.validation import Arrays, Installed
from bnnbench.tasks import Task
from bnnbench.tasks.own import all_tasks


def installed(root: Path | None = None) -> Installed:
    """Methods, tasks and metrics of this process; nothing is fetched."""
    return Installed(
        methods={method.name: method.version for method in METHODS},
        task_version=lambda name: _version(name, root),
        metrics={record.name: record for record in definitions([])[2]},
        splits=lambda record: _splits(record.task, record.method, record.config, record.rule, root),
        rescored=lambda record, arrays: _rescored(record, arrays, root),
    )


def splits_of(attempt: Mapping[str, Any], root: Path | None = None) -> int | None:
    """How many splits a configuration is run on, of a row of `ResultStore.attempts`: all of its rule, or the first
    alone where the task has too many rows for the method. None where the task or its data are not here."""
    rule, _ = parse_split(attempt["split"])
    return _splits(attempt["task"], attempt["method"], attempt["configuration"], rule, root)


def _splits(task: str, method: str, config: str, rule: str, root: Path | None) -> int | None:
    tasks = all_tasks(root)
    if task not in tasks.names() or not _loaded(tasks.get(task), root):
        return None
    try:
        count, rows = len(tasks.get(task).splits(rule, root)), len(tasks.get(task).data(root).x)
        most = _method(method, config).most_rows
    except UserError:
        return None
    return 1 if most is not None and rows > most else count


def _method(name: str, config: str) -> Inference:
    """The method of a cell; of one that is not here, or takes other fields here, one that asks for nothing special."""
    if name not in METHODS.names():
        return Constant()
    try:
        return METHODS.get(name)(**json.loads(config))
    except (TypeError, ValueError):
        return Constant()


def _version(name: str, root: Path | None) -> str | None:
    """A task's version, with the checksum of its data where these are here; None of a task that is not."""
    tasks = all_tasks(root)
    if name not in tasks.names():
        return None
    task = tasks.get(name)
    return f"{task.version}+{task.data(root).checksum}" if _loaded(task, root) else f"{task.version}"


@cache
def _loaded(task: Task, root: Path | None) -> bool:
    """Whether the data are here and can be read."""
    try:
        return task.present(root) and len(task.data(root).x) > 0
    except UserError:
        return False


def _rescored(record: CellRecord, arrays: Arrays, root: Path | None) -> dict[tuple[str, str], float]:
    """Scores that follow from a stored predictive; none where the task and its data are not here as they were."""
    if _version(record.task, root) != record.task_version:
        return {}
    task, method = all_tasks(root).get(record.task), _method(record.method, record.config)
    cell = Cell(task, method, record.rule, record.index, record.seed, task.budget(record.budget), root)
    return {(found.name, score.metric): score.value for found in scored_again(cell, arrays) for score in found.scores}
