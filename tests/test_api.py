"""The Python API: what is stored comes back as it was."""

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import CPU, PACKED
from scipy.special import xlogy

import bnnbench
from bnnbench.data.arrays import Data
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import stack
from bnnbench.errors import RenamedWarning, UserError
from bnnbench.experiment import attempt
from bnnbench.methods import METHODS
from bnnbench.methods.map import MAP
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS, Task
from bnnbench.tasks.budget import BUDGETS

LIKE = {"budget": "smoke", "threads": 1, "device": "cpu"}
TRAINED_ON = ("toy-heteroscedastic", "digits")


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    """Every method on one split of each; one method on all."""
    path = tmp_path_factory.mktemp("api") / "results.db"
    for methods, splits in (("all", "0"), ("map", None)):
        summary = bnnbench.run(methods, TRAINED_ON, splits=splits, db=path, **LIKE)
        assert summary.missing == sum(summary.statuses.values()) > 0
        assert {status.value for status in summary.statuses} == {"ok"}
    return path


@pytest.mark.parametrize("task", TRAINED_ON)
@pytest.mark.parametrize("method", [m.name for m in PACKED if not {"references", "flow"} & set(m.tags)])
def test_a_loaded_posterior_is_the_one_that_was_scored(db, method, task):
    """Its mixture at the test rows against the one stored when it was scored. Measured: the same to the bit where the
    pack had one replica; a pack of ten multiplies its matrices in another order."""
    with ResultStore(db, read_only=True) as store:
        found = store.attempts(task=task, method=method).iloc[-1]
        kept = store.artifact(found.fingerprint, "predictive")
    rule, _, index = found.split.rpartition("-")
    test = TASKS.get(task).splits(rule)[int(index)].test
    posterior = bnnbench.load(db, found.fingerprint)
    with torch.no_grad():
        mixture = posterior.mixture(TASKS.get(task).data().x[test])
    exact = found.pack_size == 1
    for name, value in mixture._asdict().items():
        np.testing.assert_allclose(
            value.numpy(), kept[f"test/{name}"], rtol=0 if exact else 1e-4, atol=0 if exact else 1e-5
        )
    assert posterior.method == METHODS.get(method)()
    assert posterior.cell["fingerprint"] == found.fingerprint


def test_predict_gives_moments_of_the_mixture(db):
    scores = bnnbench.scores(db, task="toy-heteroscedastic", method="bbp-gaussian")
    posterior = bnnbench.load(db, scores.fingerprint[0])
    x = np.linspace(-2, 2, 7)[:, None]
    with torch.no_grad():
        mixture = posterior.mixture(x)
    got = posterior.predict(x)
    np.testing.assert_allclose(got["mean"], mixture.mean.numpy().mean(0), rtol=1e-5)
    np.testing.assert_allclose(got["epistemic_std"], mixture.mean.numpy().std(0), rtol=1e-4)
    np.testing.assert_allclose(got["aleatoric_std"] ** 2, (mixture.scale.numpy() ** 2).mean(0), rtol=1e-4)
    total = got["epistemic_std"] ** 2 + got["aleatoric_std"] ** 2
    np.testing.assert_allclose(got["total_std"] ** 2, total, rtol=1e-4)
    assert posterior.mixture(x, samples=3).mean.shape == (3, 7)


def test_predict_gives_class_probabilities(db):
    scores = bnnbench.scores(db, task="digits", method="ensemble-deep")
    got = bnnbench.load(db, scores.fingerprint[0]).predict(np.random.default_rng(0).uniform(0, 16, (5, 64)))
    p = got["probabilities"]
    assert p.shape == (5, 10)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(got["entropy_total"], -xlogy(p, p).sum(1), rtol=1e-4)
    assert (got["entropy_aleatoric"] <= got["entropy_total"] + 1e-6).all()


def test_a_posterior_refuses_other_inputs_and_other_versions(db, monkeypatch):
    one = bnnbench.scores(db, task="digits", method="map").fingerprint[0]
    for shape in [(5, 63), (64,), (1, 5, 64)]:
        with pytest.raises(UserError, match=r"takes inputs of shape \[N, 64\], not \["):
            bnnbench.load(db, one).predict(np.zeros(shape))
    trained = METHODS.get("map").version
    monkeypatch.setattr(METHODS.get("map"), "version", 99)
    with pytest.raises(UserError, match=f"trained by map version {trained} and version 99 is installed; run the cell"):
        bnnbench.load(db, one)
    with pytest.raises(UserError, match="There is no cell 'none'"):
        bnnbench.load(db, "none")


def test_scores_are_filtered_by_columns(db):
    frame = bnnbench.scores(db, task="digits", method="map", evaluation="test", metric="error")
    assert len(frame) == 10
    assert frame.split.tolist() == [f"10fold-{k}" for k in range(10)]
    assert frame.value.between(0, 1).all()


