"""What a report needs to know stands in the definitions; citations and fields of methods have new names.

A cell is found by its fingerprint, which is made of its configuration among others, so both are rewritten.
"""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BATCH = 1000  # cells
_SAMPLERS = {"floor": "final_lr_fraction", "burn": "burn_in"}
_HMC = {"parallel": "num_chains", "multiple": "steps_multiplier", "leapfrogs": "max_leapfrog_steps", "burn": "burn_in"}
FIELDS = {  # method -> old name of a field -> new name
    "hmc": _HMC,
    "sgld": _SAMPLERS,
    "psgld": _SAMPLERS,
    "sghmc": _SAMPLERS,
    "csgmcmc": _SAMPLERS,
    "swag": {"burn": "burn_in"},
    "ensemble-bootstrap": {"share": "subset_fraction"},
}
ROLES = (("baseline", "baseline"), ("references", "reference"))  # tag, role
WARNING = "Never compare these numbers with published ones: a small sample of the images stands in for the data set."
HEADLINE = {"log_likelihood", "rmse", "crps", "calibration_error", "error", "ece", "brier"}
HEADLINE |= {"nll", "kl_forward", "elbo", "iw_log_likelihood"}
METRICS = (  # kinds of tasks, and names, in their order
    ("regression classification", "log_likelihood"),
    ("regression", "log_likelihood_moment rmse crps calibration_error coverage_95 epistemic_std aleatoric_std"),
    ("classification", "error ece brier entropy_total entropy_aleatoric entropy_epistemic"),
    ("classification", "kwon_aleatoric kwon_epistemic kwon_aleatoric_normalised kwon_epistemic_normalised"),
    ("regression", "kl_to_truth truth_coverage_95 w1_to_hmc mean_gap log_sd_ratio log_epistemic_ratio"),
    ("regression classification", "rhat ess share_converged"),
    ("ood", "auroc_total auroc_epistemic aupr_total fpr95_total"),
    ("density variational", "nll nll_floor kl_forward kl_reverse mass elbo iw_log_likelihood"),
    ("", "draws_kept step_size acceptance divergent temperature_kinetic temperature_configurational temperature_low"),
    ("", "temperature_high draws_exploded drift_shortened noise_deficit"),
)
LAST = 1_000_000  # position of all other metrics


def upgrade() -> None:
    op.drop_table("published")
    for table in ("method", "task"):
        op.alter_column(table, "reference", new_column_name="citation")
    op.add_column("method", sa.Column("role", sa.String(), nullable=False, server_default="method"))
    op.add_column("method", sa.Column("other_target", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("task", sa.Column("warning", sa.String(), nullable=False, server_default=""))
    op.add_column("metric", sa.Column("kinds", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("metric", sa.Column("headline", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("metric", sa.Column("position", sa.Integer(), nullable=False, server_default=str(LAST)))
    connection = op.get_bind()
    _define(connection)
    _rename_fields(connection)


def _define(connection: sa.Connection) -> None:
    """Values of the new columns."""
    method = sa.table("method", _id(), sa.column("tags", sa.JSON()), sa.column("role"), sa.column("other_target"))
    for row in connection.execute(sa.select(method.c.id, method.c.tags)).all():
        role = next((role for tag, role in ROLES if tag in row.tags), "method")
        values = {"role": role, "other_target": "other-target" in row.tags}
        connection.execute(sa.update(method).where(method.c.id == row.id).values(values))
    task = sa.table("task", _id(), sa.column("task_groups", sa.JSON()), sa.column("warning"))
    for row in connection.execute(sa.select(task.c.id, task.c.task_groups)).all():
        if "images-sample" in row.task_groups:
            connection.execute(sa.update(task).where(task.c.id == row.id).values(warning=WARNING))
    metric = sa.table(
        "metric", sa.column("name"), sa.column("kinds", sa.JSON()), sa.column("headline"), sa.column("position")
    )
    known = [(name, kinds.split()) for kinds, names in METRICS for name in names.split()]
    for position, (name, kinds) in enumerate(known):
        values = {"kinds": kinds, "headline": name in HEADLINE, "position": position}
        connection.execute(sa.update(metric).where(metric.c.name == name).values(values))


def _rename_fields(connection: sa.Connection) -> None:
    """Rewrite the cells of methods whose fields have new names."""
    method = sa.table("method", _id(), sa.column("name"), sa.column("version"))
    task = sa.table("task", _id(), sa.column("name"), sa.column("version"))
    names = ("task_id", "method_id", "config", "label", "rule", "split_index", "seed", "budget", "fingerprint")
    cell = sa.table("cell", _id(), *map(sa.column, names))
    query = (
        sa.select(
            cell, task.c.name.label("task"), task.c.version.label("task_version"), method.c.name.label("method"),
            method.c.version.label("method_version"),
        )
        .join_from(cell, method, cell.c.method_id == method.c.id).join(task, cell.c.task_id == task.c.id)
        .where(method.c.name.in_(FIELDS)).order_by(cell.c.id).limit(BATCH)
    )  # fmt: skip
    new = {name: sa.bindparam(f"new_{name}", type_=sa.String()) for name in ("config", "label", "fingerprint")}
    change = sa.update(cell).where(cell.c.id == sa.bindparam("row")).values(new)
    last = -1
    while rows := connection.execute(query.where(cell.c.id > last)).all():
        connection.execute(change, [_renamed(row) for row in rows])
        last = rows[-1].id


def _id() -> sa.ColumnClause[int]:
    return sa.column("id", sa.Integer())


def _renamed(row: sa.Row) -> dict[str, object]:
    """The new values of a cell, with its id as `row`."""
    fields = FIELDS[row.method]
    settings = {fields.get(name, name): value for name, value in json.loads(row.config).items()}
    config = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    changed = (part.partition("=") for part in row.label.split(","))  # `default`, or `burn=0.5,lr=0.1`
    label = ",".join(fields.get(name, name) + equals + value for name, equals, value in changed)
    identity = [row.task, row.task_version, row.method, row.method_version, config]
    identity += [row.rule, row.split_index, row.seed, row.budget]
    fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return {"row": row.id, "new_config": config, "new_label": label, "new_fingerprint": fingerprint}
