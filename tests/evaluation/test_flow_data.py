"""What is stored of a flow for the figures, against the loaded posterior and against itself."""

import numpy as np
import pytest

import bnnbench
from bnnbench.evaluation.flow_data import LEAST
from bnnbench.store.store import ResultStore


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Series by task and name, and the posterior, by task."""
    db = tmp_path_factory.mktemp("flows") / "r.db"
    bnnbench.run("flow-gaussian", "moons,energy-1", budget="smoke", db=db, device="cpu")
    names = ("flow_samples", "flow_data", "flow_density")
    found = {"moons": {}, "energy-1": {}}
    with ResultStore(db, read_only=True) as store:
        for name in names:
            for cell, _, series in store.curves(name):
                found[cell["task"]][name] = series
    for fingerprint, task in bnnbench.scores(db).groupby("fingerprint")["task"].first().items():
        found[task]["posterior"] = bnnbench.load(db, fingerprint)
    return found


def straight(z, x):
    """The line of x against z, on which they lie."""
    line = np.polynomial.Polynomial.fit(z, x, 1)
    assert np.allclose(line(z), x, atol=5e-3)
    return line


def points(series, name):
    return np.stack([series[f"{name}0"], series[f"{name}1"]], axis=1)


def test_data_have_the_noise_that_would_draw_them(stored):
    draws, data = stored["moons"]["flow_samples"], stored["moons"]["flow_data"]
    for i in (0, 1):
        line = straight(draws[f"z{i}"], draws[f"x{i}"])
        assert np.allclose(line(data[f"z{i}"]), data[f"x{i}"], atol=5e-3)
    assert "flow_data" not in stored["energy-1"], "it has none"


@pytest.mark.parametrize("task", ["moons", "energy-1"])
def test_densities_are_the_posterior_s(stored, task):
    series = stored[task]["flow_density"]
    log_q = stored[task]["posterior"].predict(points(series, "x"))["log_density"]
    assert np.allclose(series["log_q"], np.maximum(log_q, LEAST), atol=0.02)
