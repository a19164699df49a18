"""From the first revision to the newest, on both kinds of database."""

import json
import math
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from bnnbench.engine.cell import Cell
from bnnbench.evaluation.certificate import CERTIFICATE
from bnnbench.experiment.definitions import definitions
from bnnbench.methods import METHODS
from bnnbench.methods.base import configure
from bnnbench.records import CellRecord, MetricRecord, canonical
from bnnbench.store import schema
from bnnbench.store.store import ResultStore
from bnnbench.store.tables import Base
from bnnbench.tasks import TASKS

NOW, CELL = datetime(2026, 1, 1), "f" * 64
COMMANDS = {  # as they were stored -> as they should be
    "bnnbench run --db postgresql://u:secret-pw@h/d --task toy": (
        "bnnbench run --db 'postgresql://u:***@h/d' --task toy"
    ),
    "bnnbench run --task toy": "bnnbench run --task toy",
    "bnnbench run '--db=postgresql://u:secret-pw x@h/d?sslpassword=secret-pw' --set 'map.lr=1,2'": (
        "bnnbench run '--db=postgresql://u:***@h/d?sslpassword=***' --set map.lr=1,2"
    ),
    "it's postgresql://u:secret-pw@h/d": "it's postgresql://u:***@h/d",
}


COSTS = {"compiled": False, "pack_size": 1, "wall_s": 1.0, "peak_memory_mb": 1.0, "parameters": 1}
ATTEMPT = {"session_id": 1, "status": "ok", "message": "", "steps": 1, "gradients": 1, **COSTS, "finished": NOW}
SESSION = {
    "started": NOW,
    "revision": "abc",
    "dirty": False,
    "versions": {},
    "device": "cpu",
    "host": "h",
    "threads": 1,
}
LATER_METRICS = {
    "tv_to_hmc",
    "agreement_with_hmc",
    "log_information_ratio",
    *(record.name for record in CERTIFICATE),
    "pinball",
    "interval_score_90",
    "coverage_90",
    "width_90",
    "set_size_90",
    "ece_adaptive",
    "ace",
    "aurc",
    "temperature_scale",
    "conformal_quantile",
}
SAMPLERS = {"final_lr_fraction": "floor", "burn_in": "burn"}
OLD_NAMES = {  # method -> field -> the name that it had before revision 3
    "hmc": {
        "num_chains": "parallel",
        "steps_multiplier": "multiple",
        "max_leapfrog_steps": "leapfrogs",
        "burn_in": "burn",
    },
    "sgld": SAMPLERS,
    "psgld": SAMPLERS,
    "sghmc": SAMPLERS,
    "csgmcmc": SAMPLERS,
    "swag": {"burn_in": "burn"},
    "ensemble-bootstrap": {"subset_fraction": "share"},
    "map": {},
}
SETTINGS = [{}, {"burn_in": "0.125", "prior_scale": "2.5"}, {"lr": "0.0625", "final_lr_fraction": "1e-05"}]
SETTINGS += [{"subset_fraction": "0.5", "members": "3"}, {"num_chains": "2", "step": "0.5", "max_leapfrog_steps": "7"}]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, path, monkeypatch) -> str:
    """URL of a database that is not there yet, or empty."""
    monkeypatch.chdir(path.parent)
    if request.param == "sqlite":
        return f"sqlite:///{path}"
    return request.getfixturevalue("postgres").new().replace("postgresql:", "postgresql+psycopg:")


def database_of(place: str, revision: str, rows: dict[str, list[dict]]) -> sqlalchemy.Engine:
    """A database of an earlier revision, as an earlier bnnbench left it."""
    engine = sqlalchemy.create_engine(place)
    config = schema.alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables = sqlalchemy.MetaData()
        tables.reflect(connection)
        for name, values in rows.items():
            connection.execute(tables.tables[name].insert(), values)
    return engine


def assert_newest(engine: sqlalchemy.Engine) -> None:
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version")) == schema.HEAD
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