def test_the_constants_scores_are_those_of_numpy(db):
    """From file to table: one number computed with nothing of ours but the split."""
    task = TASKS.get("toy-heteroscedastic")
    data, split = task.data(), task.splits("fixed")[0]
    fit, y = data.y[split.train], data.y[split.test]
    table = bnnbench.scores(db, task="toy-heteroscedastic", method="constant", evaluation="test").set_index("metric")
    each = -0.5 * ((y - fit.mean()) / fit.std()) ** 2 - np.log(fit.std()) - 0.5 * np.log(2 * np.pi)
    assert table.value["log_likelihood"] == pytest.approx(each.mean(), rel=1e-5)
    assert table.value["rmse"] == pytest.approx(np.sqrt(((y - fit.mean()) ** 2).mean()), rel=1e-5)
    assert (table.n == len(y)).all()


def test_what_is_finished_is_not_trained_again(db, monkeypatch):
    monkeypatch.setattr(attempt, "fit", None)
    assert bnnbench.run("all", TRAINED_ON, splits="0", db=db, **LIKE).missing == 0
    assert bnnbench.run("map", TRAINED_ON, db=db, **LIKE).missing == 0


def test_a_dry_run_counts_packs(tmp_path):
    plan = bnnbench.run("map", "diabetes", budget="smoke", db=tmp_path / "a.db", dry_run=True, threads=1, device="cpu")
    assert plan.packs == (("diabetes", "map", 10),)
    assert list(tmp_path.iterdir()) == []


def test_cells_of_real_tasks_standardise_by_the_train_rows_alone():
    cell = Cell(TASKS.get("diabetes"), METHODS.get("map")(), "10fold", 0, 0, BUDGETS["smoke"])
    pack, split = stack([cell], CPU), TASKS.get("diabetes").splits("10fold")[0]
    data = TASKS.get("diabetes").data()
    np.testing.assert_allclose(pack.problem.rows.x_shift[0], data.x[split.train].mean(0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(pack.problem.rows.y_scale[0], data.y[split.train].std(), rtol=1e-5)
    assert not set(split.train) & (set(split.validation) | set(split.test))


def test_the_package_imports_nothing_heavy():
    code = "import sys, bnnbench; assert not {'torch', 'numpy', 'pandas', 'sqlalchemy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_splits_that_run(tmp_path):
    db = tmp_path / "a.db"
    for splits in ("2, 7", [7, 2, 2]):
        summary = bnnbench.run("constant", "diabetes", splits=splits, db=db, **LIKE)
        assert summary.cells == 2
    assert summary.missing == 0
    assert bnnbench.scores(db, evaluation="test", metric="rmse").split.tolist() == ["10fold-2", "10fold-7"]
    assert bnnbench.run("constant", "diabetes", db=db, **LIKE).missing == 8
    with pytest.raises(UserError, match=r"The task 'toy-antoran' has splits 0 to 0 under 'fixed', no 1\."):
        bnnbench.run("constant", ["diabetes", "toy-antoran"], splits=[0, 1], db=tmp_path / "b.db", **LIKE)
    with pytest.raises(UserError, match=r"--splits takes whole numbers with commas, like 0,1, not '0-3'\."):
        bnnbench.run("constant", "diabetes", splits="0-3", db=tmp_path / "b.db", **LIKE)
    assert not (tmp_path / "b.db").exists()


def test_splits_of_a_part_of_a_plan_give_the_numbers_of_the_whole(tmp_path):
    bnnbench.run("map", "diabetes", db=tmp_path / "whole.db", **LIKE)
    bnnbench.run("map", "diabetes", splits="4", db=tmp_path / "part.db", **LIKE)
    whole, part = (bnnbench.scores(tmp_path / f"{name}.db", split="10fold-4") for name in ("whole", "part"))
    np.testing.assert_allclose(part["value"], whole["value"], rtol=1e-4)


@dataclass(frozen=True)
class Own(MAP):
    """A method that is not registered."""

    name, tags = "own", ()
    lr: float = 0.02


def own_task():
    x = np.random.default_rng(0).normal(size=(60, 2))
    split = np.arange(50), np.arange(50, 60)
    return Task("mine", "regression", ("own",), ("fixed",), (6,), loader=lambda: Data.of(x, x[:, 0], fixed=split))


def test_objects_run_as_names_do(tmp_path, monkeypatch):
    db, task = tmp_path / "a.db", own_task()
    assert bnnbench.run([Own(lr=0.1), "map"], ["toy-homoscedastic", task], db=db, **LIKE).statuses == {"ok": 4}
    assert bnnbench.run(Own(lr=0.1), task, db=db, **LIKE).missing == 0
    assert bnnbench.run(Own(), task, db=db, **LIKE).missing == 1
    scores = bnnbench.scores(db, method="own", evaluation="test", metric="rmse")
    assert sorted(zip(scores["task"], scores["config"], strict=True)) == [
        ("mine", "default"), ("mine", "lr=0.1"), ("toy-homoscedastic", "lr=0.1"),
    ]  # fmt: skip
    assert (tmp_path / "out/index.md") in bnnbench.report(db, tmp_path / "out", formats=("md",))
    one = scores["fingerprint"].iloc[0]
    with pytest.raises(UserError, match=r"of the method 'own', which is not registered in this process; register it"):
        bnnbench.load(db, one)
    monkeypatch.setitem(METHODS._entries, "own", Own)
    monkeypatch.setitem(TASKS._entries, "mine", task)
    assert isinstance(bnnbench.load(db, one).method, Own)


def test_an_object_of_a_registered_class_is_the_cell_of_its_settings(tmp_path):
    db = tmp_path / "a.db"
    assert bnnbench.run("map", "toy-homoscedastic", settings="map.lr=0.1", db=db, **LIKE).missing == 1
    assert bnnbench.run(MAP(lr=0.1), TASKS.get("toy-homoscedastic"), db=db, **LIKE).missing == 0


@pytest.mark.slow
def test_an_object_is_checked():
    verdicts = list(bnnbench.check(Own(lr=0.01)))
    assert {verdict.passed for verdict in verdicts} == {True, None}
    with pytest.raises(UserError, match="another method of this name is registered"):
        bnnbench.check(type("Other", (MAP,), {"name": "map"})())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"folds": "0"}, "--folds is now --splits."),
        ({"splits": "10fold"}, "--splits 10fold is now --split-rule 10fold."),
        ({"task": "diabetes"}, "task= is now tasks=."),
    ],
)
def test_former_spellings_work_and_say_what_they_are_now(options, sentence, tmp_path):
    now = {"tasks": "diabetes"} if "task" not in options else {}
    with pytest.warns(RenamedWarning) as caught:
        plan = bnnbench.run("constant", **now, **options, dry_run=True, db=tmp_path / "a.db", **LIKE)
    assert [(str(warning.message), warning.filename) for warning in caught] == [(sentence, __file__)]
    assert plan.packs == (("diabetes", "constant", 1 if "folds" in options else 10),)


