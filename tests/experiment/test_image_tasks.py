"""Image tasks from the plan to the database: every method, both kinds of network, test sets at once and later."""

import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest
from helpers import PACKED
from image_samples import CONV, PADDED, PLAIN, SMALL

import bnnbench
from bnnbench.engine import predict as predicting
from bnnbench.errors import UserError
from bnnbench.evaluation.evaluate import evaluate_only
from bnnbench.experiment import attempt, rescore
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS

NAMES = [method.name for method in PACKED if "classification" in method.supports]
SET = [f"{name}.{field}={value}" for name, own in SMALL.items() for field, value in own.items()]
LIKE = {"budget": "smoke", "threads": 1, "device": "cpu"}
PLAINLY = {"test", "train", "validation"}
ROTATIONS = {f"rotation-{angle:03d}" for angle in range(15, 181, 15)} | {"rotated-digit"}
FGSM = {f"fgsm-{k / 100:.2f}" for k in range(5, 31, 5)}
PGD = {"pgd-0.10", "pgd-0.30"}
SHIFTED = ROTATIONS | FGSM | PGD
FEW = ["constant", "map", "mc-dropout", "sgld", "ensemble-deep"]
SWEPT = {CONV: ["swag"], PLAIN: FEW, PADDED: ["constant", "bbp-gaussian"]}
OF_CHAINS = ("ess", "rhat", "share_converged")  # of a single draw there are none


@pytest.fixture(scope="module", autouse=True)
def _registered():
    TASKS.discover()
    for task in (CONV, PLAIN, PADDED):
        TASKS.register(task)
    yield
    for task in (CONV, PLAIN, PADDED):
        TASKS.remove(task.name)


def run(db, methods, task, **options):
    held = [name for name in SET if methods == "all" or name.partition(".")[0] in methods]
    return bnnbench.run(methods, task, db=db, settings=held, **(LIKE | options))


def evaluations(db):
    """(task, method) -> names of the evaluations that were scored."""
    scores = bnnbench.scores(db)
    scores = scores[scores["evaluation"] != ""]
    return {key: set(names) for key, names in scores.groupby(["task", "method"])["evaluation"]}


