"""What samplers report of themselves, and what becomes of a cell that fails its own diagnostics."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from helpers import BUDGET, CPU, make_cells, make_pack, outcomes_of
from scipy import stats
from torch.testing import assert_close

from bnnbench.checks.checks import LINEAR
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import stack
from bnnbench.engine.train import train
from bnnbench.evaluation.diagnostics import as_mapping, checks_with_draws, draws_kept, interval, sampler_record
from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.progress import RunProgress
from bnnbench.methods import METHODS
from bnnbench.methods.csgmcmc import CyclicalSGMCMC
from bnnbench.methods.diagnose import diagnose_draws
from bnnbench.methods.sgld import SGLD
from bnnbench.records import EvaluationRecord, Score, Status

EIGHT = replace(BUDGET, steps=80, validation_checks=8)


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
    """Validation checks are after 10, 20 ... 80 updates: those after the 51st tell of updates 51 to 80."""
    fit, history = train(make_pack(make_cells(Ramp(), budget=EIGHT)), False)
    for r in range(3):
        record = sampler_record(fit, history, r)
        scores = {score.metric: score.value for score in record.scores}
        assert (record.name, record.n) == ("sampler", 4)
        assert scores["step_size"] == pytest.approx(np.mean(range(51, 81)))
        assert scores["draws_kept"] == 4
        during = history.curves["temperature_configurational"][r][5:]
        assert scores["temperature_configurational"] == pytest.approx(during.mean())
        assert "unheard_of" not in scores


def test_draws_are_counted_over_all_chains():
    @dataclass(frozen=True)
    class Three(Ramp):
        num_chains = 3

    cells = make_cells(Ramp(), budget=EIGHT)
    fit, _ = train(make_pack(cells), False)
    assert draws_kept(fit) == 4
    assert draws_kept(replace(fit, pack=replace(fit.pack, method=Three()))) == 12


@pytest.mark.parametrize("method", ["constant", "map", "ensemble-deep"])
def test_methods_without_draws_report_no_sampler(method):
    fit, history = train(make_pack(make_cells(method, budget=replace(EIGHT, steps=8, validation_checks=2))), False)
    assert sampler_record(fit, history, 0) is None
    assert "sampler" not in [e.name for e in run(method, steps=8, validation_checks=2)[0].evaluations]


def test_iterates_of_swag_are_draws_too():
    outcome = run("swag", steps=80, validation_checks=8)[0]
    (sampler,) = [e for e in outcome.evaluations if e.name == "sampler"]
    scores = {score.metric: score.value for score in sampler.scores}
    assert scores["draws_kept"] == 20  # all iterates of the last quarter
    assert scores["draws_exploded"] == 0
    assert scores["step_size"] == pytest.approx(3e-3)


def test_the_training_curve_holds_all_that_an_update_reports():
    _, history = train(make_pack(make_cells(Ramp(), budget=EIGHT)), False)
    assert_close(torch.tensor(history.curves["step_size"]), (torch.arange(8) * 10 + 5.5).double().expand(3, 8))
    assert_close(torch.tensor(history.curves["unheard_of"]), (torch.arange(8) * 20 + 9.0).double().expand(3, 8))
    outcome = run(Ramp())[1]
    curve = outcome.curves["training"]
    assert {"step", "loss", "validation", "step_size", "unheard_of"} <= set(curve)
    assert curve["step"].tolist() == list(range(10, 81, 10))
    assert {len(column) for column in curve.values()} == {8}
    np.testing.assert_allclose(curve["step_size"], np.arange(8) * 10 + 5.5)


@dataclass(frozen=True)
class Flagged(Ramp):
    """Flags itself on the second split alone, by what it is told."""

    def diagnose(self, scores):
        TOLD.append(scores)
        return "its chains disagree" if len(TOLD) == 2 else ""


TOLD = []


def test_a_flagged_cell_is_scored_and_says_why():
    TOLD.clear()
    outcomes = run(Flagged())
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


# The interval of the temperature.


def test_interval_is_student_s_of_batch_means():
    """Against scipy; 2,000 intervals of 48 normals hold the mean as often as they claim, 99 %, within 4 sigma."""
    values = np.random.default_rng(0).normal(3.0, 2.0, (2000, 48))
    ends = np.array([interval(row) for row in values])
    exact = stats.ttest_1samp(values.reshape(2000, 8, 6).mean(2), 0.0, axis=1).confidence_interval(0.99)
    np.testing.assert_allclose(ends, np.stack([exact.low, exact.high], 1))
    assert abs(((ends[:, 0] < 3) & (ends[:, 1] > 3)).mean() - 0.99) < 4 * math.sqrt(0.01 * 0.99 / 2000)


def test_interval_of_an_autocorrelated_series_is_wider():
    """x_i = 0.6 x_{i-1} + e: one effective sample is (1 + 0.6) / (1 - 0.6) = 4 values. Intervals for independent values
    would hold the mean in 80 % of 1,000 cases; batches of 12 miss a little of the correlation at their ends."""
    rng, x = np.random.default_rng(1), np.zeros((1000, 96))
    x[:, 0] = rng.normal(size=1000) / 0.8
    for i in range(1, 96):
        x[:, i] = 0.6 * x[:, i - 1] + rng.normal(size=1000)
    ends = np.array([interval(row) for row in x])
    assert 0.96 < ((ends[:, 0] < 0) & (ends[:, 1] > 0)).mean() < 1


def test_interval_needs_four_finite_values():
    assert np.isnan(interval(np.array([1.0, 2.0, 3.0]))).all()
    assert np.isnan(interval(np.array([1.0, 2.0, 3.0, np.inf, 5.0]))).all()
    assert interval(np.ones(6)) == (1.0, 1.0)


def test_validation_checks_that_tell_of_draws():
    """A check after k updates tells of those since the check before it; draws are taken after update t + 1."""
    found = checks_with_draws(np.array([10, 20, 30, 40, 45]), [0, 9, 10, 29, 40])
    assert found.tolist() == [True, True, True, False, True]
    cycles = checks_with_draws(np.arange(50, 3001, 50), CyclicalSGMCMC().schedule(3000))
    expected = [750 * c + offset for c in range(1, 5) for offset in (-100, -50, 0)]
    assert (np.arange(50, 3001, 50)[cycles]).tolist() == expected


# What is made of it.

HEALTHY = {"temperature_low": 0.8, "temperature_high": 1.2, "draws_exploded": 0.0}


@pytest.mark.parametrize("name", ["sgld", "psgld", "sghmc", "csgmcmc", "hmc", "swag"])
def test_every_method_with_draws_flags_what_has_exploded(name):
    method = METHODS.get(name)()
    assert method.diagnose(HEALTHY) == method.diagnose({}) == ""
    assert "4% of the draws have exploded" in method.diagnose(HEALTHY | {"draws_exploded": 0.04})
    hot = method.diagnose(HEALTHY | {"temperature_low": 2.1, "temperature_high": 7.0})
    assert "temperature is 2.1 to 7, not 1: the step is too large" in hot
    if method.step_field:
        assert f"--set {name}.{method.step_field}=" in hot


def test_flags_are_of_the_whole_interval_and_of_the_temperature_meant():
    def diagnosed(low, high, temperature):
        return diagnose_draws({"temperature_low": low, "temperature_high": high}, temperature, "do less")

    assert diagnosed(0.4, 0.6, 1.0) == diagnosed(1.9, 30.0, 1.0) == diagnosed(-1e9, 1e9, 1.0) == ""
    assert "0.1 to 0.49, not 1: the chain has not warmed up" in diagnosed(0.1, 0.49, 1.0)
    assert "too large; do less" in diagnosed(2.01, 2.1, 1.0)
    assert diagnosed(0.1, 0.49, 0.25) == diagnosed(0.02, 0.09, 0.1) == ""
    assert diagnosed(0.6, 1.4, 0.25) != ""
    assert SGLD(temperature=0.25).diagnose(HEALTHY) != ""


def test_the_advice_is_a_third_of_the_step():
    assert SGLD(lr=0.03).diagnose({"draws_exploded": 0.5}).endswith("lower sgld.lr, as by --set sgld.lr=0.01")


@dataclass(frozen=True)
class Cold(SGLD):
    """A tenth of the noise."""

    def scaled_temperature(self, problem):
        return 0.01 * super().scaled_temperature(problem)


@dataclass(frozen=True)
class Thrown(SGLD):
    """A chain that is thrown out of the valley at update 60, so far that it never comes back."""

    def update(self, key, state, problem):
        new, info = super().update(key, state, problem)
        return {name: torch.where(problem.t == 59, 1e4 * w, w) for name, w in new.items()}, info


def test_a_thrown_chain_is_unconverged_and_says_so():
    outcomes = run(Thrown(lr=1e-4))
    assert [o.status for o in outcomes] == [Status.UNCONVERGED] * 3
    assert all("of the draws have exploded" in o.message and "--set sgld.lr=3e-05" in o.message for o in outcomes)
    assert all(o.evaluations for o in outcomes)  # it is scored all the same


def test_temperatures_on_a_conjugate_problem():
    """40 seeds of a linear regression: no healthy chain is accused, and of the cold ones hardly one escapes."""

    def accused(method):
        budget = replace(BUDGET, steps=1000, validation_checks=40)
        fit, history = train(stack([Cell(LINEAR, method, "known", 0, seed, budget) for seed in range(40)], CPU), False)
        return sum(
            "not warmed up" in method.diagnose(as_mapping((sampler_record(fit, history, r),), "sampler"))
            for r in range(40)
        )

    assert accused(SGLD(lr=0.1)) == 0
    assert accused(Cold(lr=0.1)) >= 36
