"""When a cell was claimed, settings of the whole database, and no passwords in the commands of sessions."""

import sqlalchemy as sa
from alembic import op

from bnnbench.store.passwords import masked_command

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "setting",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_setting"),
    )
    op.add_column("cell", sa.Column("claimed", sa.Double(), nullable=True))

    session = sa.table("session", sa.column("id", sa.Integer()), sa.column("command", sa.String()))
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")  # what was replaced is overwritten in the file, too
    for row in connection.execute(sa.select(session)).all():
        if (command := masked_command(row.command)) != row.command:
            connection.execute(sa.update(session).where(session.c.id == row.id).values(command=command))
