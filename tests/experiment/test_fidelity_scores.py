"""Distances of stored predictives from that of HMC, computed without training."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import CPU

from bnnbench.experiment.fidelity import fidelity, fidelity_missing
from bnnbench.records import CellRecord, MethodRecord, Outcome, SessionRecord, Status, TaskRecord
from bnnbench.store.store import ResultStore

SESSION = SessionRecord("abc", False, {}, "cpu", "host", 1, "bnnbench run")
POINTS = 3


def mixture(means, scale=1.0, name="test"):
    """The same mixture at every point: one component a mean."""
    mean = np.repeat(np.asarray(means, float)[:, None], POINTS, 1)
    return {f"{name}/mean": mean, f"{name}/scale": np.full_like(mean, scale), f"{name}/y": np.zeros(POINTS)}


HMC = mixture([0.0, 0.0, 1.0, 1.0])  # of mean 0.5 and variance 1.25


def cell(method, label="default", index=0, **changes):
    same = {"task": "toy", "task_version": "1", "method_version": 1, "rule": "fixed", "seed": 0, "budget": "full"}
    return CellRecord(**(same | {"method": method, "config": label, "label": label, "index": index} | changes))


@pytest.fixture
def store(tmp_path):
    with ResultStore(tmp_path / "results.db") as store:
        methods = [MethodRecord(name, 1, "", (), i) for i, name in enumerate(["map", "swag", "hmc"])]
        tasks = [TaskRecord(name, "1", "regression", ("toy",), "", 0) for name in ("toy", "other")]
        store.register(methods, tasks)
        yield store


def record(store, cell, arrays, status=Status.OK, gradients=0):
    outcome = Outcome(cell, status, gradients=gradients, artifacts={} if arrays is None else {"predictive": arrays})
    store.record(store.start_session(SESSION), [outcome])
    return cell.fingerprint


def missing(store, tasks, kind="regression"):
    """What lacks a comparison on these tasks; of the cells of a plan their tasks alone are read."""
    return fidelity_missing(store, [SimpleNamespace(task=SimpleNamespace(name=name, kind=kind)) for name in tasks])


def add_fidelity(store, tasks):
    """How many cells were given a comparison."""
    done = [fidelity(store, piece, CPU) for piece in missing(store, tasks)]
    assert not any(faults for _, faults in done)
    return sum(cells for cells, _ in done)


def scores(store, fingerprint, evaluation="fidelity"):
    frame = store.scores(fingerprint=fingerprint, evaluation=evaluation)
    return dict(zip(frame["metric"], frame["value"], strict=True))


def test_distances_by_hand(store):
    """Of two normals of one width: the gap of their means. Of two widths about one mean: their difference times
    E|Z| = sqrt(2 / pi). Both over the standard deviation of HMC."""
    flat = record(store, cell("hmc"), mixture([2.0] * 4, 0.5))
    moved = record(store, cell("map"), mixture([2.3], 0.5))
    wide = record(store, cell("swag"), mixture([2.0] * 5, 1.0))
    assert add_fidelity(store, ["toy"]) == 3
    got = scores(store, moved)
    assert set(got) == {"w1_to_hmc", "mean_gap", "log_sd_ratio", "log_epistemic_ratio"}
    assert got["w1_to_hmc"] == pytest.approx(0.3 / 0.5, rel=1e-3)
    assert got["mean_gap"] == pytest.approx(0.3 / 0.5)
    assert got["log_sd_ratio"] == pytest.approx(0, abs=1e-9)
    got = scores(store, wide)
    assert got["w1_to_hmc"] == pytest.approx((1.0 - 0.5) * np.sqrt(2 / np.pi) / 0.5, rel=2e-3)
    assert got["mean_gap"] == pytest.approx(0, abs=1e-9)
    assert got["log_sd_ratio"] == pytest.approx(np.log(2))
    assert scores(store, flat)["w1_to_hmc"] == pytest.approx(0, abs=1e-9)


def test_hmc_s_own_entry_compares_the_halves_of_its_chains(store):
    own = record(store, cell("hmc"), HMC)
    assert add_fidelity(store, ["toy"]) == 1
    got = scores(store, own)
    assert got["w1_to_hmc"] == pytest.approx(1, rel=1e-3)
    assert got["mean_gap"] == pytest.approx(1)


def test_the_grid_is_compared_where_both_have_one(store):
    record(store, cell("hmc"), HMC | mixture([0.0, 0.0], 1.0, "grid"))
    both = record(store, cell("map"), mixture([0.5]) | mixture([3.0], 1.0, "grid"))
    without = record(store, cell("swag"), mixture([0.5]))
    assert add_fidelity(store, ["toy"]) == 3
    assert scores(store, both, "fidelity-grid")["mean_gap"] == pytest.approx(3)
    assert store.evaluated([without]) == {without: {"fidelity"}}


def test_hmc_run_later_adds_to_earlier_cells_and_each_is_added_once(store):
    early = record(store, cell("map"), mixture([0.5]))
    assert add_fidelity(store, ["toy"]) == 0
    record(store, cell("hmc"), HMC)
    assert add_fidelity(store, ["other"]) == 0
    assert add_fidelity(store, ["toy"]) == 2
    before = scores(store, early)
    late = record(store, cell("swag"), mixture([0.5]))
    assert [piece.cells for piece in missing(store, ["toy"])] == [(late,)]
    assert add_fidelity(store, ["toy", "other"]) == 1
    assert add_fidelity(store, ["toy", "other"]) == 0
    assert scores(store, early) == before


def test_only_of_the_same_task_and_split(store):
    record(store, cell("hmc"), HMC)
    others = [{"index": 1}, {"task": "other"}]
    apart = [record(store, cell("map", **change), mixture([0.5])) for change in others]
    assert add_fidelity(store, ["toy", "other"]) == 1
    assert store.evaluated(apart) == {fingerprint: set() for fingerprint in apart}


def test_the_gold_standard_is_the_default_configuration_of_the_first_seed(store):
    record(store, cell("hmc", "samples=3"), mixture([9.0] * 4))
    record(store, cell("hmc", seed=1), mixture([5.0] * 4))
    first = record(store, cell("hmc"), mixture([0.0] * 4))
    one = record(store, cell("map"), mixture([1.0]))
    assert add_fidelity(store, ["toy"]) == 4
    assert scores(store, one)["mean_gap"] == pytest.approx(1)
    assert scores(store, first)["mean_gap"] == pytest.approx(0, abs=1e-9)


def test_the_best_gold_standard_serves_all_budgets(store):
    """One that its diagnostics do not flag before one of more gradients; among equals the one of more gradients."""
    quick = record(store, cell("map", budget="quick"), mixture([1.0]))
    flagged = cell("hmc")
    record(store, flagged, mixture([9.0] * 4), Status.UNCONVERGED, gradients=100)
    record(store, cell("hmc", budget="smoke"), mixture([5.0] * 4), gradients=1)
    record(store, cell("hmc", budget="quick"), mixture([0.0] * 4), gradients=10)
    assert add_fidelity(store, ["toy"]) == 4
    assert scores(store, quick)["mean_gap"] == pytest.approx(1)
    assert scores(store, flagged.fingerprint)["mean_gap"] == pytest.approx(9)


def test_unconverged_cells_take_part_and_unscored_ones_do_not(store):
    record(store, cell("hmc"), HMC, Status.UNCONVERGED)
    lost = record(store, cell("map"), None, Status.DIVERGED)
    there = record(store, cell("swag"), mixture([0.5]))
    assert add_fidelity(store, ["toy"]) == 2
    assert scores(store, there)
    assert store.evaluated([lost]) == {lost: set()}


def test_nothing_where_the_files_are_gone(store):
    record(store, cell("hmc"), HMC)
    record(store, cell("map"), mixture([0.5]))
    shutil.rmtree(store.root)
    assert add_fidelity(store, ["toy"]) == 0


def test_class_probabilities(store):
    """Half the sum of the differences of 0.3 and 0.6, of 0.7 and 0.4, at every point; the noise floor of equal halves
    is zero."""
    gold, own = ({"test/log_probs": np.log(np.full((4, POINTS, 2), [p, 1 - p]))} for p in (0.3, 0.6))
    first, one = record(store, cell("hmc"), gold), record(store, cell("map"), own)
    assert sum(fidelity(store, piece, CPU)[0] for piece in missing(store, ["toy"], "classification")) == 2
    assert scores(store, one)["tv_to_hmc"] == pytest.approx(0.3)
    assert scores(store, one)["agreement_with_hmc"] == 0
    assert scores(store, first)["tv_to_hmc"] == pytest.approx(0, abs=1e-9)
    assert scores(store, first)["agreement_with_hmc"] == 1
