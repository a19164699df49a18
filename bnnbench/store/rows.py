"""From the runner's records to rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bnnbench.store.encoding import encode_series, encode_value, finite_or_none
from bnnbench.store.records import EvaluationRecord, Outcome, Series
from bnnbench.store.tables import Artifact, Attempt, Cell, Curve, Evaluation, Score


def attempt_row(
    session_id: int, cell: Cell, outcome: Outcome, artifacts: list[Artifact], metrics: Mapping[str, int]
) -> Attempt:
    """An attempt with all that hangs on it; `metrics` gives their ids."""
    attempt = Attempt(
        session_id=session_id,
        cell=cell,
        status=outcome.status.value,
        message=outcome.message,
        # numpy's integers would be stored as bytes
        steps=int(outcome.steps),
        gradients=int(outcome.gradients),
        step_kept=None if outcome.step_kept is None else int(outcome.step_kept),
        compiled=bool(outcome.compiled),
        pack_size=int(outcome.pack_size),
        wall_s=finite_or_none(outcome.wall_s) or 0.0,
        peak_memory_mb=finite_or_none(outcome.peak_memory_mb) or 0.0,
        parameters=int(outcome.parameters),
        artifacts=artifacts,
        curves=_curve_rows(outcome.curves),
    )
    attempt.evaluations = evaluation_rows(attempt, outcome.evaluations, metrics)
    return attempt


def evaluation_rows(
    attempt: Attempt, evaluations: Iterable[EvaluationRecord], metrics: Mapping[str, int]
) -> list[Evaluation]:
    """Evaluations of an attempt, with their scores and curves."""
    rows = []
    for evaluation in evaluations:
        curves = _curve_rows(evaluation.curves)
        attempt.curves += curves
        scores = []
        for score in evaluation.scores:
            value, kind = encode_value(score.value)
            stderr = finite_or_none(score.stderr)
            scores.append(Score(metric_id=metrics[score.metric], value=value, kind=kind, stderr=stderr))
        rows.append(Evaluation(name=evaluation.name, n=int(evaluation.n), scores=scores, curves=curves))
    return rows


def _curve_rows(curves: Mapping[str, Series]) -> list[Curve]:
    return [Curve(name=name, columns=encode_series(series)) for name, series in curves.items()]
