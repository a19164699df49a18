"""The version of a database: create it, upgrade it, or refuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from bnnbench.errors import UserError
from bnnbench.store.faults import CHANGED
from bnnbench.store.tables import Base

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0008"  # the newest revision in migrations/versions; known here so that opening needs no Alembic
_CORE = {"cell", "attempt", "score"}  # tables of every revision
MIGRATIONS = "bnnbench.store:migrations"  # as a package resource, so that it is found in an installed wheel too


def alembic_config() -> Config:
    """Alembic's configuration, without an alembic.ini."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    return config


def revision(connection: Connection, place: object) -> str | None:
    """The revision of the database, None if it is empty.

    Raises:
        UserError: the database belongs to another program or to a newer bnnbench, or has lost a table.
    """
    tables = set(inspect(connection).get_table_names())
    others = sorted(tables - {"alembic_version"})
    found = None
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if others and (found is None or not tables & _CORE):  # Alembic serves many programs
        raise UserError(f"The database {place} belongs to another program ({others[0]} ...); use another --db.")
    if found not in (None, HEAD) and not _known(found):
        raise UserError(f"The database {place} was written by a newer bnnbench; upgrade bnnbench or use another --db.")
    if found == HEAD and (lost := sorted(Base.metadata.tables.keys() - tables)):
        raise UserError(CHANGED.format(place=place, reason=f"it has no table {lost[0]}"))
    return found


def _known(found: str) -> bool:
    from alembic.script import ScriptDirectory

    return any(script.revision == found for script in ScriptDirectory.from_config(alembic_config()).walk_revisions())


def upgrade(writer: Engine, to: str = "head") -> None:
    """Bring a database to a revision, the newest by default, in one transaction; a no-op if that is its own."""
    from alembic import command

    config = alembic_config()
    with writer.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        if sqlite:
            # Batch mode drops and copies tables, which must not cascade; within a transaction this has no effect.
            connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                config.attributes["connection"] = connection
                command.upgrade(config, to)
        finally:
            if sqlite:
                connection.connection.cursor().execute("PRAGMA foreign_keys = ON")