def feasible(task):
    """Methods that are run on a network: all that it is small enough for; on LeNet, whose cells are dear, a choice."""
    if task is PADDED:
        return [*SWEPT[task], "map", "laplace-kron", "sgld"]
    return [name for name in NAMES if task is CONV or name not in ("laplace-full", "hmc")]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All methods, some of them with rotation and attacks from the start."""
    db = tmp_path_factory.mktemp("images") / "results.db"
    for task in (CONV, PLAIN, PADDED):
        for methods, families in ([SWEPT[task], "shift"], [feasible(task), ""]):
            assert set(run(db, methods, task.name, test_sets=families).statuses) <= {"ok", "unconverged"}
    return db


@pytest.mark.parametrize("task", [CONV, PLAIN, PADDED], ids=lambda task: task.name)
def test_every_method_is_trained_scored_and_stored(task, everything):
    found = evaluations(everything)
    for name in feasible(task):
        own = {
            e
            for e in found[task.name, name]
            if not e.startswith(("pruned-", "transfer-")) and e not in ("sampler", "certificate")
        }
        assert own == (PLAINLY | SHIFTED if name in SWEPT[task] else PLAINLY), name
    with ResultStore(everything, read_only=True) as store:
        attempts = store.attempts()
        attempts = attempts[attempts["task"] == task.name]
        assert sorted(attempts["method"]) == sorted(feasible(task))
        for fingerprint in attempts["fingerprint"]:
            assert store.artifact(fingerprint, "posterior")


@pytest.mark.slow
def test_every_method_on_lenet(tmp_path):
    db, names = tmp_path / "results.db", [name for name in NAMES if name not in ("laplace-full", "hmc")]
    assert run(db, names, PADDED.name, test_sets="rotation,fgsm").statuses == {"ok": len(names)}
    assert all(own >= PLAINLY | ROTATIONS | FGSM for own in evaluations(db).values())
    assert len(evaluations(db)) == len(names)


def test_scores_are_sound(everything):
    scores = bnnbench.scores(everything)
    few = scores["evaluation"].isin(["", "certificate"]) | scores["metric"].isin(OF_CHAINS)
    assert np.isfinite(scores[~few]["value"]).all()
    table = scores[scores["metric"] == "error"].set_index(["task", "method", "evaluation"])
    assert ((table["value"] >= 0) & (table["value"] <= 1)).all()
    assert set(scores[scores["evaluation"] == "fgsm-0.10"]["n"]) == {40}
    for task in (PLAIN.name, PADDED.name):  # no attack changes what ignores the image
        own = scores[(scores["task"] == task) & (scores["method"] == "constant")].set_index(["evaluation", "metric"])
        for name in FGSM | PGD | (ROTATIONS - {"rotated-digit"}):
            assert own.loc[(name, "log_likelihood"), "value"] == own.loc[("test", "log_likelihood"), "value"]


def test_attacks_hurt(everything):
    scores = bnnbench.scores(everything, metric="log_likelihood").set_index(["task", "method", "evaluation"])["value"]
    for task in (PLAIN, PADDED):
        for name in {"map", "ensemble-deep", "mc-dropout", "bbp-gaussian"} & set(SWEPT[task]):
            at = scores[task.name, name]
            assert at["fgsm-0.30"] < at["fgsm-0.05"] < at["test"]
            assert at["pgd-0.10"] <= at["fgsm-0.10"] + 1e-3


def test_a_stored_posterior_predicts_what_was_scored(everything):
    """Images in pixels, those of LeNet with their frame."""
    scores = bnnbench.scores(everything, evaluation="test", metric="log_likelihood")
    for task in (PLAIN, PADDED):
        data, (split,) = task.data(), task.splits("official")
        for _, row in scores[(scores["task"] == task.name) & scores["method"].isin(FEW)].iterrows():
            found = bnnbench.load(everything, row["fingerprint"]).predict(data.x[split.test])["probabilities"]
            value = np.log(found[np.arange(40), data.y[split.test]]).mean()
            assert value == pytest.approx(row["value"], rel=1e-3, abs=1e-4), row["method"]


@pytest.mark.parametrize("task", [PLAIN, PADDED], ids=lambda task: task.name)
def test_families_that_are_asked_for_later(task, everything, tmp_path, monkeypatch):
    """Nothing is trained; family by family only what is missing is scored, from the posterior, to the same numbers."""
    db = tmp_path / "results.db"
    run(db, SWEPT[task], task.name)
    assert all(not names & SHIFTED for names in evaluations(db).values())
    before = bnnbench.scores(db)
    monkeypatch.setattr(attempt, "fit", None)
    asked = []

    def watched(evaluator, wanted, sets):
        asked.append(set(wanted))
        return evaluate_only(evaluator, wanted, sets)

    monkeypatch.setattr(rescore, "evaluate_only", watched)
    for families, names in [("rotation", ROTATIONS), ("fgsm,rotation", FGSM), ("shift", PGD)]:
        asked.clear()
        summary = run(db, SWEPT[task], task.name, test_sets=families)
        assert summary.missing == 0
        assert summary.rescored >= len(SWEPT[task])  # and transferred attacks
        assert {name for own in asked for name in own} == names
        assert run(db, SWEPT[task], task.name, test_sets=families).rescored == 0
    assert run(db, SWEPT[task], task.name).rescored == 0
    after = bnnbench.scores(db)
    keys = ["task", "method", "evaluation", "metric"]
    kept = after[~after["evaluation"].isin(SHIFTED) & ~after["evaluation"].str.startswith("transfer-")]
    pd.testing.assert_frame_equal(kept[[*keys, "value"]].reset_index(drop=True), before[[*keys, "value"]])
    at_once = bnnbench.scores(everything, task=task.name)
    at_once = at_once[at_once["method"].isin(SWEPT[task]) & at_once["evaluation"].isin(SHIFTED)].set_index(keys)[
        "value"
    ]
    later = after[after["evaluation"].isin(SHIFTED)].set_index(keys)["value"]
    assert set(later.index) == set(at_once.index)
    np.testing.assert_allclose(later.sort_index(), at_once.sort_index(), rtol=1e-3, atol=1e-4)


def test_attacks_are_transferred_by_a_run_that_asks_for_other_families(tmp_path):
    """The ensemble comes later, with a run of rotations: the attacks on what is stored are still transferred."""
    db = tmp_path / "results.db"
    run(db, ["map"], PLAIN.name, test_sets="fgsm")
    run(db, ["map", "ensemble-deep"], PLAIN.name, test_sets="rotation")
    assert evaluations(db)[PLAIN.name, "map"] >= {"transfer-fgsm-0.10", "transfer-fgsm-0.30"}
    exhaustive = tmp_path / "exhaustive.db"
    run(exhaustive, ["map", "ensemble-deep"], PLAIN.name, test_sets="fgsm", exhaustive=True)
    names = evaluations(exhaustive)[PLAIN.name, "map"]
    assert {name for name in names if name.startswith("transfer")} == {
        "transfer-fgsm-0.10-all",
        "transfer-fgsm-0.30-all",
    }


def test_corrupted_images_are_made_when_they_are_predicted(tmp_path, monkeypatch):
    """Scored at once and later alike, from images that no test set holds; padded ones are corrupted within."""
    at_once, later = tmp_path / "once.db", tmp_path / "later.db"
    for task in (PLAIN, PADDED):
        run(at_once, ["constant", "bbp-gaussian"], task.name, test_sets="mnist-c")
        run(later, ["constant", "bbp-gaussian"], task.name)
    monkeypatch.setattr(attempt, "fit", None)
    for task in (PLAIN, PADDED):
        assert run(later, ["constant", "bbp-gaussian"], task.name, test_sets="mnist-c").rescored == 2
    keys = ["task", "method", "evaluation", "metric"]
    scores = [bnnbench.scores(db).set_index(keys)["value"].sort_index() for db in (at_once, later)]
    np.testing.assert_allclose(*scores, rtol=1e-3, atol=1e-4)
    own = scores[0].loc[PLAIN.name, "bbp-gaussian"].unstack()
    corrupted = own[own.index.str.startswith("corrupted-")].dropna(axis="columns")
    assert len(corrupted) == 15
    assert set(corrupted) == {"log_likelihood", "error", "ece", "brier", "entropy_total", "entropy_epistemic"}
    assert corrupted["log_likelihood"].nunique() == 15
    constant = scores[0].loc[PADDED.name, "constant"].unstack()["error"]
    assert constant[constant.index.str.startswith("corrupted-")].nunique() == 1


def test_rescoring_says_what_it_does(tmp_path, capfd):
    db = tmp_path / "results.db"
    run(db, ["map"], PLAIN.name)
    run(db, ["map"], PLAIN.name, test_sets="fgsm", quiet=False)
    assert capfd.readouterr().err.startswith(f"[1/1] {PLAIN.name} official map: {len(FGSM)} more evaluations, ")
    run(db, ["map"], PLAIN.name, test_sets="fgsm", quiet=False)
    assert capfd.readouterr().err == ""


def test_a_posterior_predicts_in_chunks(everything, monkeypatch):
    """As much at once as fits, and the same numbers: ten thousand images of a wide network do not fill the memory."""
    scores = bnnbench.scores(everything, evaluation="test", metric="error")
    x = PLAIN.data().x
    for name in ("bbp-gaussian", "laplace-diag", "swag", "sgld"):
        (row,) = scores[(scores["task"] == PLAIN.name) & (scores["method"] == name)]["fingerprint"]
        posterior = bnnbench.load(everything, row)
        whole = posterior.predict(x)
        with monkeypatch.context() as patch:
            patch.setattr(predicting, "CHUNK_NUMBERS", 2**12)
            patch.setattr(predicting, "CHUNK_WEIGHTS", 2**14)
            parts = posterior.predict(x)
        np.testing.assert_allclose(parts["probabilities"], whole["probabilities"], rtol=1e-4, atol=1e-6)
        assert whole["probabilities"].shape == (200, 10)


def test_exhaustive_sweeps_stand_beside_the_others(tmp_path):
    db = tmp_path / "results.db"
    run(db, ["map"], PLAIN.name, test_sets="fgsm")
    assert run(db, ["map"], PLAIN.name, test_sets="fgsm", exhaustive=True).rescored == 1
    (names,) = evaluations(db).values()
    assert names >= FGSM | {f"{name}-all" for name in FGSM}


@pytest.mark.parametrize("fault", ["random bytes", "cut off"])
def test_a_damaged_posterior_costs_no_more_than_its_own_cell(fault, tmp_path, monkeypatch):
    db = tmp_path / "results.db"
    run(db, ["map", "sgld"], PLAIN.name)
    before = bnnbench.scores(db)
    connection = sqlite3.connect(db)
    ((path, fingerprint),) = connection.execute(
        "SELECT path, fingerprint FROM artifact JOIN attempt ON attempt.id = attempt_id "
        "JOIN cell ON cell.id = cell_id WHERE artifact.kind = 'posterior' AND fingerprint = ?",
        [before[before["method"] == "map"]["fingerprint"].iloc[0]],
    ).fetchall()
    connection.close()
    file = tmp_path / path
    file.write_bytes(b"no arrays" if fault == "random bytes" else file.read_bytes()[:-100])
    monkeypatch.setattr(attempt, "fit", None)
    summary = run(db, ["map", "sgld"], PLAIN.name, test_sets="rotation")
    assert (summary.missing, summary.rescored) == (0, 1)
    (warning,) = summary.warnings
    assert str(file) in warning and "--force" in warning and "\n" not in warning  # noqa: PT018
    found = evaluations(db)
    assert found[PLAIN.name, "sgld"] >= ROTATIONS
    assert not found[PLAIN.name, "map"] & ROTATIONS
    after = bnnbench.scores(db)
    keys = ["task", "method", "evaluation", "metric", "value"]
    pd.testing.assert_frame_equal(
        after[~after["evaluation"].isin(ROTATIONS)][keys].reset_index(drop=True), before[keys]
    )
    with pytest.raises(UserError) as caught:
        bnnbench.load(db, fingerprint)
    assert str(file) in str(caught.value)
    assert "--force" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_interruption_loses_one_family_at_most(tmp_path, monkeypatch):
    db, scored = tmp_path / "results.db", []

    def dying(evaluator, names, sets):
        if any(name.startswith("pgd") for name in names):
            raise KeyboardInterrupt
        scored.extend(names)
        return evaluate_only(evaluator, names, sets)

    with monkeypatch.context() as patch:
        patch.setattr(rescore, "evaluate_only", dying)
        with pytest.raises(KeyboardInterrupt):
            run(db, ["map"], PLAIN.name, test_sets="shift")
    assert set(scored) == ROTATIONS | FGSM
    (names,) = evaluations(db).values()
    assert names == PLAINLY | ROTATIONS | FGSM
    monkeypatch.setattr(attempt, "fit", None)
    assert run(db, ["map"], PLAIN.name, test_sets="shift").rescored == 1
    (names,) = evaluations(db).values()
    assert names == PLAINLY | SHIFTED


def test_the_database_holds_what_the_figures_need(everything):
    connection = sqlite3.connect(everything)
    names = {name for (name,) in connection.execute("SELECT DISTINCT name FROM curve")}
    connection.close()
    assert {"training", "recording", "reliability", "entropy", "violins"} <= names


def test_a_copy_elsewhere_is_scored_as_well(everything, tmp_path):
    shutil.copytree(everything.parent, tmp_path / "copy")
    assert run(tmp_path / "copy" / "results.db", ["map"], PLAIN.name, test_sets="shift").rescored == 0
    assert run(tmp_path / "copy" / "results.db", ["map"], PLAIN.name, test_sets="fgsm-norm").rescored == 1
