"""Fields that methods have got since, at defaults under which every number is as before, join the configurations.

A cell is found by its fingerprint, which is made of its configuration among others, so both are rewritten. Otherwise
all cells of these methods would be trained again, to the same numbers.
"""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BATCH = 1000  # cells
VARIATIONAL = ("bbp-gaussian", "bbp-laplace", "bbp-mixture", "bbp-local", "bbp-flipout")
MULTIPLICATIVE = ("mnf", "mnf-planar", "mnf-iaf", "mnf-spline")
# method -> fields
ADDED: dict[str, dict[str, float]] = {
    **{name: {"prior_scale": 1.0} for name in ("map", "ensemble-deep", "ensemble-bootstrap")},
    **{name: {"anneal": 0.0} for name in (*VARIATIONAL, *MULTIPLICATIVE)},
}


def upgrade() -> None:
    connection = op.get_bind()
    method, task = (sa.table(name, _id(), sa.column("name"), sa.column("version")) for name in ("method", "task"))
    names = ("task_id", "method_id", "config", "rule", "split_index", "seed", "budget", "fingerprint")
    cell = sa.table("cell", _id(), *map(sa.column, names))
    query = (
        sa.select(
            cell, task.c.name.label("task"), task.c.version.label("task_version"), method.c.name.label("method"),
            method.c.version.label("method_version"),
        )
        .join_from(cell, method, cell.c.method_id == method.c.id).join(task, cell.c.task_id == task.c.id)
        .where(method.c.name.in_(ADDED)).order_by(cell.c.id).limit(BATCH)
    )  # fmt: skip
    new = {name: sa.bindparam(f"new_{name}", type_=sa.String()) for name in ("config", "fingerprint")}
    change = sa.update(cell).where(cell.c.id == sa.bindparam("row")).values(new)
    last = -1
    while rows := connection.execute(query.where(cell.c.id > last)).all():
        connection.execute(change, [_completed(row) for row in rows])
        last = rows[-1].id


def _id() -> sa.ColumnClause[int]:
    return sa.column("id", sa.Integer())


def _completed(row: sa.Row) -> dict[str, object]:
    """The new values of a cell, with its id as `row`."""
    settings = ADDED[row.method] | json.loads(row.config)
    config = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    identity = [row.task, row.task_version, row.method, row.method_version, config]
    identity += [row.rule, row.split_index, row.seed, row.budget]
    fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return {"row": row.id, "new_config": config, "new_fingerprint": fingerprint}
