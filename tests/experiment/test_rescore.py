"""A new evaluation never trains again: stored posteriors are scored; and a run without work writes nothing."""

import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bnnbench
from bnnbench.engine.cell import Cell
from bnnbench.evaluation.pruning import FRACTIONS
from bnnbench.experiment import attempt, rescore
from bnnbench.methods import METHODS
from bnnbench.names import pruned
from bnnbench.store.store import ResultStore
from bnnbench.tasks.budget import BUDGETS

TASKS = "toy-homoscedastic,digits"
LIKE = {"budget": "smoke", "splits": "0", "threads": 1, "device": "cpu"}
PRUNED = {pruned(share) for share in FRACTIONS}
NAMES = ["constant", "map", "mc-dropout", "bbp-gaussian", "laplace-diag", "sgld", "swag"]


def run(db, methods=NAMES, **options):
    return bnnbench.run(methods, TASKS, db=db, **(LIKE | options))


@pytest.fixture(scope="module", autouse=True)
def _pruned():
    """Smoke runs are scored under pruning, too, as those of `full` are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUDGETS, "smoke", replace(BUDGETS["smoke"], pruning=True))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rescore")
    assert run(folder / "results.db").missing == 2 * len(NAMES)
    return folder


@pytest.fixture
def db(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "results.db"


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(attempt, "fit", None)


def forget(db, where):
    connection = sqlite3.connect(db)
    connection.execute("PRAGMA foreign_keys = ON")
    gone = connection.execute(f"DELETE FROM evaluation WHERE {where}").rowcount
    connection.commit()
    connection.close()
    assert gone


def test_what_a_cell_lacks_is_scored_from_its_posterior(db, untrained):
    """All evaluations there are but the sampler's, which come of the training; the numbers are those of before."""
    before = bnnbench.scores(db)
    forget(db, "name LIKE 'pruned-%' OR name IN ('train', 'grid', 'inside')")
    summary = run(db)
    assert (summary.missing, summary.rescored, summary.warnings) == (0, 2 * len(NAMES), ())
    after = bnnbench.scores(db)
    columns = ["task", "method", "evaluation", "metric", "n"]
    pd.testing.assert_frame_equal(after[columns], before[columns])
    np.testing.assert_allclose(after["value"], before["value"], rtol=1e-3, atol=1e-4)
    assert run(db).rescored == 0


def test_only_what_is_missing_is_computed(db, untrained, monkeypatch):
    forget(db, "name = 'pruned-0.40'")
    asked, original = [], rescore.evaluate_only

    def watched(evaluator, names, sets):
        asked.append((evaluator.pack.method.name, names))
        return original(evaluator, names, sets)

    monkeypatch.setattr(rescore, "evaluate_only", watched)
    with ResultStore(db, read_only=True) as store:
        has = store.scores(evaluation="pruned-0.60")
    assert run(db).rescored == len(asked) > 0
    assert {method for method, _ in asked} == set(has[has["evaluation"] != ""]["method"])
    assert all(names == {"pruned-0.40"} for _, names in asked)


def test_without_the_posteriors_one_sentence_names_the_remedy(db, untrained):
    forget(db, "name = 'train'")
    shutil.rmtree(db.parent / "results.artifacts")
    before = db.read_bytes()
    summary = run(db)
    assert (summary.missing, summary.rescored) == (0, 0)
    (warning,) = summary.warnings
    assert warning == (
        f"{2 * len(NAMES)} finished cells lack evaluations and have no stored posterior to score; "
        "--force trains them again."
    )
    assert db.read_bytes() == before


def test_a_damaged_posterior_is_left_out(db, untrained):
    forget(db, "name = 'train'")
    connection = sqlite3.connect(db)
    (path,) = connection.execute("SELECT path FROM artifact WHERE kind = 'posterior'").fetchone()
    connection.close()
    (db.parent / path).write_bytes(b"no arrays")
    assert run(db).rescored == 2 * len(NAMES) - 1


def test_cells_that_were_not_scored_are_left_alone(tmp_path, monkeypatch):
    db = tmp_path / "results.db"
    assert run(db, "map", timeout=1e-9).statuses == {"timeout": 2}
    monkeypatch.setattr(attempt, "fit", None)
    summary = run(db, "map")
    assert (summary.missing, summary.rescored, summary.warnings) == (0, 0, ())


def test_force_trains_instead(db):
    forget(db, "name = 'train'")
    summary = run(db, "map", force=True)
    assert (summary.missing, summary.rescored) == (2, 0)


def test_a_run_without_work_changes_no_byte(db, untrained, monkeypatch):
    before = db.read_bytes()
    assert run(db).missing == 0
    assert run(db, "map,sgld").missing == 0
    assert db.read_bytes() == before
    assert {path.name for path in db.parent.iterdir()} == {"results.db", "results.artifacts"}
    monkeypatch.setattr(METHODS.get("map"), "citation", "Nobody 1900")  # a definition that changed is written
    assert run(db).missing == 0
    with ResultStore(db, read_only=True) as store:
        assert "Nobody 1900" in set(store.methods()["citation"])


def test_distances_from_hmc_that_an_interrupted_run_left_out_are_added(tmp_path, monkeypatch):
    options = LIKE | {"db": tmp_path / "results.db"}
    monkeypatch.setattr(Cell, "steps", property(lambda cell: cell.budget.steps))  # of hmc, too
    with monkeypatch.context() as patch:
        patch.setattr("bnnbench.experiment.stages.STAGES", ())
        bnnbench.run("map,hmc", "toy-homoscedastic", **options)
    assert "fidelity" not in set(bnnbench.scores(options["db"])["evaluation"])
    monkeypatch.setattr(attempt, "fit", None)
    assert bnnbench.run("map,hmc", "toy-homoscedastic", **options).missing == 0
    after = bnnbench.scores(options["db"], evaluation="fidelity")
    assert set(after[after["evaluation"] != ""]["method"]) == {"map", "hmc"}
