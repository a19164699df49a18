"""What training keeps and counts."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import BUDGET, CPU, FIT, MADE_OF_OTHERS, PACKED, make_cells, make_pack, normal, outcomes_of, small
from torch.testing import assert_close

from bnnbench.engine.pack import padded
from bnnbench.engine.predict import posterior_of, predict
from bnnbench.engine.train import OutOfTime, train
from bnnbench.experiment import attempt
from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.progress import RunProgress
from bnnbench.methods import METHODS
from bnnbench.methods.map import MAP
from bnnbench.methods.sgld import SGLD
from bnnbench.model import Problem
from bnnbench.records import Status

SILENT = RunProgress(None, 1, 1, quiet=True)


def run_pack(cells, **settings):
    return outcomes_of(cells, Settings(CPU, **settings), SILENT)


def test_early_stopping_keeps_the_state_best_on_the_validation_rows():
    """Brute force: the states after 20, 40, ... 200 updates come from shorter loops over the same keys."""
    budget = replace(BUDGET, steps=200, validation_checks=10)
    cells = make_cells(MAP(0.1), budget=budget)
    pack, scores = make_pack(cells), []

    class Spy(MAP):
        def schedule(self, steps):
            return range(19, steps, 20)

        def collect(self, state):
            return state.params

    fit, history = train(make_pack([replace(c, method=Spy(0.1)) for c in cells]), False)
    for i in range(10):
        params = {name: value[:, i] for name, value in fit.draws.items()}
        posterior, own = posterior_of(pack, fit.state._replace(params=params), None), []
        for r, split in enumerate(pack.splits):
            x = torch.tensor(pack.data.x[split.validation])
            mixture = predict(pack, posterior, pack.keys, x.expand(3, *x.shape), 1)
            component = torch.distributions.Normal(mixture.mean[r, 0], mixture.scale[r, 0])
            own.append(component.log_prob(torch.tensor(pack.data.y[split.validation])).mean())
        scores.append(torch.stack(own))
    scores = torch.stack(scores)
    best = scores.argmax(0)
    assert history.step_kept.tolist() == (20 * (best + 1)).tolist()
    assert (best < 9).any(), "the problem is to be one that overfits"
    for name, value in fit.state.params.items():
        assert_close(value, torch.stack([fit.draws[name][r, best[r]] for r in range(3)]))
    assert_close(torch.tensor(history.curves["validation"]), scores.T)
    assert history.curves["step"].tolist() == list(range(20, 201, 20))


def test_without_early_stopping_the_last_state_stays():
    _, history = train(make_pack(make_cells(MAP(early_stopping=False))), False)
    assert history.step_kept is None
    with_draws, _ = train(make_pack(make_cells(SGLD(samples=4))), False)
    for name, value in with_draws.state.items():
        assert_close(with_draws.draws[name][:, -1], value)


def test_draws_are_the_states_of_the_schedule():
    """The k-th of many draws is the last state of a run that ends there (no schedule of learning rates in between)."""
    cells = make_cells(SGLD(final_lr_fraction=0.999999, samples=5, burn_in=0.0))
    fit, _ = train(make_pack(cells), False)
    assert list(cells[0].method.schedule(100)) == [19, 39, 59, 79, 99]
    shorter, _ = train(make_pack([replace(c, budget=replace(BUDGET, steps=40)) for c in cells]), False)
    for name, value in shorter.state.items():
        assert fit.draws[name].shape[:2] == (3, 5)
        assert_close(fit.draws[name][:, 1], value, rtol=1e-4, atol=1e-6)


def test_what_optimises_a_point_is_stopped_early():
    """What is left goes down to the optimum of its bound, is sampled, or exact."""
    trained = [cls() for cls in PACKED if cls().num_networks > 0 and "references" not in cls.tags]
    rest = [method for method in trained if not method.early_stopping and not method.num_chains]
    assert [method.name for method in rest if "variational" not in method.tags] == ["svgd"]


@pytest.mark.parametrize(
    "method",
    [pytest.param(m.name, marks=pytest.mark.slow if m.name.startswith(MADE_OF_OTHERS) else []) for m in PACKED],
)
def test_every_network_gets_the_same_number_of_gradients(method):
    """Only a reference may take more, and only references and chains may flag themselves after so few."""
    outcomes = run_pack(make_cells(method))
    reference = "references" in METHODS.get(method).tags
    assert METHODS.get(method)().steps_multiplier == 1 or reference
    assert [o.gradients for o in outcomes] == [100 * small(method).num_networks] * 3
    assert {o.pack_size for o in outcomes} == {3}
    fine = {Status.OK, Status.UNCONVERGED} if reference or small(method).num_chains else {Status.OK}
    assert all(o.status in fine and not o.compiled and o.wall_s > 0 for o in outcomes)


@pytest.mark.parametrize(
    "method", [m.name for m in PACKED if m().num_networks and not {"references", "flow"} & set(m.tags)]
)
def test_an_update_draws_one_minibatch(method, monkeypatch):
    """So that the gradients stored are those that were taken, at the batch size of the task."""
    drawn, original = [], Problem.minibatch

    def counted(problem, key):
        drawn.append(original(problem, key))
        return drawn[-1]

    monkeypatch.setattr(Problem, "minibatch", counted)
    train(make_pack(make_cells(method, folds=[0], budget=replace(BUDGET, steps=7, validation_checks=1))), False)
    rows = 16 if method == "ensemble-adversarial" else 32  # and as many adversarial twins
    assert [len(batch.y) for batch in drawn] == [rows] * 7


def test_validation_rows_of_unequal_number_are_padded_and_masked():
    index, mask = padded([np.array([4, 5, 6]), np.array([9])], CPU)
    assert index.tolist() == [[4, 5, 6], [9, 9, 9]]
    assert mask.tolist() == [[True] * 3, [True, False, False]]


def test_a_pack_that_raises_is_repeated_cell_by_cell(monkeypatch):
    packed, sizes, fit = run_pack(make_cells("map")), [], attempt.fit

    def fragile(method, pack, *arguments):
        sizes.append(len(pack.cells))
        if len(pack.cells) > 1 or pack.cells[0].index == 1:
            raise ArithmeticError("not positive definite")
        return fit(method, pack, *arguments)

    monkeypatch.setattr(attempt, "fit", fragile)
    outcomes = run_pack(make_cells("map"))
    assert sizes == [3, 1, 1, 1]
    assert [o.status for o in outcomes] == [Status.OK, Status.FAILED, Status.OK]
    assert [o.pack_size for o in outcomes] == [1, 1, 1]
    place = r"ArithmeticError: not positive definite \(line \d+ of test_step.py, in fragile\)"
    assert re.fullmatch(place, outcomes[1].message)
    assert not outcomes[1].evaluations
    assert not outcomes[1].artifacts
    for r in (0, 2):
        for e, alone in zip(packed[r].evaluations, outcomes[r].evaluations, strict=True):
            for s, t in zip(e.scores, alone.scores, strict=True):
                assert t.metric == s.metric
                assert t.value == pytest.approx(s.value, rel=1e-3, abs=1e-4)


def test_timeout():
    outcomes = run_pack(make_cells("map"), timeout=1e-9)
    assert [o.status for o in outcomes] == [Status.TIMEOUT] * 3
    assert outcomes[0].message == "stopped after 25 of 100 updates"
    assert not any(o.evaluations or o.artifacts for o in outcomes)
    with pytest.raises(OutOfTime):
        train(make_pack(make_cells("map")), False, deadline=0.0)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_failure(monkeypatch, stop):
    def interrupted(*_):
        raise stop

    monkeypatch.setattr(attempt, "fit", interrupted)
    with pytest.raises(stop):
        run_pack(make_cells("map"))


def test_progress_counts_all_updates():
    told = []
    train(make_pack(make_cells("map")), False, progress=told.append)
    assert told == [25, 50, 75, 100]
    train(
        make_pack(make_cells("map", budget=replace(BUDGET, steps=10, validation_checks=4))), False, progress=told.append
    )
    assert told[4:] == [2, 4, 6, 8, 10]


def test_evaluations_are_those_of_the_task():
    outcomes = run_pack(make_cells("map"))
    for fold, outcome in enumerate(outcomes):
        assert {e.name: e.n for e in outcome.evaluations} == {"test": 10, "train": FIT[fold], "validation": 10 + fold}
        kept = outcome.artifacts["predictive"]
        assert {name: value.shape for name, value in kept.items()} == {
            "test/mean": (1, 10), "test/scale": (1, 10), "test/y": (10,)
        }  # fmt: skip
        component = normal(*(torch.tensor(kept[f"test/{name}"][0]) for name in ("mean", "scale")))
        score = {s.metric: s.value for s in outcome.evaluations[0].scores}["log_likelihood"]
        assert score == pytest.approx(component.log_prob(torch.tensor(kept["test/y"])).mean().item(), rel=1e-5)
