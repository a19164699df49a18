"""The cells of one database in another, a batch at a time: attempts with all that is part of them.

An attempt is the same one where all its columns and its session are. What both have gets what it lacks; what is new
is inserted, below the attempt that is to be the current one, which has the highest id of its cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, exists, insert, orm, select, update

from bnnbench import names
from bnnbench.store.conflicts import Evaluations, Judge, Scored, differences
from bnnbench.store.definitions import Ids, alike_sessions
from bnnbench.store.rows import chunks, completed, insert_rows
from bnnbench.store.tables import Artifact, Attempt, Base, Cell, Curve, Evaluation, Method, Metric, Score, Session, Task

BATCH = 200  # cells
ROWS = 2000  # scores or curves in memory at once
_T = Base.metadata.tables
_COPIED = {column.name for column in _T["cell"].c} - {"id", "owner", "heartbeat", "claimed"}  # of a cell


class File(NamedTuple):
    """An artifact that is to follow: of which attempt, and where it lies in the other database."""

    attempt: int
    kind: str
    sha256: str
    path: str


@dataclass
class Joined:
    """What became of the cells of one database.

    Attributes:
        cells: that have an attempt. new: that were not known. attempts: that were not known.
        evaluations: that known attempts lacked. scores: that known evaluations lacked.
        files: artifacts that attempts lack. moved: former id -> id of attempts that stay the current ones.
    """

    cells: int = 0
    new: int = 0
    attempts: int = 0
    evaluations: int = 0
    scores: int = 0
    files: list[File] = field(default_factory=list)
    moved: Ids = field(default_factory=dict)


class _Pair(NamedTuple):
    """An attempt there, the one here that is to get what it lacks, and what of it is to be replaced."""

    there: int
    here: int
    replaced: frozenset[str] = frozenset()
    same: bool = True  # the same attempt; else another one of the same numbers


def joined_cells(reader: Connection, writer: orm.Session, ids: Mapping[type[Base], Ids], judge: Judge) -> Joined:
    """Take along all cells that have an attempt.

    Args:
        ids: of tasks, methods, metrics and sessions.
    """
    found, alike = Joined(), alike_sessions(writer.connection())
    for cells in _batches(reader):
        _Batch(reader, writer, ids, judge, found, alike).join(cells)
    return found


def _batches(reader: Connection) -> Iterator[Sequence[Row]]:
    core, task, method, last = _T["cell"], _T["task"], _T["method"], 0
    query = select(core, task.c.name.label("task"), method.c.name.label("method")).join(task).join(method)
    query = query.where(exists().where(_T["attempt"].c.cell_id == core.c.id)).order_by(core.c.id).limit(BATCH)
    while cells := reader.execute(query.where(core.c.id > last)).all():
        yield cells
        last = cells[-1].id


@dataclass(frozen=True)
class _Batch:
    reader: Connection
    writer: orm.Session
    ids: Mapping[type[Base], Ids]
    judge: Judge
    found: Joined
    alike: Ids

    def join(self, cells: Sequence[Row]) -> None:
        here = self._cells(cells)
        theirs = _attempts(self.reader, [cell.id for cell in cells], self.ids[Session])
        ours = _attempts(self.writer.connection(), here.values(), self.alike)
        scores = self._scores(cells, here, theirs, ours)
        new, kept, pairs = [], [], []
        for cell in cells:
            own, other = ours.get(here[cell.id], []), theirs[cell.id]
            known = {attempt["content"]: attempt["id"] for attempt in own}
            fresh = [attempt for attempt in other if attempt["content"] not in known]
            new += [{**attempt, "cell_id": here[cell.id]} for attempt in fresh]
            if own and self._stays(cell, own, other, scores, pairs):
                kept += [own[-1]["id"]] if fresh else []
            pairs += [_Pair(a["id"], known[a["content"]]) for a in other[:-1] if a["content"] in known]
        inserted = self._insert(new)
        self.found.moved |= (moved := {attempt: _moved_up(self.writer, attempt) for attempt in kept})
        self.judge.origins.update({moved[old]: self.judge.origins[old] for old in moved if old in self.judge.origins})
        self._copy_children(inserted)
        self._complete([pair._replace(here=moved.get(pair.here, pair.here)) for pair in pairs])

    def _cells(self, cells: Sequence[Row]) -> Ids:
        """Id there -> id here; those that are new are inserted, without the claims on them."""
        core, known = _T["cell"], {}
        for part in chunks(cell.fingerprint for cell in cells):
            rows = self.writer.execute(select(core.c.fingerprint, core.c.id).where(core.c.fingerprint.in_(part)))
            known |= {row.fingerprint: row.id for row in rows}
        new = [cell for cell in cells if cell.fingerprint not in known]
        rows = [
            {name: value for name, value in cell._mapping.items() if name in _COPIED}
            | {"task_id": self.ids[Task][cell.task_id], "method_id": self.ids[Method][cell.method_id]}
            for cell in new
        ]
        known |= dict(zip((cell.fingerprint for cell in new), insert_rows(self.writer, Cell, rows), strict=True))
        self.found.cells, self.found.new = self.found.cells + len(cells), self.found.new + len(new)
        return {cell.id: known[cell.fingerprint] for cell in cells}

    def _scores(self, cells: Sequence[Row], here: Ids, theirs: dict, ours: dict) -> dict[str, dict[int, Evaluations]]:
        """Scores of the attempts of cells that both have, by attempt, here and there."""
        shared = [cell.id for cell in cells if here[cell.id] in ours]
        there = [attempt["id"] for cell in shared for attempt in theirs[cell]]
        own = [attempt["id"] for cell in shared for attempt in ours[here[cell]]]
        return {
            "there": _evaluations(self.reader, there, self.ids[Metric]),
            "here": _evaluations(self.writer.connection(), own),
        }

    def _stays(self, cell: Row, own: list, other: list, scores: dict, pairs: list[_Pair]) -> bool:
        """Whether the current attempt here stays the current one; notes what it gets from the one there.

        Where one database knows the current attempt of the other, it has gone on from there, and its own one counts.
        """
        mine, their = own[-1], other[-1]
        mine_scores = scores["here"].get(mine["id"], {})
        their_scores = scores["there"].get(their["id"], {})
        name = _name(cell)
        if mine["content"] == their["content"]:
            replaced = self.judge.replaced(name, mine, differences(mine_scores, their_scores))
            pairs.append(_Pair(their["id"], mine["id"], frozenset(replaced)))
            return True
        for attempt in own:
            if attempt["content"] == their["content"]:
                pairs.append(_Pair(their["id"], attempt["id"]))
                return True
        if any(attempt["content"] == mine["content"] for attempt in other):
            return False
        stays = self.judge.stays(name, mine, their, mine_scores, their_scores)
        if mine["status"] == their["status"] and not differences(mine_scores, their_scores):
            pairs.append(_Pair(their["id"], mine["id"], same=False))
        return stays

    def _insert(self, new: list[dict[str, Any]]) -> Ids:
        """Insert attempts; id there -> id here."""
        rows = [{name: value for name, value in attempt.items() if name not in ("id", "content")} for attempt in new]
        inserted = dict(zip((attempt["id"] for attempt in new), insert_rows(self.writer, Attempt, rows), strict=True))
        self.judge.origins.update(dict.fromkeys(inserted.values(), self.judge.there))
        self.found.attempts += len(inserted)
        return inserted

    def _copy_children(self, attempts: Ids) -> None:
        """All that is part of new attempts."""
        for part in chunks(attempts):
            core = _T["evaluation"]
            rows = self.reader.execute(select(core).where(core.c.attempt_id.in_(part)).order_by(core.c.id)).all()
            own = [{"attempt_id": attempts[row.attempt_id], "name": row.name, "n": row.n} for row in rows]
            evaluations = dict(zip((row.id for row in rows), insert_rows(self.writer, Evaluation, own), strict=True))
            self._copy_scores(evaluations)
            curves = _T["curve"]
            self._copy_curves(evaluations, curves.c.evaluation_id.in_, evaluations, attempts)
            training = curves.c.attempt_id.in_(part) & curves.c.evaluation_id.is_(None)
            self._copy_curves({}, lambda _, training=training: training, [0], attempts)
        self._note_files(attempts)

    def _copy_scores(self, evaluations: Ids) -> None:
        core = _T["score"]
        for part in chunks(evaluations):
            rows = _streamed(self.reader, select(core).where(core.c.evaluation_id.in_(part)))
            for some in rows.partitions():
                changed = [
                    {**row._mapping, "evaluation_id": evaluations[row.evaluation_id],
                     "metric_id": self.ids[Metric][row.metric_id]} for row in some
                ]  # fmt: skip
                self.writer.execute(insert(core), changed)

    def _copy_curves(self, evaluations: Ids, condition: Any, keys: Iterable[int], attempts: Ids) -> None:
        core = _T["curve"]
        for part in chunks(keys):
            for some in _streamed(self.reader, select(core).where(condition(part))).partitions():
                changed = [
                    {"attempt_id": attempts[row.attempt_id], "name": row.name, "content": row.content,
                     "evaluation_id": None if row.evaluation_id is None else evaluations[row.evaluation_id]}
                    for row in some
                ]  # fmt: skip
                self.writer.execute(insert(core), changed)

    def _note_files(self, attempts: Ids) -> None:
        """Artifacts that attempts here lack."""
        core = _T["artifact"]
        for part in chunks(attempts):
            here = select(core.c.attempt_id, core.c.kind).where(core.c.attempt_id.in_([attempts[i] for i in part]))
            known = {(row.attempt_id, row.kind) for row in self.writer.execute(here)}
            for row in self.reader.execute(select(core).where(core.c.attempt_id.in_(part)).order_by(core.c.id)):
                if (attempts[row.attempt_id], row.kind) not in known:
                    self.found.files.append(File(attempts[row.attempt_id], row.kind, row.sha256, row.path))

    def _complete(self, pairs: Sequence[_Pair]) -> None:
        """Give known attempts what they lack."""
        if not pairs:
            return
        theirs = _evaluations(self.reader, [pair.there for pair in pairs], self.ids[Metric])
        ours = _evaluations(self.writer.connection(), [pair.here for pair in pairs])
        for pair in pairs:
            own = ours.get(pair.here, {})
            for name, other in theirs.get(pair.there, {}).items():
                if name in own and name not in pair.replaced:
                    self._add_scores(own[name], other)
                    continue
                if name in own:
                    self.writer.execute(delete(_T["evaluation"]).where(_T["evaluation"].c.id == own[name].id))
                new = {"attempt_id": pair.here, "name": name, "n": other.n}
                (evaluation,) = insert_rows(self.writer, Evaluation, [new])
                self._copy_scores({other.id: evaluation})
                curves = _T["curve"].c.evaluation_id
                self._copy_curves({other.id: evaluation}, curves.in_, [other.id], {pair.there: pair.here})
                self.found.evaluations += name not in own
        self._note_files({pair.there: pair.here for pair in pairs if pair.same})

    def _add_scores(self, own: Scored, other: Scored) -> None:
        """Scores that an evaluation lacks, and the columns of its curves."""
        lacking = {metric: value for metric, value in other.scores.items() if metric not in own.scores}
        if not lacking:
            return
        rows = [dict(zip(("value", "stderr", "kind"), value, strict=True),
                     evaluation_id=own.id, metric_id=metric) for metric, value in lacking.items()]  # fmt: skip
        insert_rows(self.writer, Score, rows)
        self.found.scores += len(rows)
        core = _T["curve"]
        here = {row.name: row for row in self.writer.execute(select(core).where(core.c.evaluation_id == own.id))}
        for row in self.reader.execute(select(core).where(core.c.evaluation_id == other.id)).all():
            if row.name in here:
                content = completed(here[row.name].content, row.content)
                self.writer.execute(update(core).where(core.c.id == here[row.name].id).values(content=content))


def _attempts(connection: Connection, cells: Iterable[int], sessions: Ids) -> dict[int, list[dict]]:
    """Attempts of cells, the current one last, with all that tells two of them apart as `content`.

    Args:
        sessions: id there -> id here, of sessions that are alike the first.
    """
    core, found = _T["attempt"], {}
    for part in chunks(cells):
        for row in connection.execute(select(core).where(core.c.cell_id.in_(part)).order_by(core.c.id)).mappings():
            attempt = dict(row)
            attempt["session_id"] = sessions[attempt["session_id"]]
            attempt["content"] = tuple(v for name, v in attempt.items() if name not in ("id", "cell_id"))
            found.setdefault(row["cell_id"], []).append(attempt)
    return found


def _evaluations(connection: Connection, attempts: Iterable[int], metrics: Ids | None = None) -> dict[int, Evaluations]:
    """Evaluations with their scores, by attempt and name."""
    evaluation, score, found = _T["evaluation"], _T["score"], {}
    both = evaluation.outerjoin(score, score.c.evaluation_id == evaluation.c.id)
    columns = (evaluation, score.c.metric_id, score.c.value, score.c.stderr, score.c.kind)
    query = select(*columns).select_from(both).order_by(evaluation.c.id, score.c.metric_id)
    for part in chunks(attempts):
        rows = connection.execute(query.where(evaluation.c.attempt_id.in_(part)))
        for _, own in groupby(rows, lambda row: row.id):
            first, *more = own
            scored = Scored(first.id, first.n)
            for row in (first, *more):
                if row.metric_id is not None:
                    metric = row.metric_id if metrics is None else metrics[row.metric_id]
                    scored.scores[metric] = (row.value, row.stderr, row.kind)
            found.setdefault(first.attempt_id, {})[first.name] = scored
    return found


def _streamed(reader: Connection, query: Any) -> Any:
    return reader.execute(query, execution_options={"yield_per": ROWS})


def _moved_up(writer: orm.Session, attempt: int) -> int:
    """Make an attempt the current one of its cell: give it the highest id, and all its parts with it."""
    core = _T["attempt"]
    columns = [column for column in core.c if column.name != "id"]
    row = writer.execute(select(*columns).where(core.c.id == attempt)).one()
    (new,) = insert_rows(writer, Attempt, [dict(row._mapping)])
    for table in (Evaluation, Curve, Artifact):
        part = _T[table.__tablename__]
        writer.execute(update(part).where(part.c.attempt_id == attempt).values(attempt_id=new))
    writer.execute(delete(core).where(core.c.id == attempt))
    return new


def _name(cell: Row) -> str:
    """A cell as messages name it."""
    label = "" if cell.label == names.DEFAULT else f" [{cell.label}]"
    split = names.split(cell.rule, cell.split_index)
    place = f"(seed {cell.seed}, {cell.budget}, cell {cell.fingerprint[:12]})"
    return f"{cell.method}{label} on {cell.task} {split} {place}"
