"""Estimators as methods of a run: trained apart, scored, resumed, loaded, and what they do wrong kept to their cell."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import worker_samples
from estimator_samples import ANSWERS, Loop, Ridge, Rough
from torch.testing import assert_close

import bnnbench
from bnnbench import random as keyed
from bnnbench.checks.problems import task as known_task
from bnnbench.engine.cell import Cell
from bnnbench.engine.estimate import assignment, estimate, generators
from bnnbench.engine.pack import stack
from bnnbench.engine.step import INIT
from bnnbench.methods import METHODS
from bnnbench.methods.map import MAP
from bnnbench.store.store import ResultStore
from bnnbench.tasks import Task
from bnnbench.tasks.budget import budget_of

TABLE = Task("table", "regression", ("own",), ("fixed",), (8,), loader=worker_samples.table)
CPU = torch.device("cpu")
LIKE = {"budget": "smoke", "device": "cpu", "jobs": 1}


def ended(db):
    with ResultStore(db, read_only=True) as store:
        return store.attempts().set_index("config")


@pytest.mark.timeout(600)
def test_what_goes_wrong_stays_with_its_cell(tmp_path):
    """A crash, an exit, an endless loop, a leak and an error are four failures and a timeout; the run goes on."""
    kinds = ["crash", "exit", "leak", "raise", "well"]
    db = tmp_path / "r.db"
    hung = bnnbench.run(Rough(how="hang"), TABLE, db=db, timeout=5, **LIKE)
    summary = bnnbench.run([Rough(how=how) for how in kinds], TABLE, db=db, memory=2, **LIKE)
    found = ended(db)
    messages = {label.removeprefix("how="): message for label, message in found["message"].items()}
    assert messages["crash"].startswith("its worker process ended (SIGABRT)")
    assert messages["exit"] == "RuntimeError: it called sys.exit(3)"
    assert messages["hang"] == "stopped after 5 s (--timeout)"
    assert messages["leak"] == "it took more than 2 GB of memory (--memory)"
    assert messages["raise"] == "ValueError: it does not converge (line 94 of estimator_samples.py, in fit)"
    assert (found.loc["default", "status"], found.loc["default", "gradients"]) == ("ok", 7)
    assert (hung.statuses, summary.statuses) == ({"timeout": 1}, {"failed": 4, "ok": 1})


def test_predictions_that_are_none(tmp_path):
    """One sentence each, which names what is wrong with them."""
    db = tmp_path / "r.db"
    bnnbench.run([Rough(how=how) for how in ANSWERS], TABLE, db=db, **LIKE)
    found = ended(db)
    assert set(found["status"]) == {"failed"}
    wanted = {
        "nothing": "not NoneType",
        "column": "mean of shape [10, 1]; it must be [S, 10]",
        "short": "mean of shape [9]; it must be [S, 10]",
        "negative": "a scale that is not positive",
        "nan": "mean with values that are not finite",
        "infinite": "scale with values that are not finite",
        "empty": "mean of shape [0, 10]",
        "classes": "a CategoricalPredictive for a regression",
        "text": "mean that holds no numbers",
    }
    assert {how: text in found.loc[f"how={how}", "message"] for how, text in wanted.items()} == dict.fromkeys(
        wanted, True
    )


def test_draws_repeat_and_leave_the_generators_alone():
    """A cell draws the same whatever was drawn before; another seed draws others; nobody else's numbers change."""
    cells = [Cell(TABLE, Rough(), "fixed", 0, seed, budget_of("smoke")) for seed in (0, 1)]
    packs = [stack([cell], CPU) for cell in cells]
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = estimate(Rough(), packs[0])[0].fitted
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert (torch.get_rng_state() == before[2]).all()
    random.random(), np.random.rand(), torch.rand(())  # noqa: NPY002
    again, other = (estimate(Rough(), pack)[0].fitted for pack in packs)
    assert first == again
    assert not set(first["drawn"]) & set(other["drawn"])
    assert first["rows"] == 30  # of the fifty, twenty validate


