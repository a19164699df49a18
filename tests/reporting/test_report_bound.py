"""The figure of the bound: whose it shows, and the longer training beside it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from figure_data import drawn, panel
from report_data import METHODS, cell, outcome
from suite_data import suite_store

from bnnbench.reporting.figures.style import styles
from bnnbench.reporting.figures.training import THIN, Quantity, training_figure

STEPS = np.arange(100, 10_001, 100)


def trained(method, task, loss, split=0, steps=STEPS, parts=True, **changes):
    own = {"step": steps, "loss": loss} | ({"nll": loss / 2, "kl": loss / 2} if parts else {})
    made = outcome(cell(task, method, index=split, **changes), -1.0)
    return replace(made, curves={"training": {name: np.asarray(values, float) for name, values in own.items()}})


def test_bounds_of_variational_methods_alone_with_longer_training_thin(tmp_path):
    falling = np.linspace(4.0, 1.0, 100)
    rows = [
        trained("bbp-local", "housing", falling),
        trained("bbp-local", "housing", falling + 1, split=1),
        trained("bbp-local", "housing", falling - 1, steps=4 * STEPS, budget="long"),
        trained("bbp-local", "housing", falling, config={"temperature": 0.1}),
        trained("bbp-flipout", "yacht", falling),
        trained("map", "housing", falling, parts=False),
    ]
    with suite_store(tmp_path / "b.db", rows) as store:
        figure = drawn(store)["uci-10fold-training-bound"]
    housing, yacht = panel(figure, "housing"), panel(figure, "yacht")
    own, longer = sorted(housing.lines, key=lambda line: len(line.get_label()), reverse=True)
    assert (own.get_label(), own.get_xdata()[-1]) == ("bbp-local", 10_000)
    np.testing.assert_allclose(own.get_ydata(), falling + 0.5)
    assert longer.get_xdata()[-1] == 40_000
    np.testing.assert_allclose(longer.get_ydata(), falling - 1)
    assert longer.get_linewidth() == THIN < own.get_linewidth()
    assert longer.get_linestyle() == own.get_linestyle()
    assert [line.get_label() for line in yacht.lines] == ["bbp-flipout"]
    assert housing.get_xscale() == "log"


def test_no_figure_without_a_bound(tmp_path):
    with suite_store(tmp_path / "b.db", [trained("map", "housing", np.ones(100), parts=False)]) as store:
        assert "uci-10fold-training-bound" not in drawn(store)


@pytest.mark.parametrize("unset", [0.0, 0.5])
def test_the_first_steps_may_leave_the_panel(unset):
    """While the KL's weight rises, the bound says nothing of the end."""
    methods = pd.DataFrame([{"name": m.name, "order": m.order, "tags": ()} for m in METHODS])
    loss = np.where(STEPS < 5_000, 50.0, 1.0)
    curves = {("map", "housing"): [{"step": STEPS.astype(float), "loss": loss}]}
    quantity = Quantity("loss", "", "", unset)
    figure = training_figure(quantity, curves, ["map"], ["housing"], styles(methods, ["map"]))
    assert (panel(figure, "housing").get_ylim()[1] > 50) == (unset == 0.0)
