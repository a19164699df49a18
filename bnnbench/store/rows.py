"""Between the runner's records and rows of the tables, in few statements: while they run, nobody else can write.

Databases disagree about NaN and infinities, so numbers name them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, orm, select

from bnnbench import records
from bnnbench.records import CellRecord, EvaluationRecord, Outcome, Series, Status
from bnnbench.store.series import decode, encode
from bnnbench.store.tables import (
    IS_CURRENT,
    Artifact,
    Attempt,
    Base,
    Cell,
    Curve,
    Evaluation,
    Method,
    Score,
    Task,
    utc_now,
)

_SAME = ("config", "label", "rule", "index", "seed", "budget", "origin", "purpose")  # of a record and its row
NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
Rows = list[dict[str, Any]]
T = TypeVar("T")
_FINISHED = [status.value for status in Status if status.finished]
_CHUNK = 500  # values in one IN; some databases take no more than 999


def by_fingerprint(cells: Iterable[CellRecord]) -> dict[str, CellRecord]:
    """Fingerprint -> cell, in the given order without repetition."""
    return {cell.fingerprint: cell for cell in cells}


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Pieces small enough for one IN clause."""
    everything = list(values)
    return (everything[i : i + _CHUNK] for i in range(0, len(everything), _CHUNK))


def finished(database: Connection | orm.Session, fingerprints: Iterable[str]) -> set[str]:
    """Those whose current attempt is finished."""
    found = select(Cell.fingerprint).join(Attempt).where(IS_CURRENT, Attempt.status.in_(_FINISHED))
    return {
        row.fingerprint
        for chunk in chunks(fingerprints)
        for row in database.execute(found.where(Cell.fingerprint.in_(chunk)))
    }


def stored(session: orm.Session, fingerprints: Iterable[str]) -> dict[str, Cell]:
    """Fingerprint -> row of those that are in the database."""
    return {
        row.fingerprint: row
        for chunk in chunks(fingerprints)
        for row in session.scalars(select(Cell).where(Cell.fingerprint.in_(chunk)))
    }


def stored_or_new(session: orm.Session, cells: Mapping[str, CellRecord]) -> dict[str, Cell]:
    """Fingerprint -> row of every cell; those that are new are inserted.

    Raises:
        ValueError: the method or the task of a cell was not registered.
    """
    rows = stored(session, cells)
    if len(rows) < len(cells):
        methods = {(row.name, row.version): row.id for row in session.scalars(select(Method))}
        tasks = {(row.name, row.version): row.id for row in session.scalars(select(Task))}
        for fingerprint, cell in cells.items():
            if fingerprint in rows:
                continue
            method, task = methods.get((cell.method, cell.method_version)), tasks.get((cell.task, cell.task_version))
            if method is None or task is None:
                raise ValueError(
                    f"{cell.method} version {cell.method_version} or {cell.task} version {cell.task_version} "
                    "is not registered; call ResultStore.register first."
                )
            same = {name: getattr(cell, name) for name in _SAME}
            rows[fingerprint] = Cell(fingerprint=fingerprint, method_id=method, task_id=task, **same)
            session.add(rows[fingerprint])
    return rows


def insert_attempts(
    session: orm.Session, new: Sequence[tuple[int, Outcome, Rows]], session_id: int, metrics: Mapping[str, int]
) -> None:
    """Insert attempts with their evaluations, curves and artifacts.

    Args:
        new: id of the cell, what became of it, and rows of its artifacts that lack the attempt's id.
        metrics: name -> id.
    """
    attempts = [{"cell_id": cell_id, "session_id": session_id, **_attempt(outcome)} for cell_id, outcome, _ in new]
    ids = insert_rows(session, Attempt, attempts)
    rows, curves, evaluations = [], [], []
    for attempt_id, (_, outcome, artifacts) in zip(ids, new, strict=True):
        rows += [{"attempt_id": attempt_id, **artifact} for artifact in artifacts]
        curves += curve_rows(attempt_id, None, outcome.curves)
        evaluations += [(attempt_id, evaluation) for evaluation in outcome.evaluations]
    insert_rows(session, Artifact, rows)
    insert_rows(session, Curve, curves)
    insert_evaluations(session, evaluations, metrics)


def insert_evaluations(
    session: orm.Session, new: Sequence[tuple[int, EvaluationRecord]], metrics: Mapping[str, int]
) -> None:
    """Insert evaluations, each given with the id of its attempt, with their scores and curves."""
    ids = insert_rows(session, Evaluation, [{"attempt_id": i, "name": e.name, "n": int(e.n)} for i, e in new])
    scores, curves = [], []
    for evaluation_id, (attempt_id, evaluation) in zip(ids, new, strict=True):
        curves += curve_rows(attempt_id, evaluation_id, evaluation.curves)
        scores += [_score(evaluation_id, metrics[score.metric], score) for score in evaluation.scores]
    insert_rows(session, Score, scores)
    insert_rows(session, Curve, curves)


def complete_evaluation(
    session: orm.Session, attempt_id: int, evaluation_id: int, record: EvaluationRecord, metrics: Mapping[str, int]
) -> int:
    """Insert the scores that an evaluation lacks, its curves, and the columns of those; returns how many scores."""
    query = select(Score.metric_id).where(Score.evaluation_id == evaluation_id)
    known = set(session.scalars(query))
    new = [_score(evaluation_id, metrics[s.metric], s) for s in record.scores if metrics[s.metric] not in known]
    insert_rows(session, Score, new)
    curves = {row.name: row for row in session.scalars(select(Curve).where(Curve.evaluation_id == evaluation_id))}
    for name, series in record.curves.items():
        if name in curves:
            curves[name].content = completed(curves[name].content, encode(series))
    lacking = {name: series for name, series in record.curves.items() if name not in curves}
    session.flush()
    insert_rows(session, Curve, list(curve_rows(attempt_id, evaluation_id, lacking)))
    return len(new)


def completed(own: bytes, other: bytes) -> bytes:
    """A curve with the columns of another one that it lacks, where the two are of one length."""
    columns, more = decode(own), decode(other)
    lacking = {name: column for name, column in more.items() if name not in columns}
    sizes = {len(column) for column in (*columns.values(), *lacking.values())}
    return encode({**columns, **lacking}) if lacking and len(sizes) == 1 else own


def insert_rows(session: orm.Session, table: type[Base], rows: Rows) -> list[int]:
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
        "source": outcome.source,
        "finished": utc_now(),
    }


def curve_rows(attempt_id: int, evaluation_id: int | None, curves: Mapping[str, Series]) -> Iterable[dict[str, Any]]:
    parent = {"attempt_id": attempt_id, "evaluation_id": evaluation_id}
    return [{**parent, "name": name, "content": encode(series)} for name, series in curves.items()]


def _score(evaluation_id: int, metric_id: int, score: records.Score) -> dict[str, Any]:
    value, kind = encode_value(score.value)
    row = {"evaluation_id": evaluation_id, "metric_id": metric_id, "value": value, "kind": kind}
    return {**row, "stderr": finite_or_none(score.stderr)}


def encode_value(value: float) -> tuple[float | None, str | None]:
    """What goes into the columns value and kind."""
    value = float(value)
    return (value, None) if math.isfinite(value) else (None, str(value))


def finite_or_none(value: float | None) -> float | None:
    """For columns in which NaN and infinities mean nothing more than `unknown`."""
    return float(value) if value is not None and math.isfinite(value) else None
