"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "method",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_method"),
        sa.UniqueConstraint("name", "version", name="uq_method_name_version"),
    )
    op.create_table(
        "metric",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("better", sa.Integer(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_metric"),
        sa.UniqueConstraint("name", name="uq_metric_name"),
    )
    op.create_table(
        "published",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("spread", sa.Double(), nullable=True),
        sa.Column("spread_kind", sa.String(), nullable=False),
        sa.Column("n_splits", sa.Integer(), nullable=True),
        sa.Column("network", sa.String(), nullable=True),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("locator", sa.String(), nullable=False),
        sa.Column("confidence", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_published"),
    )
    op.create_index("ix_published_dataset_metric", "published", ["dataset", "metric"])

    op.create_table(
        "session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("started", sa.DateTime(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("command", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
    )
    op.create_table(
        "task",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("task_groups", sa.JSON(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_task"),
        sa.UniqueConstraint("name", "version", name="uq_task_name_version"),
    )
    op.create_table(
        "cell",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("method_id", sa.Integer(), nullable=False),
        sa.Column("config", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("split_index", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("budget", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("heartbeat", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["method_id"], ["method.id"], name="fk_cell_method_id_method", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name="fk_cell_task_id_task", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_cell"),
        sa.UniqueConstraint("fingerprint", name="uq_cell_fingerprint"),
    )
    op.create_index("ix_cell_method_id", "cell", ["method_id"])
    op.create_index("ix_cell_owner", "cell", ["owner"])
    op.create_index("ix_cell_task_id", "cell", ["task_id"])

    op.create_table(
        "attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("cell_id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("gradients", sa.BigInteger(), nullable=False),
        sa.Column("step_kept", sa.BigInteger(), nullable=True),
        sa.Column("compiled", sa.Boolean(), nullable=False),
        sa.Column("pack_size", sa.Integer(), nullable=False),
        sa.Column("wall_s", sa.Double(), nullable=False),
        sa.Column("peak_memory_mb", sa.Double(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.DateTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('ok', 'diverged', 'failed', 'timeout', 'unconverged')", name=op.f("ck_attempt_status")
        ),
        sa.ForeignKeyConstraint(["cell_id"], ["cell.id"], name="fk_attempt_cell_id_cell", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["session.id"], name="fk_attempt_session_id_session", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_attempt"),
    )
    op.create_index("ix_attempt_cell_id_id", "attempt", ["cell_id", "id"])
    op.create_index("ix_attempt_session_id", "attempt", ["session_id"])

    op.create_table(
        "artifact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempt.id"], name="fk_artifact_attempt_id_attempt", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_artifact"),
        sa.UniqueConstraint("attempt_id", "kind", name="uq_artifact_attempt_id_kind"),
    )
    op.create_table(
        "evaluation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempt.id"], name="fk_evaluation_attempt_id_attempt", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_evaluation"),
        sa.UniqueConstraint("attempt_id", "name", name="uq_evaluation_attempt_id_name"),
    )
    op.create_table(
        "curve",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name="fk_curve_attempt_id_attempt", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name="fk_curve_evaluation_id_evaluation", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_curve"),
        sa.UniqueConstraint("attempt_id", "evaluation_id", "name", name="uq_curve_attempt_id_evaluation_id_name"),
    )
    op.create_index("ix_curve_evaluation_id", "curve", ["evaluation_id"])
    op.create_index("ix_curve_name", "curve", ["name"])
    op.create_index(
        "uq_curve_training",
        "curve",
        ["attempt_id", "name"],
        unique=True,
        sqlite_where=sa.text("evaluation_id IS NULL"),
        postgresql_where=sa.text("evaluation_id IS NULL"),
    )

    op.create_table(
        "score",
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("metric_id", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("stderr", sa.Double(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.CheckConstraint("(kind = 'finite') = (value IS NOT NULL)", name=op.f("ck_score_value")),
        sa.CheckConstraint("kind IN ('finite', 'nan', 'inf', '-inf')", name=op.f("ck_score_kind")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name="fk_score_evaluation_id_evaluation", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["metric_id"], ["metric.id"], name="fk_score_metric_id_metric", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("evaluation_id", "metric_id", name="pk_score"),
        sqlite_with_rowid=False,
    )
