"""Methods, tasks, metrics and sessions of one database in another: each known, or inserted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, orm, select, update

from bnnbench.store.rows import insert_rows
from bnnbench.store.tables import Base, Method, Metric, Session, Setting, Task, Verdict

Ids = dict[int, int]  # of a row there -> of the same row here
Row = Mapping[str, Any]
OF_THE_PLACE = ("artifacts", "files to be removed")  # settings that tell of one database's own files
_SHOULD_AGREE: Mapping[type[Base], str] = {Metric: "better", Task: "kind"}  # what another value of makes another thing


def joined_definitions(reader: Connection, writer: orm.Session, told: Callable[[str], bool]) -> dict[type[Base], Ids]:
    """Insert what is new; of what is known here the definition stays, of each name the newest version is current.

    Args:
        told: takes a sentence about two definitions that contradict each other; says whether the other one is to be
            taken.
    """
    keys = {Method: ("name", "version"), Task: ("name", "version"), Metric: ("name",)}
    return {table: _joined(reader, writer, table, key, told) for table, key in keys.items()}


def _joined(
    reader: Connection, writer: orm.Session, table: type[Base], key: tuple[str, ...], told: Callable[[str], bool]
) -> Ids:
    core = Base.metadata.tables[table.__tablename__]
    here = {tuple(row[part] for part in key): row for row in _rows(writer.connection(), core)}
    found: Ids = {}
    for row in _rows(reader, core):
        own = here.get(tuple(row[part] for part in key))
        if own is None:
            (found[row["id"]],) = insert_rows(writer, table, [_without_id(row) | _not_current(row)])
            continue
        found[row["id"]] = own["id"]
        if _is_bare(own) or (_contradict(table, own, row) and told(_contradiction(table, own, row))):
            changed = {name: value for name, value in _without_id(row).items() if name != "current"}
            writer.execute(update(core).where(core.c.id == own["id"]).values(changed))
    if "current" in core.c:
        _settle_current(reader, writer, core, found)
    return found


def _settle_current(reader: Connection, writer: orm.Session, core: Table, found: Ids) -> None:
    """Of each name the current one of the higher version is current; of equal ones that which was."""
    theirs = {row["name"]: row for row in _rows(reader, core) if row["current"]}
    ours = {row["name"]: row for row in _rows(writer.connection(), core) if row["current"]}
    for name, row in theirs.items():
        own = ours.get(name)
        if own is None or version_number(row["version"]) > version_number(own["version"]):
            writer.execute(update(core).where(core.c.name == name).values(current=False))
            writer.execute(update(core).where(core.c.id == found[row["id"]]).values(current=True))


def joined_sessions(reader: Connection, writer: orm.Session) -> Ids:
    """Sessions have no name: one that is alike in everything is the same one."""
    core = Base.metadata.tables[Session.__tablename__]
    here: dict[str, int] = {}
    for row in _rows(writer.connection(), core):
        here.setdefault(_content(row), row["id"])
    found: Ids = {}
    for row in _rows(reader, core):
        content = _content(row)
        if content not in here:
            (here[content],) = insert_rows(writer, Session, [_without_id(row)])
        found[row["id"]] = here[content]
    return found


def alike_sessions(connection: Connection) -> Ids:
    """Session -> the first one that is alike in everything, as two are that begin within a second."""
    first: dict[str, int] = {}
    rows = _rows(connection, Base.metadata.tables[Session.__tablename__])
    return {row["id"]: first.setdefault(_content(row), row["id"]) for row in rows}


def join_verdicts(reader: Connection, writer: orm.Session, methods: Ids, sessions: Ids) -> None:
    """What was checked there, of configurations that were not checked here."""
    core = Base.metadata.tables[Verdict.__tablename__]
    known = {(row["method_id"], row["config"]) for row in _rows(writer.connection(), core)}
    theirs = [
        _without_id(row) | {"method_id": methods[row["method_id"]], "session_id": sessions[row["session_id"]]}
        for row in _rows(reader, core)
    ]
    insert_rows(writer, Verdict, [row for row in theirs if (row["method_id"], row["config"]) not in known])


def join_settings(reader: Connection, writer: orm.Session) -> None:
    """Settings that are not here yet, but for those of the other database's own files."""
    known = set(writer.scalars(select(Setting.name)))
    new = [row for row in _rows(reader, Base.metadata.tables["setting"]) if row["name"] not in {*known, *OF_THE_PLACE}]
    insert_rows(writer, Setting, [dict(row) for row in new])


def _rows(connection: Connection, core: Table) -> list[Row]:
    order = core.c["id" if "id" in core.c else "name"]
    return [dict(row) for row in connection.execute(select(core).order_by(order)).mappings()]


def _without_id(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


def _not_current(row: Row) -> dict[str, Any]:
    return {"current": False} if "current" in row else {}


def _content(row: Row) -> str:
    return json.dumps(_without_id(row), sort_keys=True, default=str)


def version_number(version: Any) -> int:
    """Of a method's version, or of a task's, to which the data's checksum is added."""
    text = str(version).partition("+")[0]
    return int(text) if text.isdigit() else 0


def _is_bare(row: Row) -> bool:
    """Whether it is the definition of a metric that nobody registered."""
    return row.get("summary") == "" and row.get("better") == 0


def _contradict(table: type[Base], own: Row, row: Row) -> bool:
    column = _SHOULD_AGREE.get(table)
    return column is not None and own[column] != row[column] and not _is_bare(row)


def _contradiction(table: type[Base], own: Row, row: Row) -> str:
    column = _SHOULD_AGREE[table]
    what = f"The {table.__tablename__} {row['name']} {row.get('version', '')}".rstrip()
    return f"{what} is defined in two ways: {column} is {own[column]} in {{here}} and {row[column]} in {{there}}."
