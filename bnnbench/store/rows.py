"""From the runner's records to rows, in few statements: while they run, nobody else can write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import insert, orm

from bnnbench.records import EvaluationRecord, Outcome, Series
from bnnbench.store.encoding import encode_series, encode_value, finite_or_none
from bnnbench.store.tables import Artifact, Attempt, Base, Curve, Evaluation, Score, utc_now

Rows = list[dict[str, Any]]


def insert_attempts(
    session: orm.Session, new: Sequence[tuple[int, Outcome, Rows]], session_id: int, metrics: Mapping[str, int]
) -> None:
    """Insert attempts with all that hangs on them.

    Args:
        new: id of the cell, what became of it, and rows of its artifacts that lack the attempt's id.
        metrics: name -> id.
    """
    attempts = [{"cell_id": cell_id, "session_id": session_id, **_attempt(outcome)} for cell_id, outcome, _ in new]
    ids = _insert(session, Attempt, attempts)
    rows, curves, evaluations = [], [], []
    for attempt_id, (_, outcome, artifacts) in zip(ids, new, strict=True):
        rows += [{"attempt_id": attempt_id, **artifact} for artifact in artifacts]
        curves += _curves(attempt_id, None, outcome.curves)
        evaluations += [(attempt_id, evaluation) for evaluation in outcome.evaluations]
    _insert(session, Artifact, rows)
    _insert(session, Curve, curves)
    insert_evaluations(session, evaluations, metrics)


def insert_evaluations(
    session: orm.Session, new: Sequence[tuple[int, EvaluationRecord]], metrics: Mapping[str, int]
) -> None:
    """Insert evaluations, each given with the id of its attempt, with their scores and curves."""
    ids = _insert(session, Evaluation, [{"attempt_id": i, "name": e.name, "n": int(e.n)} for i, e in new])
    scores, curves = [], []
    for evaluation_id, (attempt_id, evaluation) in zip(ids, new, strict=True):
        curves += _curves(attempt_id, evaluation_id, evaluation.curves)
        for score in evaluation.scores:
            value, kind = encode_value(score.value)
            row = {"evaluation_id": evaluation_id, "metric_id": metrics[score.metric], "value": value, "kind": kind}
            scores.append({**row, "stderr": finite_or_none(score.stderr)})
    _insert(session, Score, scores)
    _insert(session, Curve, curves)


def _insert(session: orm.Session, table: type[Base], rows: Rows) -> list[int]:
    """Insert rows; returns their ids, where there are such, in the order of the rows."""
    if not rows:
        return []
    core = Base.metadata.tables[table.__tablename__]
    if "id" not in core.c:
        session.connection().execute(insert(core), rows)
        return []
    returning = insert(core).returning(core.c.id, sort_by_parameter_order=True)
    return list(session.connection().execute(returning, rows).scalars())


def _attempt(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status.value,
        "message": outcome.message,
        "steps": int(outcome.steps),  # numpy's integers would be stored as bytes
        "gradients": int(outcome.gradients),
        "step_kept": None if outcome.step_kept is None else int(outcome.step_kept),
        "compiled": bool(outcome.compiled),
        "pack_size": int(outcome.pack_size),
        "wall_s": finite_or_none(outcome.wall_s) or 0.0,
        "peak_memory_mb": finite_or_none(outcome.peak_memory_mb) or 0.0,
        "parameters": int(outcome.parameters),
        "finished": utc_now(),
    }


def _curves(attempt_id: int, evaluation_id: int | None, curves: Mapping[str, Series]) -> Iterable[dict[str, Any]]:
    parent = {"attempt_id": attempt_id, "evaluation_id": evaluation_id}
    return [{**parent, "name": name, "columns": encode_series(series)} for name, series in curves.items()]
