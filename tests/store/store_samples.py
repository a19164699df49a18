"""Records and small databases for the tests of the store."""

from dataclasses import replace

from bnnbench.records import (
    CellRecord,
    EvaluationRecord,
    MethodRecord,
    MetricRecord,
    Outcome,
    Score,
    SessionRecord,
    Status,
    TaskRecord,
)
from bnnbench.store.store import ResultStore

SESSION = SessionRecord("abc", False, {"torch": "2.11"}, "cpu", "host", 2, "bnnbench run")
METHODS = [MethodRecord("bbp", 1, "Blundell 2015", ("vi",), 0), MethodRecord("mcd", 2, "Gal 2016", ("vi", "cheap"), 1)]
TASKS = [TaskRecord("wine", "1+sha256:aa", "regression", ("uci",), "Cortez 2009", 0, ("240 duplicates",))]
METRICS = [
    MetricRecord("rmse", -1, "y", "root mean square error", ("regression",), headline=True),
    MetricRecord("log_likelihood", 1, "nats", "mean", ("regression", "classification"), order=1),
]


def make_cell(index: int = 0, **changes) -> CellRecord:
    same = {"task": "wine", "task_version": "1+sha256:aa", "method": "bbp", "method_version": 1, "config": "{}"}
    return CellRecord(
        **{**same, "label": "default", "rule": "10fold", "index": index, "seed": 0, "budget": "quick", **changes}
    )


def make_outcome(cell: CellRecord, value: float = 0.5, status: Status = Status.OK, **changes) -> Outcome:
    scores = (Score("rmse", value, 0.1), Score("log_likelihood", -value, None))
    evaluations = (EvaluationRecord("test", 160, scores, {"pit": {"x": [0.0, 1.0], "y": [0.25, 1.0]}}),)
    return Outcome(cell, status, **{"evaluations": evaluations if status == Status.OK else (), **changes})


def prepared(path, command: str = SESSION.command, **options) -> tuple[ResultStore, int]:
    """An open store with definitions and one session."""
    store = ResultStore(path, **options)
    store.register(METHODS, TASKS, METRICS)
    return store, store.start_session(replace(SESSION, command=command))
