"""Ensembles: each member is stopped early on its own, as the network that it is."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from helpers import BUDGET, CPU, make_cells, make_pack, normal, outcomes_of, replica
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.engine.predict import posterior_of, predict
from bnnbench.engine.train import train
from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.progress import RunProgress
from bnnbench.methods.ensemble import BootstrapEnsemble, DeepEnsemble
from bnnbench.methods.map import MAP
from bnnbench.records import Status

LONG = replace(BUDGET, steps=60, validation_checks=6)


@dataclass(frozen=True)
class Single(MAP):
    """One member of an ensemble, trained alone."""

    number: int = 0

    def init(self, key, problem):
        return super().init(random.split(key, 3)[self.number], problem)

    def update(self, key, state, problem):
        return super().update(random.split(key, 3)[self.number], state, problem)


def test_members_are_those_of_networks_trained_and_stopped_alone():
    ensemble, history = train(make_pack(make_cells(DeepEnsemble(3, 0.1), budget=LONG)), False)
    assert history.step_kept.shape == (3, 3)
    for number in range(3):
        alone, own = train(make_pack(make_cells(Single(0.1, number=number), budget=LONG)), False)
        assert history.step_kept[:, number].tolist() == own.step_kept.tolist()
        assert_close(tree_map(lambda leaf, m=number: leaf[:, m], ensemble.state), alone.state, rtol=1e-7, atol=1e-10)
    assert any(len(set(steps)) > 1 for steps in history.step_kept.tolist()), "members are to differ in their best step"


def test_members_of_a_bootstrap_are_judged_on_the_same_validation_rows():
    """Brute force: states at the validation checks, scored member by member with torch's normal."""

    class Spy(BootstrapEnsemble):
        def schedule(self, steps):
            return range(9, steps, 10)

        def collect(self, state):
            return state

    fit, history = train(make_pack(make_cells(Spy(3, 0.1, subset_fraction=0.5), budget=LONG)), False)
    scores = torch.empty(6, 3, 3)
    for check in range(6):
        posterior = posterior_of(fit.pack, tree_map(lambda leaf, i=check: leaf[:, i], fit.draws), None)
        for r, split in enumerate(fit.pack.splits):
            x = torch.tensor(fit.pack.data.x[split.validation])
            mixture = predict(fit.pack, posterior, fit.pack.keys, x.expand(3, *x.shape), 1)
            component = normal(mixture.mean[r], mixture.scale[r])
            scores[check, r] = component.log_prob(torch.tensor(fit.pack.data.y[split.validation])).mean(1)
    best = scores.argmax(0)
    assert history.step_kept.tolist() == (10 * (best + 1)).tolist()
    for name, value in fit.state.fit.params.items():
        for r in range(3):
            for m in range(3):
                assert_close(value[r, m], fit.draws.fit.params[name][r, best[r, m], m])


@dataclass(frozen=True)
class Exploding(DeepEnsemble):
    """Member 1 is thrown far away after 20 updates, with a loss that stays finite; or its loss ends as NaN."""

    away: float = 1e3

    def update(self, key, state, problem):
        state, info = super().update(key, state, problem)
        thrown = (torch.arange(self.members) == 1) & (problem.t >= 20)
        bias = state.params["layers.1.bias"]
        moved = torch.where(thrown[:, None], bias + self.away, bias)
        return state._replace(params=state.params | {"layers.1.bias": moved}), {"loss": info["loss"] + 0 * moved.sum()}


def test_an_exploded_member_goes_back_and_the_others_go_on():
    """A mixture of five hardly tells (log 5/4 nats at most), and would keep it where the others still improve."""
    sound, sound_history = train(make_pack(make_cells(DeepEnsemble(5, 0.01), budget=LONG)), False)
    assert (sound_history.step_kept[:, [0, 2, 3, 4]].max(1) > 20).all(), "the others are to improve after the explosion"
    fit, history = train(make_pack(make_cells(Exploding(5, 0.01), budget=LONG)), False)
    assert (history.step_kept[:, 1] <= 20).all()
    others = [0, 2, 3, 4]
    assert history.step_kept[:, others].tolist() == sound_history.step_kept[:, others].tolist()
    for name, value in fit.state.params.items():
        assert_close(value[:, others], sound.state.params[name][:, others], rtol=0, atol=0)
    assert fit.state.params["layers.1.bias"].abs().max() < 10


def test_a_member_whose_loss_is_not_finite_is_a_diverged_cell():
    cells = make_cells(Exploding(5, 0.01, away=float("nan")), folds=[0], budget=LONG)
    (outcome,) = outcomes_of(cells, Settings(CPU), RunProgress(None, 1, 1, quiet=True))
    assert (outcome.status, outcome.message) == (Status.DIVERGED, "the loss was not finite at update 21")
    assert not outcome.evaluations
    pack = make_pack(make_cells(Exploding(5, 0.01), budget=LONG))
    sound = train(pack, False)
    away = torch.tensor([1e3, float("nan"), 1e3], dtype=torch.float64)
    broken = train(replace(pack, floats=pack.floats | {"away": away}), False)
    assert broken[0].live.tolist() == [True, False, True]
    for r in (0, 2):
        assert_close(replica(*broken, r), replica(*sound, r), rtol=0, atol=0)


def test_the_steps_of_all_members_are_stored():
    cells = make_cells(DeepEnsemble(3, 0.1), budget=LONG)
    _, history = train(make_pack(cells, torch.float32), False)
    for r, outcome in enumerate(outcomes_of(cells, Settings(CPU), RunProgress(None, 1, 1, quiet=True))):
        assert outcome.curves["kept"]["step"].tolist() == history.step_kept[r].tolist()
        assert outcome.step_kept == np.median(history.step_kept[r])
    (single,) = outcomes_of(make_cells("map", folds=[0]), Settings(CPU), RunProgress(None, 1, 1, quiet=True))
    assert "kept" not in single.curves


class Shared(MAP):
    """Says that it trains two networks, and has the state of one."""

    num_networks = 2


def test_a_state_without_members_is_refused_in_words():
    outcomes = outcomes_of(make_cells(Shared()), Settings(CPU), RunProgress(None, 1, 1, quiet=True))
    assert {o.status for o in outcomes} == {Status.FAILED}
    assert "every tensor of its state must lead with a dimension of 2" in outcomes[0].message
    assert {o.status for o in outcomes_of(make_cells(Shared(early_stopping=False)), Settings(CPU),
                                          RunProgress(None, 1, 1, quiet=True))} == {Status.OK}  # fmt: skip