@pytest.mark.parametrize("read_only", [True, False])
def test_the_second_revision_scrubs_passwords_and_keeps_the_rest(place, path, read_only):
    method = {"name": "bbp", "version": 1, "current": True, "reference": "", "tags": [], "position": 0}
    task = {"name": "wine", "version": "1", "current": True, "kind": "regression", "reference": "", "position": 0}
    cell = {"fingerprint": CELL, "task_id": 1, "method_id": 1, "config": "{}", "label": "default", "rule": "10fold"}
    claim = {"split_index": 0, "seed": 0, "budget": "quick", "owner": "h:1:1", "heartbeat": 1.0}
    rows = {
        "session": [{"id": i, **SESSION, "command": line} for i, line in enumerate(COMMANDS, 1)],
        "method": [{"id": 1, **method}],
        "task": [{"id": 1, **task, "task_groups": [], "notes": []}],
        "cell": [{"id": 1, **cell, **claim}],
        "attempt": [{"id": 1, "cell_id": 1, **ATTEMPT}],
    }
    engine = database_of(place, "0001", rows)
    with ResultStore(place, read_only=read_only) as store:
        assert store.sessions()["command"].tolist() == list(COMMANDS.values())
        assert store.attempts()["fingerprint"].tolist() == [CELL]
        assert store.running().empty
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT count(*) FROM session WHERE command LIKE '%secret-pw%'")) == 0
    assert_newest(engine)
    if path.exists():
        assert b"secret-pw" not in path.read_bytes()


def every_cell() -> list[Cell]:
    """Cells of all methods with renamed fields, and one without, in several configurations."""
    task = TASKS.get("toy-heteroscedastic")
    classes = [METHODS.get(name) for name in OLD_NAMES]
    methods = [configure(c, s) for c in classes for s in SETTINGS if s.keys() <= c.__dataclass_fields__.keys()]
    return [Cell(task, method, task.rules[0], 0, seed, task.budget("smoke")) for method in methods for seed in (0, 7)]


def as_before(cell: CellRecord) -> CellRecord:
    """The cell as it was stored before revision 3."""
    names = OLD_NAMES[cell.method]
    config = canonical({names.get(name, name): value for name, value in json.loads(cell.config).items()})
    parts = [part.partition("=") for part in cell.label.split(",")]
    label = ",".join(names.get(name, name) + equals + value for name, equals, value in parts)
    return replace(cell, config=config, label=label)


def rows_of(cells: list[Cell], before: list[CellRecord], citation: str) -> dict[str, list[dict]]:
    """Rows of a database with a score for each of these cells, as they were recorded at an earlier revision."""
    methods, tasks, _ = definitions(cells)
    common = {"version": 1, "current": True, "position": 0}
    rows = {
        "session": [{"id": 1, **SESSION, "command": "bnnbench run"}],
        "method": [
            {**common, "id": i, "name": m.name, "version": m.version, citation: m.citation, "tags": list(m.tags)}
            for i, m in enumerate(methods, 1)
        ],
        "task": [{**common, "id": 1, "name": tasks[0].name, "version": tasks[0].version, "kind": "regression",
                  citation: "x", "task_groups": ["toy"], "notes": []}],
        "metric": [{"id": 1, "name": "rmse", "better": -1, "unit": "", "summary": ""}],
        "cell": [], "attempt": [], "evaluation": [], "score": [],
    }  # fmt: skip
    ids = {m.name: i for i, m in enumerate(methods, 1)}
    for i, record in enumerate(before, 1):
        same = {name: getattr(record, name) for name in ("fingerprint", "config", "label", "rule", "seed", "budget")}
        rows["cell"].append({"id": i, "task_id": 1, "method_id": ids[record.method], "split_index": 0, **same})
        rows["attempt"].append({"id": i, "cell_id": i, **ATTEMPT})
        rows["evaluation"].append({"id": i, "attempt_id": i, "name": "test", "n": 3})
        kind = {"kind": "finite"} if citation == "reference" else {}
        rows["score"].append({"evaluation_id": i, "metric_id": 1, "value": i / 7, "stderr": None, **kind})
    return rows


def assert_kept(place: str, records: list[CellRecord]) -> None:
    """A database of `rows_of` holds these cells as they are recorded today, with their scores."""
    with ResultStore(place) as store:
        assert store.missing(records) == []
        scores = store.scores(latest_only=False).set_index("fingerprint")
        assert scores["value"].to_dict() == {record.fingerprint: i / 7 for i, record in enumerate(records, 1)}
        assert scores["config"].to_dict() == {record.fingerprint: record.label for record in records}
        configurations = store.attempts(latest_only=False).set_index("fingerprint")["configuration"]
        assert configurations.to_dict() == {record.fingerprint: record.config for record in records}


