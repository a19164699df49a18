"""Which method another one implements, and what `bnnbench check` found."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("method", sa.Column("implements", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "verdict",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("method_id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("config", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("figure", sa.Double(), nullable=True),
        sa.Column("limit", sa.Double(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["method_id"], ["method.id"], "fk_verdict_method_id_method", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], "fk_verdict_session_id_session", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_verdict"),
        sa.UniqueConstraint("method_id", "config", "name", name="uq_verdict_method_id_config_name"),
    )
    op.create_index("ix_verdict_method_id", "verdict", ["method_id"])
    op.create_index("ix_verdict_session_id", "verdict", ["session_id"])
