"""Whether a cell was trained here or its predictions were made elsewhere, and the checksum of such predictions."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("cell", sa.Column("origin", sa.String(), nullable=False, server_default="trained"))
    op.add_column("attempt", sa.Column("source", sa.String(), nullable=True))
