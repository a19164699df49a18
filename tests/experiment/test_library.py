"""Certified posteriors as files: there and back, and what brings them into a database."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import CPU

import bnnbench
from bnnbench.engine.cell import Cell, default
from bnnbench.errors import UserError
from bnnbench.experiment import library
from bnnbench.experiment.definitions import definitions
from bnnbench.experiment.fidelity import fidelity, fidelity_missing
from bnnbench.experiment.library import bring, export_certified, shipped_missing
from bnnbench.methods import METHODS
from bnnbench.records import EvaluationRecord, Outcome, Score, SessionRecord, Status
from bnnbench.store.cell_file import identity, read_cell
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS

SESSION = SessionRecord("abc", False, {"torch": "2.14"}, "cpu", "host", 1, "bnnbench run --methods hmc")
TASK = TASKS.get("fidelity-toy-homoscedastic")
DRAWS, POINTS = 1000, 4


def cell(method="hmc", task=TASK, seed=0):
    return Cell(task, default(METHODS.get(method), task), task.rules[0], 0, seed, task.budget("full"))


def arrays(shift=0.0):
    mean = np.arange(DRAWS)[:, None] / DRAWS + np.zeros(POINTS) + shift
    return {"test/mean": mean, "test/scale": np.ones_like(mean), "test/y": np.zeros(POINTS)}


def trained(own, shift=0.0, status=Status.OK):
    scores = (Score("log_likelihood", -1.25, 0.5), Score("rhat", 1.003, None))
    found = (
        EvaluationRecord("test", POINTS, scores),
        EvaluationRecord("certificate", 8, (Score("certified", 1.0, None),)),
        EvaluationRecord("train", 50, (Score("log_likelihood", -1.0, 0.1),)),
    )
    return Outcome(
        own.record, status, steps=100, gradients=800, evaluations=found, artifacts={"predictive": arrays(shift)}
    )


def fill(path, *outcomes):
    store = ResultStore(path)
    store.register(*definitions([cell(), cell("map")]))
    store.record(store.start_session(SESSION), outcomes)
    return store


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """The certified cell as the only file that comes with the package."""
    with fill(tmp_path / "gold.db", trained(cell())) as store:
        (path,) = export_certified(store, tmp_path / "posteriors")
    monkeypatch.setattr(library, "FOLDER", tmp_path / "posteriors")
    return path


def test_a_file_holds_the_cell(shipped):
    assert shipped.name == "fidelity-toy-homoscedastic.npz"
    assert identity(shipped) == cell().record
    outcome, session = read_cell(shipped)
    assert session == SESSION
    assert (outcome.status, outcome.steps, outcome.gradients) == (Status.OK, 100, 800)
    found = {e.name: e for e in outcome.evaluations}
    assert set(found) == {"test", "certificate"}  # the training rows are of no use elsewhere
    assert found["test"].n == POINTS
    assert set(found["test"].scores) == {Score("log_likelihood", -1.25, 0.5), Score("rhat", 1.003, None)}
    mean = outcome.artifacts["predictive"]["test/mean"]
    assert mean.shape == (200, POINTS)  # every fifth draw of each chain
    np.testing.assert_allclose(mean[:, 0], np.arange(4, DRAWS, 5) / DRAWS, rtol=2**-14)


def test_a_damaged_file_is_named(shipped):
    shipped.write_bytes(shipped.read_bytes()[:1000])
    for read in (identity, read_cell):
        with pytest.raises(UserError, match=r"homoscedastic.npz cannot be read \(.*\); install bnnbench again"):
            read(shipped)


def test_classes_take_half_the_digits(tmp_path):
    log_probs = np.log(np.full((300, 5, 2), 0.3))
    own = {"test/log_probs": log_probs, "test/log_normaliser": log_probs[..., 0], "test/y": np.zeros(5)}
    with fill(tmp_path / "gold.db", replace(trained(cell()), artifacts={"predictive": own})) as store:
        (path,) = export_certified(store, tmp_path)
    with np.load(path) as file:
        assert file["test/log_probs"].dtype == np.float16
        assert set(file.files) == {"about", "test/log_probs", "test/y"}
    got = read_cell(path)[0].artifacts["predictive"]["test/log_probs"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, log_probs[:200], rtol=1e-3)


def test_another_method_is_compared_without_running_hmc(tmp_path, shipped):
    """Of two normal mixtures that differ by a shift: the shift over the standard deviation of both."""
    own = cell("map")
    with fill(tmp_path / "mine.db", trained(own, shift=0.5)) as store:
        (piece,) = shipped_missing(store, [own])
        assert str(piece) == "fidelity-toy-homoscedastic fixed-0: the certified posterior that comes with bnnbench"
        assert bring(store, piece, CPU) == (1, [])
        assert shipped_missing(store, [own]) == []
        for comparison in fidelity_missing(store, [own]):
            fidelity(store, comparison, CPU)
        scores = store.scores(fingerprint=own.record.fingerprint, evaluation="fidelity")
        got = dict(zip(scores["metric"], scores["value"], strict=True))
        assert got["w1_to_hmc"] == pytest.approx(0.5 / np.sqrt(1 + 1 / 12), rel=5e-3)
        sessions = store.sessions()
        assert list(sessions["command"]) == [SESSION.command] * 2


def test_a_database_that_keeps_no_arrays_is_compared_with_those_of_the_package(tmp_path, shipped):
    """As the reference results are published."""
    own, db = cell("map"), tmp_path / "mine.db"
    fill(db, trained(cell())).close()
    bnnbench.forget(db, artifacts=True)
    with ResultStore(db) as store:
        store.record(store.start_session(SESSION), [trained(own, shift=0.5)])
        (comparison,) = fidelity_missing(store, [own])
        assert comparison.cells == (own.record.fingerprint,)
        assert fidelity(store, comparison, CPU) == (1, [])
        assert fidelity_missing(store, [own]) == []
        scores = store.scores(fingerprint=own.record.fingerprint, evaluation="fidelity")
    got = dict(zip(scores["metric"], scores["value"], strict=True))
    assert got["w1_to_hmc"] == pytest.approx(0.5 / np.sqrt(1 + 1 / 12), rel=5e-3)


@pytest.mark.parametrize("changed", ["task", "method"])
def test_other_versions_are_left_alone(tmp_path, shipped, changed, monkeypatch):
    own = cell("map")
    if changed == "task":
        own = cell("map", replace(TASK, version=TASK.version + 1))
    else:
        monkeypatch.setattr(METHODS.get("hmc"), "version", 99)
    with fill(tmp_path / "mine.db") as store:
        assert shipped_missing(store, [own]) == []


def test_one_s_own_run_is_kept(tmp_path, shipped):
    with fill(tmp_path / "mine.db", trained(cell())) as store:
        assert shipped_missing(store, [cell("map")]) == []


@pytest.mark.parametrize("status", [Status.UNCONVERGED, None])
def test_without_a_certificate_there_is_nothing_to_write(tmp_path, status):
    with (
        fill(tmp_path / "x.db", *([] if status is None else [trained(cell(), status=status)])) as store,
        pytest.raises(UserError, match="holds no certified run of hmc; make one by bnnbench run --methods hmc"),
    ):
        export_certified(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_comes_with_the_package_is_of_the_versions_that_are_registered():
    """Else it would be left alone without a word."""
    found = list(library.FOLDER.glob("*.npz"))
    for path in found:
        own = cell(task=TASKS.get(path.stem))
        assert identity(path) == own.record, path.name
        outcome, _ = read_cell(path)
        certificate = next(e for e in outcome.evaluations if e.name == "certificate")
        assert {s.metric: s.value for s in certificate.scores}["certified"] == 1
    assert sum(path.stat().st_size for path in found) < 3e6