def test_the_third_revision_renames_the_fields_of_methods_and_keeps_the_scores(place):
    cells = every_cell()
    records = [cell.record for cell in cells]
    engine = database_of(place, "0002", rows_of(cells, [*map(as_before, records)], "reference"))
    assert_kept(place, records)
    assert_newest(engine)


def test_the_fifth_revision_adds_what_changes_no_number_and_keeps_the_scores(place):
    """Cells are those of today, and lacked a field; where it has another value, they keep it."""
    settings = {"prior_scale": [{}, {"lr": "0.0625"}, {"prior_scale": "2.5"}],
                "anneal": [{"anneal": "0"}, {"anneal": "0", "lr": "0.0625"}, {"anneal": "0.25"}, {}]}  # fmt: skip
    methods = [configure(METHODS.get(name), s) for name, (field, _) in ADDED.items() for s in settings[field]]
    methods.append(METHODS.get("mc-dropout")())  # which has a version of its own
    task = TASKS.get("toy-heteroscedastic")
    cells = [Cell(task, method, task.rules[0], 0, seed, task.budget("smoke")) for method in methods for seed in (0, 7)]
    records = [cell.record for cell in cells]
    engine = database_of(place, "0004", rows_of(cells, [*map(without_what_was_added, records)], "citation"))
    assert_kept(place, records)
    assert_newest(engine)


def test_the_sixth_revision_takes_every_cell_for_trained(place):
    cells = every_cell()
    records = [cell.record for cell in cells]
    engine = database_of(place, "0005", rows_of(cells, records, "citation"))
    assert_kept(place, records)
    with ResultStore(place) as store:
        attempts = store.attempts(latest_only=False)
    assert set(attempts["origin"]) == {"trained"}
    assert attempts["source"].isna().all()
    assert_newest(engine)


ADDED = {name: ("prior_scale", 1.0) for name in ("map", "ensemble-deep", "ensemble-bootstrap")}
ADDED |= {f"bbp-{kind}": ("anneal", 0.0) for kind in ("gaussian", "laplace", "mixture", "local", "flipout")}
ADDED |= {f"mnf{kind}": ("anneal", 0.0) for kind in ("", "-planar", "-iaf", "-spline")}


def without_what_was_added(cell: CellRecord) -> CellRecord:
    """The cell as it was stored before revision 5, which is still right where the field has another value."""
    config = json.loads(cell.config)
    field, value = ADDED.get(cell.method, ("", 0.0))
    if config.get(field) == value:
        del config[field]
    return replace(cell, config=canonical(config))


def test_the_third_revision_defines_what_reports_need(place):
    """As a run would: all metrics of its time as they are today, and roles by the tags that are stored."""
    of_its_time = [m for m in definitions([])[2] if m.name not in LATER_METRICS]
    known = [replace(m, order=order) for order, m in enumerate(of_its_time)]
    tags = {"constant": ["baseline", "other-target"], "hmc": ["references", "sampling"], "map": ["optimisation"]}
    common = {"version": 1, "current": True, "position": 0, "reference": "Someone 1999"}
    rows = {
        "method": [{**common, "id": i, "name": name, "tags": t} for i, (name, t) in enumerate(tags.items(), 1)],
        "task": [{**common, "id": i, "name": f"task {i}", "version": "1", "kind": "regression", "notes": [],
                  "task_groups": [group]} for i, group in enumerate(("images", "images-sample"), 1)],
        "metric": [{"id": i, "name": m.name, "better": m.better, "unit": m.unit, "summary": m.summary}
                   for i, m in enumerate(reversed([*known, MetricRecord("mine", 0, "", "")]), 1)],
    }  # fmt: skip
    engine = database_of(place, "0002", rows)
    with ResultStore(place) as store:
        methods, tasks = store.methods().set_index("name"), store.tasks().set_index("name")
        assert methods["role"].to_dict() == {"constant": "baseline", "hmc": "reference", "map": "method"}
        assert methods["other_target"].to_dict() == {"constant": True, "hmc": False, "map": False}
        assert set(methods["citation"]) == set(tasks["citation"]) == {"Someone 1999"}
        assert tasks["warning"].to_dict() == {"task 1": "", "task 2": TASKS.get("cifar10-sample-lenet").warning}
        metrics = store.metrics().to_dict("records")
        assert [row["name"] for row in metrics] == [*(m.name for m in known), "mine"]
        assert metrics[:-1] == [{**vars(m), "kinds": list(m.kinds)} for m in known]
    assert_newest(engine)


