"""The result store: everything the runner writes, and what `show` and `load` look up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import delete, orm, select, update

from bnnbench.records import (
    EvaluationRecord,
    MethodRecord,
    MetricRecord,
    Outcome,
    SessionRecord,
    TaskRecord,
)
from bnnbench.store import tables
from bnnbench.store.artifacts import write_artifact
from bnnbench.store.claims import Claims
from bnnbench.store.faults import retried
from bnnbench.store.folders import below
from bnnbench.store.lookup import Lookup
from bnnbench.store.passwords import masked_command
from bnnbench.store.reading import Reading
from bnnbench.store.rows import (
    Rows,
    by_fingerprint,
    complete_evaluation,
    finished,
    insert_attempts,
    insert_evaluations,
    insert_rows,
    stored_or_new,
)


class ResultStore(Reading, Lookup, Claims):
    """A database of results. `Database` says how it opens; `Claims`, `Reading` and `Lookup` hold the other methods."""

    @retried
    def register(
        self,
        methods: Iterable[MethodRecord] = (),
        tasks: Iterable[TaskRecord] = (),
        metrics: Iterable[MetricRecord] = (),
    ) -> None:
        """Write or refresh definitions; the version registered last becomes the current one of its name."""
        with self.writing() as session:
            for record in (*methods, *tasks):
                table = tables.Method if isinstance(record, MethodRecord) else tables.Task
                others = (table.name == record.name, table.version != record.version, table.current)
                session.execute(update(table).where(*others).values(current=False))
                _upsert(session, table, ("name", "version"), {**vars(record), "current": True})
            for record in metrics:
                _upsert(session, tables.Metric, ("name",), vars(record))

    @retried
    def start_session(self, record: SessionRecord) -> int:
        """Store the provenance of a run; all that it records refers to the id."""
        values = {"versions": dict(record.versions), "command": masked_command(record.command)}
        with self.writing() as session:
            row = tables.Session(**{**vars(record), **values})
            session.add(row)
            session.flush()
            return row.id

    @retried
    def record(
        self, session_id: int, outcomes: Iterable[Outcome], owner: str | None = None, force: bool = False
    ) -> int:
        """Store what became of a pack's cells, all or nothing, and end the claims on them.

        A cell that is finished already stays as it is, unless forced; then the new attempt becomes the current one.

        Args:
            owner: whose claims end; None ends everybody's.

        Returns:
            The number of attempts stored.
        """
        outcomes = list(outcomes)
        # Files first: a crash in between leaves a file that nothing mentions, never a row without its file.
        files = [self._write_artifacts(outcome) for outcome in outcomes]
        cells, new = by_fingerprint(outcome.cell for outcome in outcomes), []
        with self.writing() as session:
            done = set() if force else finished(session, cells)
            rows = stored_or_new(session, cells)
            metrics = _metric_ids(session, (e for outcome in outcomes for e in outcome.evaluations))
            session.flush()  # gives cells their ids
            for outcome, artifacts in zip(outcomes, files, strict=True):
                row = rows[outcome.cell.fingerprint]
                if owner is None or row.owner == owner:
                    row.owner = row.heartbeat = row.claimed = None
                if row.fingerprint not in done:
                    new.append((row.id, outcome, artifacts))
                    if outcome.status.finished and not force:
                        done.add(row.fingerprint)
            insert_attempts(session, new, session_id, metrics)
        return len(new)

    @retried
    def add_evaluations(self, fingerprint: str, evaluations: Iterable[EvaluationRecord]) -> int:
        """Add evaluations to the current attempt of a trained cell; those it has already stay as they are.

        Returns:
            The number of evaluations stored.
        """
        evaluations = list(evaluations)
        current = select(tables.Attempt.id).join(tables.Cell).where(tables.IS_CURRENT)
        with self.writing() as session:
            attempt = session.scalars(current.where(tables.Cell.fingerprint == fingerprint)).one()
            names = select(tables.Evaluation.name).where(tables.Evaluation.attempt_id == attempt)
            known = set(session.scalars(names))
            new = [(attempt, evaluation) for evaluation in evaluations if evaluation.name not in known]
            insert_evaluations(session, new, _metric_ids(session, evaluations))
        return len(new)

    @retried
    def add_scores(self, fingerprint: str, evaluations: Iterable[EvaluationRecord]) -> int:
        """Add to evaluations of the current attempt of a cell the metrics that they lack, and to their curves the
        columns; what they have stays as it is.

        Returns:
            The number of scores stored.
        """
        evaluations = list(evaluations)
        current = select(tables.Attempt.id).join(tables.Cell).where(tables.IS_CURRENT)
        with self.writing() as session:
            attempt = session.scalars(current.where(tables.Cell.fingerprint == fingerprint)).one()
            own = select(tables.Evaluation.name, tables.Evaluation.id).where(tables.Evaluation.attempt_id == attempt)
            ids = {row.name: row.id for row in session.execute(own)}
            metrics = _metric_ids(session, evaluations)
            known = [(ids[record.name], record) for record in evaluations if record.name in ids]
            return sum(complete_evaluation(session, attempt, place, record, metrics) for place, record in known)

    @retried
    def add_verdicts(
        self, session_id: int, method: MethodRecord, config: str, label: str, verdicts: Iterable[Mapping[str, Any]]
    ) -> None:
        """Store what the checks found of a configuration, in place of what an earlier run of them found.

        Args:
            config: canonical JSON. label: what of it differs from the defaults. verdicts: in the order of the checks,
                each with the columns `name`, `figure`, `limit`, `passed` and `note`.
        """
        with self.writing() as session:
            own = select(tables.Method.id).filter_by(name=method.name, version=method.version)
            about = {"method_id": session.scalars(own).one(), "config": config}
            session.execute(delete(tables.Verdict).filter_by(**about))
            insert_rows(session, tables.Verdict, [
                {**about, "session_id": session_id, "label": label, **verdict} for verdict in verdicts
            ])  # fmt: skip

    def _write_artifacts(self, outcome: Outcome) -> Rows:
        rows = []
        for kind, arrays in outcome.artifacts.items():
            digest, path = write_artifact(self.root, arrays, outcome.cell, kind)
            rows.append({"kind": kind, "sha256": digest, "path": below(path, self.base)})
        return rows


def _upsert(session: orm.Session, table: type[tables.Base], key: tuple[str, ...], values: Mapping[str, Any]) -> None:
    """Insert a row or change the one with this key; equal values write nothing."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    row = session.scalars(select(table).filter_by(**{name: values[name] for name in key})).one_or_none()
    if row is None:
        session.add(table(**values))
    else:
        for name, value in values.items():
            setattr(row, name, value)


def _metric_ids(session: orm.Session, evaluations: Iterable[EvaluationRecord]) -> dict[str, int]:
    """Name -> id. A metric that nobody registered gets a bare definition, so that its scores are not lost."""
    wanted = {score.metric: None for evaluation in evaluations for score in evaluation.scores}
    ids = {row.name: row.id for row in session.scalars(select(tables.Metric))}
    new = [tables.Metric(name=name) for name in wanted if name not in ids]
    session.add_all(new)
    session.flush()
    return ids | {row.name: row.id for row in new}
