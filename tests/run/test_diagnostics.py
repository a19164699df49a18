"""What samplers report of themselves, and what becomes of a cell that fails its own diagnostics."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from helpers import BUDGET, CPU, make_cells, make_pack, outcomes_of
from torch.testing import assert_close

from bnnbench.methods.sgld import SGLD
from bnnbench.run.attempt import Settings
from bnnbench.run.diagnostics import as_mapping, draws_kept, sampler_record
from bnnbench.run.progress import RunProgress
from bnnbench.run.train import train
from bnnbench.store.records import EvaluationRecord, Score, Status

EIGHT = replace(BUDGET, steps=80, checks=8)


@dataclass(frozen=True)
class Ramp(SGLD):
    """SGLD that calls the number of its update a step size; draws after updates 51, 61, 71 and 80 of 80."""

    def update(self, key, state, problem):
        state, info = super().update(key, state, problem)
        return state, info | {"step_size": problem.t + 1, "unheard_of": 2 * problem.t}

    def schedule(self, steps):
        return (50, 60, 70, 79)


def run(method, **budget):
    cells = make_cells(method, budget=replace(EIGHT, **budget))
    return outcomes_of(cells, Settings(CPU), RunProgress(None, 1, 1, quiet=True))


def test_means_are_over_the_updates_in_which_draws_were_kept():
    """Looks at the curves are after 10, 20 ... 80 updates: those after the 51st tell of updates 51 to 80."""
    fit = train(make_pack(make_cells(Ramp(), budget=EIGHT)), False)
    for r in range(3):
        record = sampler_record(fit, r)
        scores = {score.metric: score.value for score in record.scores}
        assert (record.name, record.n) == ("sampler", 4)
        assert scores["step_size"] == pytest.approx(np.mean(range(51, 81)))
        assert scores["draws_kept"] == 4
        during = fit.curves["temperature_configurational"][r][5:]
        assert scores["temperature_configurational"] == pytest.approx(during.mean())
        assert "unheard_of" not in scores


def test_draws_are_counted_over_all_chains():
    @dataclass(frozen=True)
    class Three(Ramp):
        @property
        def chains(self):
            return 3

    cells = make_cells(Ramp(), budget=EIGHT)
    fit = train(make_pack(cells), False)
    assert draws_kept(fit) == 4
    fit.pack = replace(fit.pack, method=Three())
    assert draws_kept(fit) == 12


@pytest.mark.parametrize("method", ["constant", "map", "swag", "ensemble-deep"])
def test_methods_without_chains_report_no_sampler(method):
    fit = train(make_pack(make_cells(method, budget=replace(EIGHT, steps=8, checks=2))), False)
    assert sampler_record(fit, 0) is None
    assert "sampler" not in [e.name for e in run(method, steps=8, checks=2)[0].evaluations]


def test_the_training_curve_holds_all_that_an_update_reports():
    fit = train(make_pack(make_cells(Ramp(), budget=EIGHT)), False)
    assert_close(torch.tensor(fit.curves["step_size"]), (torch.arange(8) * 10 + 5.5).double().expand(3, 8))
    assert_close(torch.tensor(fit.curves["unheard_of"]), (torch.arange(8) * 20 + 9.0).double().expand(3, 8))
    outcome = run(Ramp())[1]
    curve = outcome.curves["training"]
    assert {"step", "loss", "validation", "step_size", "unheard_of"} <= set(curve)
    assert curve["step"].tolist() == list(range(10, 81, 10))
    assert {len(column) for column in curve.values()} == {8}
    np.testing.assert_allclose(curve["step_size"], np.arange(8) * 10 + 5.5)


@dataclass(frozen=True)
class Doubtful(Ramp):
    """In doubt on the second split alone, by what it is told."""

    def doubts(self, scores):
        TOLD.append(scores)
        return "its chains disagree" if len(TOLD) == 2 else ""


TOLD = []


def test_a_cell_in_doubt_is_scored_and_says_why():
    TOLD.clear()
    outcomes = run(Doubtful())
    assert [o.status for o in outcomes] == [Status.OK, Status.UNCONVERGED, Status.OK]
    assert [o.message for o in outcomes] == ["", "its chains disagree", ""]
    assert outcomes[1].artifacts.keys() == {"posterior", "predictive"}
    assert [e.name for e in outcomes[1].evaluations] == [e.name for e in outcomes[0].evaluations]
    assert {"draws_kept", "step_size", "log_likelihood", "rmse"} <= set(TOLD[1])


def test_scores_by_metric_of_the_evaluations_named():
    records = (
        EvaluationRecord("test", 5, (Score("rmse", 1.0, None),)),
        EvaluationRecord("train", 5, (Score("rmse", 2.0, None),)),
        EvaluationRecord("sampler", 5, (Score("divergent", 0.5, None),)),
    )
    assert as_mapping(records, "sampler", "test") == {"rmse": 1.0, "divergent": 0.5}