def test_generators_come_back_after_an_error():
    before = random.getstate()
    with pytest.raises(RuntimeError, match=r"sys\.exit"), generators(keyed.key(0)):
        sys.exit()
    assert random.getstate() == before


def test_a_fresh_network_starts_where_every_method_does():
    pack = stack([Cell(TABLE, Loop(), "fixed", 0, 0, budget_of("smoke"))], CPU)
    given = assignment(pack)
    start = MAP().init(keyed.fold_in(pack.keys[0], INIT), pack.problem).params
    network = given.network()
    for name, value in network.named_parameters():
        assert_close(value.detach(), start[name], rtol=0, atol=0)
        value.data.zero_()
    assert all(value.abs().sum() > 0 for value in given.network().parameters() if value.dim() > 1)


def test_a_loop_of_its_own_is_trained_counted_and_resumed(tmp_path):
    db, budget = tmp_path / "r.db", budget_of("smoke")
    assert bnnbench.run(Loop(), TABLE, db=db, **LIKE).statuses == {"ok": 1}
    assert ended(db).loc["default", "gradients"] == budget.steps
    assert bnnbench.run(Loop(), TABLE, db=db, **LIKE).missing == 0
    scores = bnnbench.scores(db, evaluation="test").set_index("metric")["value"]
    assert {"log_likelihood", "rmse", "crps", "epistemic_std"} <= set(scores.index)
    assert scores["epistemic_std"] > 0


def test_what_is_saved_predicts_and_is_scored_again(tmp_path, monkeypatch):
    """The stored arrays give the predictive that was scored, and calibrations without training."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    METHODS.register(Ridge)
    db, task = tmp_path / "r.db", known_task(32, rows=64)
    bnnbench.run(Ridge(), task, split_rule="known", db=db, **LIKE)
    with ResultStore(db, read_only=True) as store:
        (fingerprint,) = store.attempts()["fingerprint"]
        scored = store.artifact(fingerprint, "predictive")
        arrays = store.artifact(fingerprint, "posterior")
    assert {"fitted/mean", "fitted/covariance"} <= set(arrays)
    cell = Cell(task, Ridge(), "known", 0, 0, budget_of("smoke"))
    from bnnbench.engine.stored import rebuilt
    from bnnbench.evaluation.evaluator import Evaluator

    (again,) = Evaluator(rebuilt(stack([cell], CPU), arrays)).test
    np.testing.assert_array_equal(again.mean.numpy(), scored["test/mean"])
    more = bnnbench.run(Ridge(), task, split_rule="known", db=db, calibrate="temperature", **LIKE)
    assert (more.missing, more.rescored) == (0, 1)


@pytest.mark.timeout(300)
def test_check_tells_a_posterior_from_another():
    """Conjugate regression passes; with a prior three times as wide it does not."""
    passed = {verdict.name: verdict.passed for verdict in bnnbench.check(Ridge())}
    assert passed["vague linear regression: mean"] is True
    assert passed["packed equals alone"] is None
    assert False not in passed.values()
    assert False in {verdict.passed for verdict in bnnbench.check(Ridge(factor=3.0))}


SCRIPT = """
import sys
sys.path[:0] = {path!r}
import bnnbench
from estimator_samples import Rough
from worker_samples import table
from bnnbench.tasks import Task
class Here(Rough):
    name = "here"
task = Task("table", "regression", ("own",), ("fixed",), (8,), loader=table)
print(bnnbench.run(Here(), task, db={db!r}, budget="smoke", device="cpu", jobs=1))
"""


@pytest.mark.timeout(120)
def test_an_estimator_of_a_script_is_trained_here_and_said_to_be(tmp_path):
    text = SCRIPT.format(path=sys.path[:], db=str(tmp_path / "r.db"))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert "here, table: trained in this process" in done.stdout
    assert "'ok': 1" in done.stdout.replace("<Status.OK: 'ok'>", "'ok'")
