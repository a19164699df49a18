"""Results in one file: cells with their scores, curves and provenance, and the checksums of their predictives.

`NAME.json` holds them as readable JSON; `NAME.zip` holds that as `submission.json`, and the predictives themselves as
`artifacts/SHA256.safetensors`, the very files of the database. Neither can hold code. Numbers that JSON lacks are the
strings `nan`, `inf` and `-inf`; `sha256` is the checksum of everything else, as canonical JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, select

from bnnbench._version import __version__
from bnnbench.errors import UserError
from bnnbench.files import write_file, written
from bnnbench.store.artifacts import read_artifact
from bnnbench.store.rows import NON_FINITE, chunks
from bnnbench.store.series import decode
from bnnbench.store.store import ResultStore
from bnnbench.store.tables import IS_CURRENT, Attempt, Base, Cell, Method, Task, utc_now

FORMAT, VERSION = "bnnbench submission", 2
ENDINGS = (".json", ".zip")
CONTENT, ARTIFACTS = "submission.json", "artifacts/"
KIND = "predictive"  # of the artifacts that a zip holds
_T = Base.metadata.tables
# Columns of a cell and of its attempt that are written, beside what names its method, task and session.
_NOT_WRITTEN = ("id", "task_id", "method_id", "owner", "heartbeat", "claimed", "cell_id", "session_id")
OF_CELL = [column for column in _T["cell"].c if column.name not in _NOT_WRITTEN]
OF_ATTEMPT = [column for column in _T["attempt"].c if column.name not in _NOT_WRITTEN]


def is_submission(place: object) -> bool:
    """Whether a name is that of such a file, and not of a database."""
    return "://" not in str(place) and Path(str(place)).suffix.lower() in ENDINGS


def write_submission(
    store: ResultStore, out: Path, splits: Callable[[Mapping[str, Any]], int | None], **filters: Any
) -> dict[str, Any]:
    """Write the current attempts of the cells that these filters leave, whole or not at all; returns the content.

    Args:
        splits: how many splits the rule of a cell (a row of `ResultStore.attempts`) has, None where that is not known.

    Raises:
        UserError: there are none, the name ends in neither of `ENDINGS`, or a predictive of a zip is not there.
    """
    if out.suffix.lower() not in ENDINGS:
        raise UserError(f"--out {out} ends in neither .json nor .zip; a zip holds the predictives, too.")
    store.refuse_output(out)
    attempts: Any = store.attempts(**filters)
    if attempts.empty:
        raise UserError(f"{store.address} has no results of these; `bnnbench status --db {store.address}` lists them.")
    for column, wanted in filters.items():
        if lacking := sorted(set(wanted or ()) - set(attempts[column])):
            raise UserError(f"{store.address} has no results of the {column} {lacking[0]!r} beside the others named.")
    with store.reading() as connection:
        content = _content(connection, list(attempts["fingerprint"]))
    counts = {f"{row['task']} {_rule(row)}": splits(row) for _, row in attempts.iterrows()}
    content["splits"] = {name: count for name, count in counts.items() if count is not None}
    content["sha256"] = checksum(content)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    if out.suffix.lower() == ".json":
        write_file(out, text)
    else:
        with written(out) as file:
            _zip(file, store, content, text)
    return content


def checksum(content: Mapping[str, Any]) -> str:
    """sha256 of all but itself; of what no file can hold, such as half a character, one that fits none."""
    rest = {name: value for name, value in content.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def number(value: float) -> float | str:
    """A number as JSON can hold it."""
    return value if math.isfinite(value) else str(float(value))


def _rule(row: Mapping[str, Any]) -> str:
    return str(row["split"]).rpartition("-")[0]


def _content(connection: Connection, fingerprints: Sequence[str]) -> dict[str, Any]:
    sessions: dict[int, int] = {}  # id -> place in the list
    cells = [cell for part in chunks(fingerprints) for cell in _cells(connection, part, sessions)]
    used = {name: {(cell[name], cell[f"{name}_version"]) for cell in cells} for name in ("method", "task")}
    wanted = {metric for cell in cells for evaluation in cell["evaluations"] for metric in evaluation["scores"]}
    return {
        "format": FORMAT,
        "version": VERSION,
        "bnnbench": __version__,
        "written": utc_now().isoformat(),
        **{
            f"{name}s": [row for row in _rows(connection, name, ("id", "current"))
                         if (row["name"], row["version"]) in used[name]] for name in ("method", "task")
        },
        "metrics": [row for row in _rows(connection, "metric", ("id",)) if row["name"] in wanted],
        "sessions": [row for _, row in sorted((sessions[row.pop("id")], row) for row in _rows(connection, "session")
                                              if row["id"] in sessions)],
        "cells": cells,
    }  # fmt: skip


def _rows(connection: Connection, table: str, without: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    for row in connection.execute(select(_T[table]).order_by(_T[table].c.id)).mappings():
        yield {name: _plain(value) for name, value in row.items() if name not in without}


def _cells(connection: Connection, fingerprints: list[str], sessions: dict[int, int]) -> Iterator[dict[str, Any]]:
    query = select(
        *OF_CELL, *OF_ATTEMPT, Attempt.id, Attempt.session_id, Task.name.label("task"),
        Task.version.label("task_version"), Method.name.label("method"), Method.version.label("method_version"),
    ).select_from(Cell).join(Task).join(Method).join(Attempt)  # fmt: skip
    query = query.where(IS_CURRENT, Cell.fingerprint.in_(fingerprints)).order_by(Attempt.id)
    found = connection.execute(query).mappings().all()
    parts = _Parts(connection, [row["id"] for row in found])
    for row in found:
        about = {name: _plain(value) for name, value in row.items() if name not in ("id", "session_id")}
        place = sessions.setdefault(row["session_id"], len(sessions))
        yield {**about, "session": place, **parts.of(row["id"])}


class _Parts:
    """What is part of attempts."""

    def __init__(self, connection: Connection, attempts: list[int]) -> None:
        evaluation, score, metric = _T["evaluation"], _T["score"], _T["metric"]
        columns = (evaluation.c.attempt_id, evaluation.c.id, evaluation.c.name, evaluation.c.n)
        query = select(*columns).where(evaluation.c.attempt_id.in_(attempts)).order_by(evaluation.c.id)
        self.evaluations: dict[int, dict[int, dict[str, Any]]] = {}
        for row in connection.execute(query):
            own = {"name": row.name, "n": row.n, "scores": {}, "curves": {}}
            self.evaluations.setdefault(row.attempt_id, {})[row.id] = own
        by_id = {i: own for found in self.evaluations.values() for i, own in found.items()}
        scores = select(score, metric.c.name).join(metric).order_by(metric.c.position, metric.c.name)
        for part in chunks(by_id):
            for row in connection.execute(scores.where(score.c.evaluation_id.in_(part))):
                value = number(NON_FINITE[row.kind] if row.value is None else row.value)
                by_id[row.evaluation_id]["scores"][row.name] = [value, row.stderr]
        self.training: dict[int, dict[str, Any]] = {}
        curve, artifact = _T["curve"], _T["artifact"]
        for row in connection.execute(select(curve).where(curve.c.attempt_id.in_(attempts)).order_by(curve.c.id)):
            home = self.training.setdefault(row.attempt_id, {})
            if row.evaluation_id is not None:
                home = by_id[row.evaluation_id]["curves"]
            home[row.name] = {name: [number(v) for v in c.tolist()] for name, c in decode(row.content).items()}
        self.artifacts: dict[int, dict[str, str]] = {}
        for row in connection.execute(select(artifact).where(artifact.c.attempt_id.in_(attempts))):
            self.artifacts.setdefault(row.attempt_id, {})[row.kind] = row.sha256

    def of(self, attempt: int) -> dict[str, Any]:
        return {
            "evaluations": list(self.evaluations.get(attempt, {}).values()),
            "curves": self.training.get(attempt, {}),
            "artifacts": self.artifacts.get(attempt, {}),
        }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _zip(out: BinaryIO, store: ResultStore, content: Mapping[str, Any], text: bytes) -> None:
    paths, done = _paths(store), set()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(CONTENT, text)
        for cell in content["cells"]:
            digest = cell["artifacts"].get(KIND)
            if digest is not None and digest not in done:
                path = store.base / paths[digest]
                read_artifact(path, digest, cell["fingerprint"])  # raises where it is not what was written
                file.writestr(f"{ARTIFACTS}{digest}.safetensors", path.read_bytes())
                done.add(digest)


def _paths(store: ResultStore) -> dict[str, str]:
    """Checksum -> stored path."""
    with store.reading() as connection:
        artifact = _T["artifact"]
        return {row.sha256: row.path for row in connection.execute(select(artifact.c.sha256, artifact.c.path))}
