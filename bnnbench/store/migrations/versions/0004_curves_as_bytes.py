"""A small database: curves as bytes with the digits that pictures show, and no word for a score that is finite.

Curves that no report draws any more go.
"""

import json

import numpy as np
import sqlalchemy as sa
from alembic import op

from bnnbench.store.series import encode

revision = "0004"
down_revision = "0003"

BATCH = 500  # curves
UNDRAWN = ("flow_path", "flow_warp")
DIGITS = 11  # binary ones of most plot data: a relative error of 1/2048 at most
SIGNIFICANT = ("training", "recording", "bands", "exact", "data", "weights")
UNITS = {  # curve -> column -> what its values become multiples of; "": of all other columns
    "pit_ecdf": {"": 2.0**-11},
    "reliability": {"": 2.0**-11},
    "entropy": {"": 2.0**-11},
    "violins": {"": 2.0**-11},
    "weights": {"lower": 2.0**-10, "upper": 2.0**-10},
    "flow_samples": {"": 2.0**-8},
    "flow_data": {"": 2.0**-8},
    "flow_density": {"x0": 2.0**-10, "x1": 2.0**-10, "": 2.0**-6},
    "vae_images": {"": 2.0**-7},
}
LEAST = {"log_q": -15.0, "log_p": -15.0}  # log-densities below which all is one to the eye
NON_FINITE = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}


def upgrade() -> None:
    _pack_curves()
    _shorten_scores()


def _pack_curves() -> None:
    op.add_column("curve", sa.Column("content", sa.LargeBinary(), nullable=True))
    connection = op.get_bind()
    curve = sa.table("curve", sa.column("id", sa.Integer()), sa.column("name"), sa.column("columns"),
                     sa.column("content", sa.LargeBinary()))  # fmt: skip
    connection.execute(sa.delete(curve).where(curve.c.name.in_(UNDRAWN)))
    text = sa.cast(curve.c.columns, sa.String()).label("text")  # parsed here: one that is damaged costs no other
    query = sa.select(curve.c.id, curve.c.name, text).order_by(curve.c.id).limit(BATCH)
    change = sa.update(curve).where(curve.c.id == sa.bindparam("row")).values(content=sa.bindparam("bytes"))
    last = -1
    while rows := connection.execute(query.where(curve.c.id > last)).all():
        connection.execute(change, [{"row": row.id, "bytes": _packed(row.name, row.text)} for row in rows])
        last = rows[-1].id
    with op.batch_alter_table("curve") as table:
        table.drop_column("columns")
        table.alter_column("content", existing_type=sa.LargeBinary(), nullable=False)


def _shorten_scores() -> None:
    """`kind` is empty where it was `finite`."""
    names = ("evaluation_id", "metric_id", "value", "stderr", "kind")
    types = (sa.Integer(), sa.Integer(), sa.Double(), sa.Double(), sa.String())
    parents = [sa.ForeignKeyConstraint([f"{name}_id"], [f"{name}.id"], f"fk_score_{name}_id_{name}", ondelete="CASCADE")
               for name in ("evaluation", "metric")]  # fmt: skip
    known = sa.CheckConstraint("kind IN ('finite', 'nan', 'inf', '-inf')", "ck_score_kind")
    filled = sa.CheckConstraint("(kind = 'finite') = (value IS NOT NULL)", "ck_score_value")
    columns = [sa.Column(name, kind, nullable=name in ("value", "stderr"))
               for name, kind in zip(names, types, strict=True)]  # fmt: skip
    key = sa.PrimaryKeyConstraint(*names[:2], name="pk_score")
    old = sa.Table("score", sa.MetaData(), *columns, *parents, key, known, filled, sqlite_with_rowid=False)
    # SQLite copies the table, of which its checks cannot be read, so that they are told; and once more with others.
    with op.batch_alter_table("score", copy_from=old) as table:
        table.drop_constraint(op.f("ck_score_kind"), type_="check")
        table.drop_constraint(op.f("ck_score_value"), type_="check")
        table.alter_column("kind", existing_type=sa.String(), nullable=True)
    op.execute("UPDATE score SET kind = NULL WHERE kind = 'finite'")
    with op.batch_alter_table("score", table_kwargs={"sqlite_with_rowid": False}) as table:
        table.create_check_constraint(op.f("ck_score_kind"), "kind IN ('nan', 'inf', '-inf')")
        table.create_check_constraint(op.f("ck_score_value"), "(kind IS NULL) = (value IS NOT NULL)")


def _packed(name: str, text: str) -> bytes:
    """The bytes of a curve; none of one that cannot be read."""
    try:
        series = {column: _numbers(values) for column, values in json.loads(text).items()}
        return encode({column: _rounded(name, column, values) for column, values in series.items()})
    except (AttributeError, KeyError, TypeError, ValueError):
        return b""


def _numbers(values: list) -> np.ndarray:
    if any(isinstance(value, str) for value in values):
        return np.array([NON_FINITE[value] if isinstance(value, str) else value for value in values], dtype=float)
    return np.array(values, dtype=None if values else float)


def _rounded(name: str, column: str, values: np.ndarray) -> np.ndarray:
    """What a picture needs; curves that are no pictures keep all digits."""
    if values.dtype.kind != "f":
        return values
    units = UNITS.get(name, {})
    if (unit := units.get(column, units.get(""))) is not None:
        return np.round(values.clip(LEAST.get(column, -np.inf)) / unit) * unit
    if name not in SIGNIFICANT:
        return values
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(fraction, DIGITS)), exponent - DIGITS)
