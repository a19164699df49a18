"""A submission as a database that can be merged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import orm

from bnnbench.errors import UserError
from bnnbench.records import EvaluationRecord, Score
from bnnbench.store.artifacts import ArtifactRoot, write_content
from bnnbench.store.definitions import version_number
from bnnbench.store.folders import below
from bnnbench.store.rows import NON_FINITE, curve_rows, insert_evaluations, insert_rows
from bnnbench.store.source import Source
from bnnbench.store.store import ResultStore
from bnnbench.store.submission import KIND, OF_ATTEMPT, OF_CELL
from bnnbench.store.submission_file import Submission, opened
from bnnbench.store.tables import Artifact, Attempt, Base, Cell, Curve, Method, Metric, Session, Task
from bnnbench.store.validation import Installed, faults

BATCH = 200  # cells


@contextmanager
def submission_source(place: Any, installed: Installed) -> Iterator[Source]:
    """Open a file of `bnnbench submit` as a temporary database.

    Raises:
        UserError: it cannot be read, or is not valid.
    """
    with opened(place) as submission:
        if found := faults(submission, installed):
            count = f"{len(found):,} fault{'s' * (len(found) > 1)}"
            raise UserError(
                f"{submission.path} has {count} and was not taken; `bnnbench validate {submission.path}` lists them. "
                f"{found[0]}"
            )
        with TemporaryDirectory(prefix="bnnbench-") as folder, ResultStore(Path(folder) / "submission.db") as store:
            with store.writing() as session:
                _fill(session, store, submission)
            yield Source(str(submission.path), submission.path, store, store.base, store.root)


def _fill(session: orm.Session, store: ArtifactRoot, submission: Submission) -> None:
    content = submission.content
    ids = {table: _definitions(session, table, content[f"{table.__tablename__}s"]) for table in (Method, Task, Metric)}
    rows = [{**row, "started": datetime.fromisoformat(row["started"])} for row in content["sessions"]]
    sessions = insert_rows(session, Session, rows)
    metrics = {name: number for (name, _), number in ids[Metric].items()}
    for start in range(0, len(content["cells"]), BATCH):
        cells = content["cells"][start : start + BATCH]
        numbers = insert_rows(session, Cell, [
            {column.name: cell[column.name] for column in OF_CELL}
            | {"method_id": ids[Method][cell["method"], cell["method_version"]],
               "task_id": ids[Task][cell["task"], cell["task_version"]]} for cell in cells
        ])  # fmt: skip
        attempts = insert_rows(session, Attempt, [
            {column.name: cell[column.name] for column in OF_ATTEMPT}
            | {"cell_id": number, "session_id": sessions[cell["session"]],
               "finished": datetime.fromisoformat(cell["finished"])}
            for cell, number in zip(cells, numbers, strict=True)
        ])  # fmt: skip
        insert_evaluations(session, [
            (attempt, record) for cell, attempt in zip(cells, attempts, strict=True) for record in _records(cell)
        ], metrics)  # fmt: skip
        for cell, attempt in zip(cells, attempts, strict=True):
            insert_rows(session, Curve, list(curve_rows(attempt, None, _curves(cell["curves"]))))
            _artifacts(session, store, submission, cell, attempt)


def _definitions(session: orm.Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> dict[tuple, int]:
    """(name, version) -> id; of each name the last version of the file is the current one."""
    last = {row["name"]: row.get("version") for row in sorted(rows, key=lambda row: version_number(row.get("version")))}
    current = [{} if table is Metric else {"current": row["version"] == last[row["name"]]} for row in rows]
    ids = insert_rows(session, table, [{**row, **more} for row, more in zip(rows, current, strict=True)])
    return dict(zip([(row["name"], row.get("version")) for row in rows], ids, strict=True))


def _records(cell: Mapping[str, Any]) -> Iterator[EvaluationRecord]:
    for own in cell["evaluations"]:
        scores = tuple(Score(name, _value(value), stderr) for name, (value, stderr) in own["scores"].items())
        yield EvaluationRecord(own["name"], own["n"], scores, _curves(own["curves"]))


def _curves(curves: Mapping[str, Mapping[str, list]]) -> dict[str, dict[str, np.ndarray]]:
    """Columns of whole numbers are such again, and others are floats: as they were."""
    return {
        name: {column: np.array([_value(v) for v in values], dtype=None if values else float)
               for column, values in series.items()} for name, series in curves.items()
    }  # fmt: skip


def _value(value: Any) -> Any:
    return NON_FINITE[value] if isinstance(value, str) else value


def _artifacts(
    session: orm.Session, store: ArtifactRoot, submission: Submission, cell: Mapping[str, Any], attempt: int
) -> None:
    digest = cell["artifacts"].get(KIND)
    if digest in submission.artifacts:
        path = write_content(store.root, submission.artifact(digest), digest)
        row = {"attempt_id": attempt, "kind": KIND, "sha256": digest, "path": below(path, store.base)}
        insert_rows(session, Artifact, [row])
