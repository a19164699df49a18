"""The result store, as reports read it: data frames of current attempts only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Select, String, Subquery, cast, func, inspect, or_, select, type_coerce
from sqlalchemy.types import NullType

from bnnbench.errors import UserError
from bnnbench.names import DEFAULT
from bnnbench.records import SCORED, Purpose, Status
from bnnbench.store import server
from bnnbench.store.claims import holds
from bnnbench.store.database import Database
from bnnbench.store.faults import retried, value_faults
from bnnbench.store.rows import NON_FINITE, chunks
from bnnbench.store.series import decode
from bnnbench.store.tables import (
    IS_CURRENT,
    Attempt,
    Cell,
    Curve,
    Evaluation,
    Method,
    Metric,
    Score,
    Session,
    Task,
    Verdict,
)

Columns = Mapping[str, Any]  # name of a column of a frame -> expression
Wanted = str | int | Iterable[str] | Iterable[int] | None

_CELL: Columns = {
    "task": Task.name,
    "method": Method.name,
    "config": Cell.label,
    "split": Cell.rule + "-" + cast(Cell.index, String),
    "seed": Cell.seed,
    "budget": Cell.budget,
}
_ORIGIN: Columns = {"origin": Cell.origin}
_PURPOSE: Columns = {"purpose": Cell.purpose}
_IDENTITY: Columns = {
    "task_version": Task.version,
    "method_version": Method.version,
    "fingerprint": Cell.fingerprint,
}
_ATTEMPT: Columns = {
    column.name: getattr(Attempt, column.name)
    for column in Attempt.__table__.columns
    if column.name not in ("id", "cell_id", "session_id")
}
_SCORE: Columns = {
    "evaluation": Evaluation.name,
    "metric": Metric.name,
    "value": Score.value,
    "stderr": Score.stderr,
    "status": Attempt.status,
    "n": Evaluation.n,
}
_SPLIT_ORDER: Columns = {"rule": Cell.rule, "index": Cell.index}  # needed to sort splits by number
_FILTERS: Columns = {**_CELL, **_ORIGIN, **_PURPOSE, **_IDENTITY, "rule": Cell.rule, "status": Attempt.status}
_TYPES = {
    "seed": "int64",
    "method_version": "int64",
    "value": "float64",
    "stderr": "float64",
    "figure": "float64",
    "limit": "float64",
    "passed": "boolean",
    "n": "Int64",
    "step_kept": "Int64",
    "claimed": "float64",
    "heartbeat": "float64",
}
_ROWS = 50_000  # Python objects of so many rows at a time; frames hold the same in a tenth of the memory


class Reading(Database):
    """What is stored, as data frames whose order depends on the content alone.

    Filters are `task, method, config, split, seed, budget, task_version, method_version, fingerprint, origin, purpose,
    rule, status`: one value, several, or None for all. Trials of hyperparameters are left out unless a purpose or a
    fingerprint is given. `latest_only` leaves out results of versions that are not the ones
    registered last, and those of defaults that have changed since (another configuration under the same label, of an
    older attempt); without it they stand apart by their versions and configurations.
    """

    def scores(
        self, *, evaluation: Wanted = None, metric: Wanted = None, latest_only: bool = True, **filters: Wanted
    ) -> pd.DataFrame:
        """One row a score. A cell without scores is one row of empty evaluation and metric, whichever are wanted."""
        scored = Evaluation.__table__.join(Score.__table__).join(Metric.__table__)
        columns = {**_CELL, **_SCORE, **_ORIGIN, **_PURPOSE, **_IDENTITY, **_SPLIT_ORDER, "kind": Score.kind}
        query = _cells(columns, latest_only, filters)
        query = query.outerjoin(scored, Evaluation.attempt_id == Attempt.id)
        for column, wanted in ((Evaluation.name, evaluation), (Metric.name, metric)):
            if wanted is not None:
                query = query.where(or_(_matches(column, wanted), column.is_(None)))
        frame = self._frame(query)
        frame["value"] = frame["value"].fillna(frame.pop("kind").map(NON_FINITE).astype("float64"))
        frame[["evaluation", "metric"]] = frame[["evaluation", "metric"]].fillna("")
        return _in_order(frame, ["evaluation", "metric"])

    def attempts(self, *, latest_only: bool = True, **filters: Wanted) -> pd.DataFrame:
        """One row a cell: how its current attempt went, and the session that made it."""
        columns = {**_CELL, **_ATTEMPT, "session": Attempt.session_id, "configuration": Cell.config}
        columns = {**columns, **_ORIGIN, **_PURPOSE, **_IDENTITY, **_SPLIT_ORDER}
        return _in_order(self._frame(_cells(columns, latest_only, filters)))

    def best_runs(self, *, method: Wanted, task: Wanted = None, rule: Wanted = None) -> pd.DataFrame:
        """As `attempts`, of the default configuration: of each method, task and split the run to trust most, whatever
        its budget. One that its own diagnostics do not flag comes first, then that of more gradients."""
        runs = self.attempts(method=method, task=task, rule=rule, config=DEFAULT, status=SCORED)
        runs = runs.assign(flagged=runs["status"] != Status.OK.value, spent=-runs["gradients"])
        runs = runs.sort_values(["flagged", "spent", "seed"], kind="stable").drop(columns=["flagged", "spent"])
        return runs.drop_duplicates(["task", "split", "method"]).sort_index()

    def curves(
        self, name: str, *, evaluation: Wanted = None, latest_only: bool = True, **filters: Wanted
    ) -> list[tuple[dict[str, Any], str | None, dict[str, np.ndarray]]]:
        """All curves of this name: (columns of the cell, evaluation or None for training, columns of the curve).

        A curve without columns is one that cannot be read: something else has written it.
        """
        content = type_coerce(Curve.content, NullType())  # decoded here, one by one
        columns = {**_CELL, **_IDENTITY, "evaluation": Evaluation.name, **_SPLIT_ORDER, "content": content}
        query = _cells(columns, latest_only, filters).join(Curve, Curve.attempt_id == Attempt.id)
        query = query.outerjoin(Evaluation, Curve.evaluation_id == Evaluation.id).where(Curve.name == name)
        if evaluation is not None:
            query = query.where(_matches(Evaluation.name, evaluation))
        frame = self._frame(query)
        frame["evaluation"] = frame["evaluation"].fillna("")
        found = _in_order(frame, ["evaluation"]).to_dict("records")
        return [
            ({key: row[key] for key in (*_CELL, *_IDENTITY)}, row["evaluation"] or None, decode(row["content"]))
            for row in found
        ]

    def running(self) -> pd.DataFrame:
        """The cells that a live process has claimed: columns of the cell, its owner, and times of the claim and of the
        last heartbeat in seconds since the epoch."""
        claim = {"owner": Cell.owner, "claimed": Cell.claimed, "heartbeat": Cell.heartbeat}
        columns = {**_CELL, **claim, **_IDENTITY, **_SPLIT_ORDER}
        query = select(*_labelled(columns)).select_from(Cell).join(Task).join(Method).where(Cell.owner.is_not(None))
        frame = _in_order(self._frame(query))
        frame["claimed"] = frame["claimed"].fillna(frame["heartbeat"])  # of a claim by an earlier bnnbench
        now = self.now()
        alive = [holds(owner, beat, now) for owner, beat in zip(frame["owner"], frame["heartbeat"], strict=True)]
        return frame.loc[alive].reset_index(drop=True)

    @retried
    def evaluated(self, fingerprints: Iterable[str]) -> dict[str, set[str]]:
        """Fingerprint -> names of the evaluations that its current attempt has; cells without attempt are left out."""
        query = select(Cell.fingerprint, Evaluation.name).join(Attempt, Attempt.cell_id == Cell.id).where(IS_CURRENT)
        query = query.outerjoin(Evaluation, Evaluation.attempt_id == Attempt.id)
        names: dict[str, set[str]] = {}
        with self.reading() as connection:
            for chunk in chunks(fingerprints):
                for fingerprint, name in connection.execute(query.where(Cell.fingerprint.in_(chunk))):
                    names.setdefault(fingerprint, set()).update([name] if name else [])
        return names

    @retried
    def scored(self, fingerprints: Iterable[str]) -> dict[str, dict[str, set[str]]]:
        """Fingerprint -> evaluation -> metrics, of current attempts that have evaluations."""
        query = select(Cell.fingerprint, Evaluation.name, Metric.name.label("metric")).select_from(Cell)
        query = query.join(Attempt, Attempt.cell_id == Cell.id).join(Evaluation, Evaluation.attempt_id == Attempt.id)
        query = query.outerjoin(Score, Score.evaluation_id == Evaluation.id)
        query = query.outerjoin(Metric, Metric.id == Score.metric_id).where(IS_CURRENT)
        found: dict[str, dict[str, set[str]]] = {}
        with self.reading() as connection:
            for chunk in chunks(fingerprints):
                for fingerprint, name, metric in connection.execute(query.where(Cell.fingerprint.in_(chunk))):
                    own = found.setdefault(fingerprint, {}).setdefault(name, set())
                    own.update([metric] if metric else [])
        return found

    def sessions(self) -> pd.DataFrame:
        """One row a run: its id and provenance."""
        return self._frame(select(Session.__table__).order_by(Session.id))

    def methods(self, *, latest_only: bool = True) -> pd.DataFrame:
        """Definitions of methods, in their order; `current` marks the version registered last."""
        return self._definitions(Method, Method.current if latest_only else None)

    def tasks(self, *, latest_only: bool = True) -> pd.DataFrame:
        """Definitions of tasks, in their order; `current` marks the version registered last."""
        return self._definitions(Task, Task.current if latest_only else None)

    def metrics(self) -> pd.DataFrame:
        """Definitions of metrics, in their order."""
        return self._definitions(Metric)

    def verdicts(self) -> pd.DataFrame:
        """What `bnnbench check` found of the current versions of methods: a row a check, in the order in which they
        were done, of the configuration `config`."""
        columns = {"method": Method.name, "method_version": Method.version, "config": Verdict.label}
        columns |= {name: getattr(Verdict, name) for name in ("name", "figure", "limit", "passed", "note")}
        query = select(*_labelled(columns)).select_from(Verdict).join(Method).where(Method.current)
        return self._frame(query.order_by(Method.order, Method.name, Verdict.label, Verdict.id))

    def _definitions(self, table: type[Method] | type[Task] | type[Metric], where: Any = None) -> pd.DataFrame:
        keys = [attribute.key for attribute in inspect(table).column_attrs if attribute.key != "id"]
        query = select(*(getattr(table, key).label(key) for key in keys))
        if where is not None:
            query = query.where(where)
        return self._frame(query.order_by(table.order, table.name, table.id))

    @retried
    def now(self) -> float:
        """Seconds since the epoch, by the clock that claims are dated by."""
        with self.reading() as connection:
            return server.now(connection)

    @retried
    def _frame(self, query: Select) -> pd.DataFrame:
        with value_faults(self.address):
            with self.reading() as connection:
                result = connection.execute(query)  # no cursor of the server: it would plan for the first rows alone
                names = list(result.keys())
                parts = [pd.DataFrame.from_records([*map(tuple, r)], columns=names) for r in result.partitions(_ROWS)]
            # A part in which a column is empty says nothing of its type.
            frame = pd.concat(parts, ignore_index=True).infer_objects() if parts else pd.DataFrame(columns=names)
            return frame.astype({name: kind for name, kind in _TYPES.items() if name in frame})


def _labelled(columns: Columns) -> list[Any]:
    return [column.label(name) for name, column in columns.items()]


def _cells(columns: Columns, latest_only: bool, filters: Mapping[str, Wanted]) -> Select:
    """Columns of cells and their current attempts."""
    query = select(*_labelled(columns)).select_from(Cell).join(Task).join(Method).join(Attempt).where(IS_CURRENT)
    if latest_only:
        query = query.where(Task.current, Method.current, Cell.id.in_(_newest()))
    if not {"purpose", "fingerprint"} & set(filters):
        query = query.where(Cell.purpose != Purpose.TUNE.value)
    for name, wanted in filters.items():
        if name not in _FILTERS:
            raise UserError(f"There is no filter {name!r}; choose from {', '.join(_FILTERS)}.")
        if wanted is not None:
            query = query.where(_matches(_FILTERS[name], wanted))
    return query


def _ages() -> Subquery:
    """Cells by the age of their last attempt among those of one label: 1 is the newest."""
    label = (Cell.task_id, Cell.method_id, Cell.label, Cell.rule, Cell.index, Cell.seed, Cell.budget)
    # By their dates, for a merge gives attempts of another database higher ids whatever their age.
    age = func.row_number().over(partition_by=label, order_by=(Attempt.finished.desc(), Attempt.id.desc()))
    return select(Cell.id, age.label("age")).join(Attempt).where(IS_CURRENT).subquery()


def _newest() -> Select:
    """Ids of the cells attempted last among those of one label."""
    cells = _ages()
    return select(cells.c.id).where(cells.c.age == 1)


def superseded() -> ColumnElement[bool]:
    """Of a cell with its task and method: whether `latest_only` leaves it out, attempted or not."""
    cells = _ages()
    return or_(~Task.current, ~Method.current, Cell.id.in_(select(cells.c.id).where(cells.c.age > 1)))


def _matches(column: Any, wanted: Wanted) -> Any:
    values = [wanted] if isinstance(wanted, str | int) else list(wanted or [])
    return column.in_([str(value) if isinstance(value, str) else value for value in values])


def _in_order(frame: pd.DataFrame, more: Sequence[str] = ()) -> pd.DataFrame:
    """Sorted here, for databases order text differently; splits by number."""
    keys = ["task", "method", "config", "rule", "index", "seed", "budget", *more, *_IDENTITY]
    return frame.sort_values(keys, ignore_index=True).drop(columns=list(_SPLIT_ORDER))
