"""`--calibrate`: evaluations of their own, for cells that are trained and for those that were trained before."""

from dataclasses import replace

import numpy as np
import pytest

import bnnbench
from bnnbench.errors import UserError
from bnnbench.experiment import attempt
from bnnbench.experiment.request import Request
from bnnbench.experiment.selection import select_calibrations
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import budget_of

NAMES = ["constant", "ensemble-deep"]
LIKE = {"budget": "smoke", "splits": "0", "threads": 1, "device": "cpu", "jobs": 1}
CALIBRATED = ["test-temperature", "test-conformal"]


def run(db, **options):
    return bnnbench.run(NAMES, "diabetes,digits", db=db, **(LIKE | options))


def values(db, evaluation):
    frame = bnnbench.scores(db, evaluation=evaluation)
    return frame.set_index(["task", "method", "split", "metric"])["value"].sort_index()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    db = tmp_path_factory.mktemp("calibrate") / "results.db"
    run(db, calibrate="all")
    return db


def test_each_calibration_is_an_evaluation_beside_the_test_scores(made, tmp_path):
    run(tmp_path / "plain.db")
    plain = values(tmp_path / "plain.db", "test")
    np.testing.assert_array_equal(values(made, "test"), plain)
    assert values(made, "test").index.equals(plain.index)
    temperature, conformal = (values(made, name) for name in CALIBRATED)
    for found in (temperature, conformal):
        assert (found.index.droplevel(["split", "metric"]).unique()).equals(plain.index.droplevel([2, 3]).unique())
    metrics = {t: set(conformal.xs(t).index.get_level_values("metric")) for t in ("diabetes", "digits")}
    assert metrics["diabetes"] == {"coverage_90", "width_90", "interval_score_90", "conformal_quantile"}
    assert metrics["digits"] == {"coverage_90", "set_size_90", "conformal_quantile"}
    for task, own in (("diabetes", "crps"), ("digits", "ece")):
        told = set(temperature.xs(task).index.get_level_values("metric"))
        assert {"log_likelihood", "coverage_90", "temperature_scale", own} <= told
    error = temperature.xs("error", level="metric")
    np.testing.assert_array_equal(error, plain.xs("error", level="metric"))  # the order of classes stays


def test_finished_cells_are_calibrated_without_training_again(made, tmp_path, monkeypatch):
    db = tmp_path / "later.db"
    run(db)
    monkeypatch.setattr(attempt, "fit", None)
    summary = run(db, calibrate="conformal")
    assert (summary.missing, summary.rescored, summary.warnings) == (0, 4, ())
    assert bnnbench.scores(db, evaluation="test-temperature").empty
    summary = run(db, calibrate=["conformal", "temperature"])
    assert (summary.missing, summary.rescored) == (0, 4)
    assert run(db, calibrate="all").rescored == 0
    for name in CALIBRATED:
        np.testing.assert_allclose(values(db, name), values(made, name), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_calibrated_is_told():
    with pytest.raises(UserError, match=r"^There is no calibration 'temprature'; did you mean temperature\?$"):
        run("unused.db", calibrate="temprature")
    with pytest.raises(UserError, match=r"^No chosen task can be calibrated; choose one of kind regression or class"):
        bnnbench.run("flow-planar", "moons", calibrate="all", db="unused.db", budget="smoke")
    with pytest.raises(UserError, match="--calibrate takes names"):
        run("unused.db", calibrate=5)


def test_a_density_is_scored_without():
    tasks = [TASKS.get("moons"), TASKS.get("diabetes")]
    request = Request(["map"], ["moons", "diabetes"], budget_of("smoke"), calibrations=["conformal", "temperature"])
    able, warnings = select_calibrations(request, tasks)
    assert able == {tasks[0]: (), tasks[1]: ("temperature", "conformal")}
    assert warnings == ["moons: density is not calibrated, scored without."]
    assert select_calibrations(replace(request, tasks=["all"]), tasks) == (able, [])
