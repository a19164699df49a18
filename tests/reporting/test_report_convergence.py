"""Is this converged? The sentence of each row, from attempts and curves whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from report_data import cell, outcome
from suite_data import suite_store

from bnnbench.records import EvaluationRecord, Score, Status
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.convergence import convergence_tables

STEPS = np.arange(1, 101)


def trained(method, loss, task="housing", budget="full", **changes):
    made = outcome(cell(task, method, budget=budget), -1.0)
    return replace(made, steps=10_000, curves={"training": {"step": STEPS, "loss": np.asarray(loss, float)}}, **changes)


def verdicts(tmp_path, outcomes):
    with suite_store(tmp_path / "c.db", outcomes) as store:
        selection = select(store)
        (section,) = selection.sections
        (table,) = convergence_tables(selection, section)
    return {row["method"]: (row["converged"], row["why"]) for row in table.numbers.to_dict("records")}


def test_each_kind_is_judged_by_what_it_leaves(tmp_path):
    sampler = EvaluationRecord("sampler", 10, (Score("draws_kept", 10, None),))
    flat, falling = np.ones(100), np.linspace(2.0, 1.0, 100)
    cold = trained("sgld", flat, "concrete", status=Status.UNCONVERGED, message="it is cold")
    rows = [
        trained("map", falling, step_kept=2_000),
        trained("map", falling, "concrete", step_kept=4_000),
        trained("bbp-gaussian", flat),
        trained("bbp-gaussian", falling, "concrete"),
        trained("swag", flat),
        *(replace(own, evaluations=(*own.evaluations, sampler)) for own in (trained("sgld", flat), cold)),
        replace(trained("sghmc", flat), evaluations=(*trained("sghmc", flat).evaluations, sampler)),
        outcome(cell("housing", "constant"), -3.0),
    ]
    found = verdicts(tmp_path, rows)
    assert found["map"] == ("stopped", "early stopping kept the state after 30% of the steps")
    assert found["bbp-gaussian"][0] == "no"
    falls = float(falling[60:80].mean() - falling[80:].mean())
    assert f"falls by {falls:.3g} from the fourth fifth of the steps to the last (concrete)" in found["bbp-gaussian"][1]
    assert found["swag"][0] == "yes"
    assert found["sgld"] == ("no", "1 of 2 cells flagged: it is cold")
    assert found["sghmc"] == ("yes", "0 of 1 cells flagged")
    assert "constant" not in found


@pytest.mark.parametrize(("longer", "verdict", "gain"), [(0.995, "yes", "0.00500"), (0.9, "no", "0.100")])
def test_a_longer_run_is_the_better_judge(tmp_path, longer, verdict, gain):
    """The objective that a schedule still lowers at its end may have arrived all the same."""
    rows = [
        trained("bbp-gaussian", np.where(STEPS > 95, 1.0, 1.5)),
        trained("bbp-gaussian", np.full(100, longer), budget="long"),
    ]
    why = f"the objective falls by {gain} with four times the gradients (housing)"
    assert verdicts(tmp_path, rows)["bbp-gaussian"] == (verdict, why)