def test_a_report_takes_tasks(tmp_path):
    db = tmp_path / "a.db"
    bnnbench.run("constant", "toy-homoscedastic,diabetes", splits=[0], db=db, **LIKE)
    for options in ({"tasks": "diabetes"}, {"tasks": ["diabetes"]}):
        bnnbench.report(db, tmp_path, formats=("md",), **options)
        assert "toy-homoscedastic" not in (tmp_path / "index.md").read_text()
    with pytest.warns(RenamedWarning, match="task= is now tasks="):
        bnnbench.report(db, tmp_path, formats=("md",), task="diabetes")


def test_denormal_numbers_are_zero_in_all_threads_of_a_run():
    """They would make a run hundreds of times slower on Intel's processors; a fresh process has no thread yet."""
    code = """
import torch
from bnnbench.experiment.threads import threads
with threads(1):
    pass
with threads(2):
    assert torch.get_num_threads() == 2
    assert (torch.full((4_000_000,), 2e-38) * 0.1).count_nonzero() == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_report_says_which_results_this_installation_has_superseded(tmp_path, monkeypatch):
    """A database of the present versions, read by an installation in which a method has a newer one."""
    db, out = tmp_path / "results.db", tmp_path / "out"
    bnnbench.run("constant,map", "diabetes", splits="0,1", db=db, **LIKE)

    def marked():
        bnnbench.report(db, out, formats=("csv",))
        table = pd.read_csv(out / "tables/starter-10fold-rmse.csv")
        return dict(zip(table["method"], table["superseded"], strict=True))

    assert marked() == {"constant": False, "map": False}
    monkeypatch.setattr(METHODS.get("map"), "version", METHODS.get("map").version + 1)
    assert marked() == {"constant": False, "map": True}


def test_verdicts_are_kept_where_a_database_is_named_and_a_bad_name_is_refused_at_once(tmp_path):
    db = tmp_path / "a.db"
    names = [verdict.name for verdict in bnnbench.check("constant", db=db)]
    with ResultStore(db, read_only=True) as store:
        kept = store.verdicts()
    assert kept["name"].tolist() == names
    assert kept["passed"].dropna().tolist() == [True]
    (tmp_path / "b.db").write_text("no database")
    with pytest.raises(UserError, match="is not an SQLite database"):
        bnnbench.check("constant", db=tmp_path / "b.db")
