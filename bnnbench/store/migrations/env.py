"""Run by Alembic, on the connection that `bnnbench.store.schema.upgrade` hands over."""

from alembic import context

from bnnbench.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
