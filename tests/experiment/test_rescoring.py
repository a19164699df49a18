"""`rescore` gives stored cells what they lack, to the last digit of a fresh run where that can be, and never trains."""

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

import bnnbench
from bnnbench.errors import UserError
from bnnbench.experiment import attempt
from bnnbench.methods import METHODS
from bnnbench.store.series import decode, encode
from bnnbench.store.store import ResultStore

LIKE = {"budget": "smoke", "splits": "0", "threads": 1, "device": "cpu", "jobs": 1}
NAMES = ["constant", "map", "mc-dropout"]
TASKS = ["toy-heteroscedastic", "digits"]
# One metric of each need: none, targets, the truth, logits, the whole mixture.
ADDED = [
    "pinball",
    "interval_score_90",
    "width_90",
    "kl_to_truth",
    "aurc",
    "ace",
    "kwon_epistemic",
    "set_size_90",
    "crps",
]
KEY = ["fingerprint", "evaluation", "metric"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rescoring")
    bnnbench.run(NAMES, TASKS, db=folder / "results.db", calibrate="temperature", **LIKE)
    return folder


@pytest.fixture
def db(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(attempt, "fit", None)  # whoever trains fails
    return tmp_path / "results.db"


def as_before(db, metrics=ADDED, where="1"):
    """As an earlier bnnbench would have left it, which did not know these metrics."""
    names = ", ".join(f"'{name}'" for name in metrics)
    with closing(sqlite3.connect(db)) as connection, connection:
        gone = connection.execute(
            f"DELETE FROM score WHERE metric_id IN (SELECT id FROM metric WHERE name IN ({names})) "
            f"AND evaluation_id IN (SELECT id FROM evaluation WHERE {where})"
        ).rowcount
        for number, content in connection.execute("SELECT id, content FROM curve WHERE name = 'blocks'").fetchall():
            kept = {name: column for name, column in decode(content).items() if name not in metrics}
            connection.execute("UPDATE curve SET content = ? WHERE id = ?", (encode(kept), number))
    assert gone > 5
    return gone


def scores(db, **filters):
    return bnnbench.scores(db, **filters).set_index(KEY)[["value", "stderr"]].sort_index()


def blocks(db):
    with ResultStore(db, read_only=True) as store:
        return {cell["fingerprint"]: series for cell, _, series in store.curves("blocks")}


def artifacts(db, kind):
    with closing(sqlite3.connect(db)) as connection:
        rows = connection.execute("SELECT path FROM artifact WHERE kind = ?", (kind,)).fetchall()
    return [db.parent / path for (path,) in rows]


def test_metrics_that_were_added_since_are_those_of_a_fresh_run(db):
    """Every bit where the predictive is kept: on the test rows and the grid."""
    before, curves = scores(db), blocks(db)
    gone = as_before(db)
    told = bnnbench.rescore(db)
    assert (told.cells, told.changed, told.added, told.warnings) == (6, 6, gone, ())
    assert str(told) == f"{gone} scores were added to 6 of 6 cells."
    after = scores(db)
    exact = after.index.get_level_values("evaluation").isin(["test", "grid"])
    pd.testing.assert_frame_equal(after[exact], before[exact], check_exact=True)
    assert after.index.equals(before.index)
    np.testing.assert_allclose(after["value"], before["value"], rtol=1e-3, atol=1e-4)
    found = blocks(db)
    for fingerprint, series in curves.items():
        assert found[fingerprint].keys() == series.keys()
        for name, column in series.items():
            np.testing.assert_array_equal(found[fingerprint][name], column)
    again = bnnbench.rescore(db)
    assert (again.added, str(again)) == (0, "6 cells have all that can be given.")


def test_scores_that_are_there_do_not_change(db):
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE score SET value = 7 WHERE metric_id = (SELECT id FROM metric WHERE name = 'rmse')")
    as_before(db)
    bnnbench.rescore(db)
    assert set(bnnbench.scores(db, metric="rmse", task="toy-heteroscedastic")["value"].dropna()) == {7.0}


def test_where_only_the_predictive_is_kept(db):
    before = scores(db, evaluation=["test", "grid"])
    as_before(db)
    for path in artifacts(db, "posterior"):
        path.unlink()
    told = bnnbench.rescore(db)
    assert told.changed == 6
    pd.testing.assert_frame_equal(scores(db, evaluation=["test", "grid"]), before, check_exact=True)
    assert told.warnings
    assert all("The artifact" in sentence and "is missing" in sentence for sentence in told.warnings)


def test_where_only_the_posterior_is_kept(db):
    before = scores(db)
    as_before(db)
    for path in artifacts(db, "predictive"):
        path.unlink()
    assert bnnbench.rescore(db).warnings == ()
    after = scores(db)
    assert after.index.equals(before.index)
    np.testing.assert_allclose(after["value"], before["value"], rtol=1e-3, atol=1e-4)


def test_calibrations_and_what_no_artifact_can_give(db):
    told = bnnbench.rescore(db, tasks="digits", methods="map,mc-dropout", calibrate="conformal")
    assert (told.cells, told.changed, told.warnings) == (2, 2, ())
    found = bnnbench.scores(db, evaluation="test-conformal", method=["map", "mc-dropout"], task="digits")
    assert set(found["metric"]) == {"coverage_90", "set_size_90", "conformal_quantile"}
    shutil.rmtree(db.parent / "results.artifacts")
    told = bnnbench.rescore(db, calibrate="conformal")
    assert told.added == 0
    assert told.warnings == ("4 cells lack test sets or calibrations and have no stored posterior to score.",)


def test_cells_of_other_versions_are_left_out_with_the_reason(db, monkeypatch):
    as_before(db)
    monkeypatch.setattr(METHODS.get("map"), "version", 99)
    monkeypatch.delitem(METHODS._entries, "constant")
    told = bnnbench.rescore(db)
    assert (told.cells, told.changed) == (2, 2)
    assert told.warnings[:2] == (
        "2 cells: the method 'constant' is not registered here.",
        f"2 cells: map version {METHODS.get('map').version - 98} trained them, and version 99 is installed.",
    )


@pytest.mark.parametrize(("options", "sentence"), [
    ({"methods": "mop"}, "mop"), ({"methods": "swag"}, "The database has no scored cell of the method swag"),
    ({"tasks": "yacht"}, "The database has no scored cell of the task yacht"), ({"test_sets": "rotatoin"}, "rotatoin"),
    ({"test_sets": "rotation"}, "No chosen task has the test sets rotation"),
    ({"calibrate": "x"}, "There is no calibration"),
    ({"device": "tpu"}, "--device must be"), ({"threads": 0}, "--threads must"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_changes_nothing(db, options, sentence):
    before = db.read_bytes()
    with pytest.raises(UserError, match=sentence):
        bnnbench.rescore(db, **options)
    assert db.read_bytes()[100:] == before[100:]


def test_a_database_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="There is no database"):
        bnnbench.rescore(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []
