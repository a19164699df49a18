"""What a cell is run for: a result, a trial of hyperparameters, or a result of those that trials chose."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("cell", sa.Column("purpose", sa.String(), nullable=False, server_default="result"))