def test_the_fourth_revision_packs_curves_and_keeps_the_scores(place):
    """Curves of pictures are rounded; those that tables read, and those of other packages, keep every digit."""
    common = {"version": 1, "current": True, "position": 0, "citation": "x"}
    third, step = 0.3333333, [1, 2, 3000]
    curves = {  # name -> as it was stored
        "training": {"step": step, "validation": [-2.391234, "nan", "-inf"], "loss": [1e300, 1e-30, -0.0]},
        "reliability": {"lower": [0.0, 0.5, 0.75], "confidence": ["nan", third, 1.0], "count": [0.0, 9731.0, 1.0]},
        "flow_density": {"x0": [-1.47, 0.0], "x1": [0.0, 1.0], "log_q": [-18.25, -1.234], "log_p": [0.5, -20.0]},
        "blocks": {"log_likelihood": [third, 123456.7, 1e-30]},
        "of a plugin": {"height": [third]},
        "flow_path": {"layer": [0]},
        "damaged": "{",
    }
    scores = [1 / 7, math.nan, math.inf, -math.inf]
    kinds = ["finite", "nan", "inf", "-inf"]
    rows = {
        "session": [{"id": 1, **SESSION, "command": "bnnbench run"}],
        "method": [{**common, "id": 1, "name": "map", "tags": [], "role": "method", "other_target": False}],
        "task": [{**common, "id": 1, "name": "wine", "version": "1", "kind": "regression", "task_groups": [],
                  "notes": [], "warning": ""}],
        "metric": [{"id": i, "name": f"m{i}", "better": 0, "unit": "", "summary": "", "kinds": [], "headline": False,
                    "position": i} for i, _ in enumerate(scores)],
        "cell": [{"id": 1, "fingerprint": CELL, "task_id": 1, "method_id": 1, "config": "{}", "label": "default",
                  "rule": "10fold", "split_index": 0, "seed": 0, "budget": "quick"}],
        "attempt": [{"id": 1, "cell_id": 1, **ATTEMPT}],
        "evaluation": [{"id": 1, "attempt_id": 1, "name": "test", "n": 3}],
        "score": [{"evaluation_id": 1, "metric_id": i, "value": value if math.isfinite(value) else None, "stderr": 0.1,
                   "kind": kind} for i, (value, kind) in enumerate(zip(scores, kinds, strict=True))],
        "curve": [{"id": i, "attempt_id": 1, "evaluation_id": 1, "name": name, "columns": columns}
                  for i, (name, columns) in enumerate(curves.items(), 1)],
    }  # fmt: skip
    engine = database_of(place, "0003", rows)
    with ResultStore(place) as store:
        np.testing.assert_array_equal(store.scores()["value"], scores)
        assert store.scores()["stderr"].tolist() == [0.1] * 4
        found = {name: store.curves(name) for name in curves}
        assert found.pop("flow_path") == []
        series = {name: only[0][2] for name, only in found.items()}
    assert series["damaged"] == {}
    assert series["training"]["step"].tolist() == step
    np.testing.assert_allclose(series["training"]["validation"], [-2.391234, math.nan, -math.inf], rtol=2.0**-11)
    np.testing.assert_allclose(series["training"]["loss"], [1e300, 1e-30, 0], rtol=2.0**-11)
    np.testing.assert_allclose(series["reliability"]["confidence"], [math.nan, third, 1], atol=2.0**-12)
    assert series["reliability"]["count"].tolist() == [0, 9731, 1]
    np.testing.assert_allclose(series["flow_density"]["x0"], [-1.47, 0], atol=2.0**-11)
    np.testing.assert_allclose(series["flow_density"]["log_q"], [-15, -1.234], atol=2.0**-7)
    assert series["blocks"]["log_likelihood"].tolist() == curves["blocks"]["log_likelihood"]
    assert series["of a plugin"]["height"].tolist() == [third]
    assert_newest(engine)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            sql = connection.scalar(sqlalchemy.text("SELECT sql FROM sqlite_master WHERE name = 'score'"))
        assert sql.rstrip().endswith("WITHOUT ROWID")
        engine.dispose()
