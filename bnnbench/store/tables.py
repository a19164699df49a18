"""The tables, as SQLAlchemy models. Every change here needs a migration (`migrations/`); a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    MetaData,
    UniqueConstraint,
    false,
    func,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

from bnnbench.records import Origin, Purpose, Status


class Base(DeclarativeBase):
    """Fixed constraint names, so that a migration can address them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {float: Double, list[str]: JSON, dict[str, Any]: JSON}  # noqa: RUF012 (read by SQLAlchemy)


def _owned_by(column: str) -> Any:
    """A foreign key to the row that this one is part of and deleted with."""
    return mapped_column(ForeignKey(column, ondelete="CASCADE"), index=True)


def utc_now() -> datetime:
    """Now in UTC, without a time zone: SQLite stores none."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


class Session(Base):
    """Provenance of one `bnnbench run`."""

    __tablename__ = "session"

    id: Mapped[int] = mapped_column(primary_key=True)
    started: Mapped[datetime] = mapped_column(default=utc_now)
    revision: Mapped[str]
    dirty: Mapped[bool]
    versions: Mapped[dict[str, Any]]
    device: Mapped[str]
    host: Mapped[str]
    threads: Mapped[int]
    command: Mapped[str]


class Method(Base):
    """Definition of a method; the version registered last is the current one of its name."""

    __tablename__ = "method"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[int]
    current: Mapped[bool]
    citation: Mapped[str]
    tags: Mapped[list[str]]
    order: Mapped[int] = mapped_column("position")
    role: Mapped[str] = mapped_column(server_default="method")
    other_target: Mapped[bool] = mapped_column(server_default=false())
    implements: Mapped[str] = mapped_column(server_default=text("''"))


class Task(Base):
    """Definition of a task; its version holds the checksum of its data."""

    __tablename__ = "task"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[str]
    current: Mapped[bool]
    kind: Mapped[str]
    groups: Mapped[list[str]] = mapped_column("task_groups")
    citation: Mapped[str]
    order: Mapped[int] = mapped_column("position")
    notes: Mapped[list[str]]
    warning: Mapped[str] = mapped_column(server_default=text("''"))


class Metric(Base):
    """Definition of a metric."""

    __tablename__ = "metric"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    better: Mapped[int] = mapped_column(default=0)
    unit: Mapped[str] = mapped_column(default="")
    summary: Mapped[str] = mapped_column(default="")
    kinds: Mapped[list[str]] = mapped_column(server_default="[]")
    headline: Mapped[bool] = mapped_column(server_default=false())
    order: Mapped[int] = mapped_column("position", server_default="1000000")  # of one that nobody registered: the last


class Cell(Base):
    """The unit of work, and the process that works on it: owner, and times of claim and last heartbeat in seconds since
    the epoch."""

    __tablename__ = "cell"

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(unique=True)
    task_id: Mapped[int] = _owned_by("task.id")
    method_id: Mapped[int] = _owned_by("method.id")
    config: Mapped[str]
    label: Mapped[str]
    rule: Mapped[str]
    index: Mapped[int] = mapped_column("split_index")
    seed: Mapped[int] = mapped_column(BigInteger)
    budget: Mapped[str]
    origin: Mapped[str] = mapped_column(server_default=Origin.TRAINED.value)
    purpose: Mapped[str] = mapped_column(server_default=Purpose.RESULT.value)
    owner: Mapped[str | None] = mapped_column(index=True)
    heartbeat: Mapped[float | None]
    claimed: Mapped[float | None]


class Attempt(Base):
    """One run of a cell; the latest is the current one, earlier ones are history. `source` is the sha256 of predictions
    that were made elsewhere."""

    __tablename__ = "attempt"
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(s.value) for s in Status)})", name="status"),
        Index(None, "cell_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id", ondelete="CASCADE"))
    session_id: Mapped[int] = _owned_by("session.id")
    status: Mapped[str]
    message: Mapped[str]
    steps: Mapped[int] = mapped_column(BigInteger)
    gradients: Mapped[int] = mapped_column(BigInteger)
    step_kept: Mapped[int | None] = mapped_column(BigInteger)
    compiled: Mapped[bool]
    pack_size: Mapped[int]
    wall_s: Mapped[float]
    peak_memory_mb: Mapped[float]
    parameters: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str | None]
    finished: Mapped[datetime] = mapped_column(default=utc_now)


class Evaluation(Base):
    """The posterior of an attempt, scored on one test set."""

    __tablename__ = "evaluation"
    __table_args__ = (UniqueConstraint("attempt_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id", ondelete="CASCADE"))
    name: Mapped[str]
    n: Mapped[int]


class Score(Base):
    """One value. Databases disagree about NaN and infinities, so `kind` names them and `value` is empty; else it is."""

    __tablename__ = "score"
    __table_args__ = (
        CheckConstraint("kind IN ('nan', 'inf', '-inf')", name="kind"),
        CheckConstraint("(kind IS NULL) = (value IS NOT NULL)", name="value"),
        {"sqlite_with_rowid": False},  # most of the file is this table, and results.db is kept in git
    )

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id", ondelete="CASCADE"), primary_key=True)
    metric_id: Mapped[int] = mapped_column(ForeignKey("metric.id", ondelete="CASCADE"), primary_key=True)
    value: Mapped[float | None]
    stderr: Mapped[float | None]
    kind: Mapped[str | None]


class Curve(Base):
    """Named columns of one figure, of the training (no evaluation) or of an evaluation; bytes as of `series.encode`."""

    __tablename__ = "curve"
    __table_args__ = (
        UniqueConstraint("attempt_id", "evaluation_id", "name"),
        # NULLs are distinct in a unique constraint, so training curves need one of their own.
        Index(
            "uq_curve_training",
            "attempt_id",
            "name",
            unique=True,
            sqlite_where=text("evaluation_id IS NULL"),
            postgresql_where=text("evaluation_id IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id", ondelete="CASCADE"))
    evaluation_id: Mapped[int | None] = _owned_by("evaluation.id")
    name: Mapped[str] = mapped_column(index=True)
    content: Mapped[bytes]


class Artifact(Base):
    """A file of arrays; `path` is relative to the folder of the database, or to the one that `setting` names."""

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("attempt_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id", ondelete="CASCADE"))
    kind: Mapped[str]
    sha256: Mapped[str]
    path: Mapped[str]


class Verdict(Base):
    """What one check found of a configuration of a method; `passed` is empty where it does not apply."""

    __tablename__ = "verdict"
    __table_args__ = (UniqueConstraint("method_id", "config", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    method_id: Mapped[int] = _owned_by("method.id")
    session_id: Mapped[int] = _owned_by("session.id")
    config: Mapped[str]
    label: Mapped[str]
    name: Mapped[str]
    figure: Mapped[float | None]
    limit: Mapped[float | None]
    passed: Mapped[bool | None]
    note: Mapped[str]


class Setting(Base):
    """What is fixed for the whole database; `artifacts` is the folder of its artifacts, if it is not the usual one."""

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


# The condition that an attempt is the latest of its cell.
_other = aliased(Attempt)
IS_CURRENT = Attempt.id == (
    select(func.max(_other.id)).where(_other.cell_id == Attempt.cell_id).correlate(Attempt).scalar_subquery()
)
