"""Two methods or databases side by side: intervals and counts against their definitions, missing cells named."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnnbench.cli.comparisons import as_csv, as_json, as_markdown, columns
from bnnbench.errors import UserError
from bnnbench.records import (
    CellRecord,
    EvaluationRecord,
    MethodRecord,
    MetricRecord,
    Outcome,
    Score,
    SessionRecord,
    Status,
    TaskRecord,
)
from bnnbench.reporting.paired import paired
from bnnbench.store.store import ResultStore

SESSION = SessionRecord("abc", False, {}, "cpu", "host", 1, "bnnbench run")
METRICS = [
    MetricRecord("log_likelihood", 1, "nats", "", ("regression",), headline=True),
    MetricRecord("rmse", -1, "target", "", ("regression",), headline=True, order=1),
    MetricRecord("epistemic_std", 0, "target", "", ("regression",), order=2),
]
TASKS = [
    TaskRecord("wine", "1+a", "regression", ("uci",), "", 0),
    TaskRecord("yacht", "1+a", "regression", ("uci",), "", 1),
    TaskRecord("digits", "1+a", "classification", ("images",), "", 2),
]
A, B = np.array([1.0, 2.0, 3.0, 4.0, 2.5]), np.array([1.5, 1.0, 3.0, 2.0, 2.0])


def cell(method, task="wine", index=0, seed=0, rule="10fold", budget="full", **more):
    same = {"task_version": "1+a", "method_version": 1, "config": "{}", "label": "default"}
    return CellRecord(**{**same, "task": task, "method": method, "rule": rule, "index": index, "seed": seed,
                         "budget": budget, **more})  # fmt: skip


def outcome(record, value, blocks=None):
    if value is None:
        return Outcome(record, Status.FAILED, "no")
    curves = {} if blocks is None else {"blocks": {"log_likelihood": blocks}}
    scores = (Score("log_likelihood", value, 0.1), Score("rmse", value, 0.1), Score("epistemic_std", 1.0, None))
    return Outcome(record, Status.OK, evaluations=(EvaluationRecord("test", 160, scores, curves),))


def database(path, outcomes, tasks=TASKS):
    with ResultStore(path) as store:
        store.register([MethodRecord(name, 1, "", (), i) for i, name in enumerate(("a", "b", "c"))], tasks, METRICS)
        store.record(store.start_session(SESSION), outcomes)
    return path


def both(a=A, b=B, **more):
    return [outcome(cell(m, index=i, **more), v) for m, values in (("a", a), ("b", b)) for i, v in enumerate(values)]


def table(path, methods=("a", "b"), against=None, **options):
    with ResultStore(path, read_only=True) as store:
        if against is None:
            return paired(store, None, methods, **options)
        with ResultStore(against, read_only=True) as other:
            return paired(store, other, methods, **options)


@pytest.fixture
def db(tmp_path):
    return tmp_path / "results.db"


def test_the_interval_is_that_of_nadeau_and_bengio(db):
    """Written out from the paper's formula, with scipy's quantile."""
    found = table(database(db, both()), metrics=["log_likelihood", "rmse"]).table.set_index("metric")
    d = A - B
    half = stats.t.ppf(0.975, 4) * math.sqrt((1 / 5 + 1 / 9) * np.sum((d - d.mean()) ** 2) / 4)
    line = found.loc["log_likelihood"]
    np.testing.assert_allclose(
        [line["difference"], line["low"], line["high"]], [d.mean(), d.mean() - half, d.mean() + half]
    )
    assert (line["wins"], line["ties"], line["losses"], line["splits"], line["pairs"]) == (3, 1, 1, 5, 5)
    np.testing.assert_allclose([line["mean_a"], line["mean_b"]], [A.mean(), B.mean()])
    worse = found.loc["rmse"]  # of which less is better
    np.testing.assert_allclose(
        [worse["difference"], worse["low"], worse["high"]], [-d.mean(), -d.mean() - half, half - d.mean()]
    )
    assert (worse["wins"], worse["ties"], worse["losses"]) == (1, 1, 3)


def test_the_other_way_round_all_signs_change(db):
    database(db, both())
    one, other = (table(db, methods, metrics=["rmse"]).table.iloc[0] for methods in (("a", "b"), ("b", "a")))
    np.testing.assert_allclose(
        [one["difference"], one["low"], one["high"]], [-other["difference"], -other["high"], -other["low"]]
    )
    assert (one["wins"], one["losses"]) == (other["losses"], other["wins"])


def test_the_verdict_is_that_of_bold_numbers(db):
    noise = np.random.default_rng(0).normal(size=(2, 10)) * 0.01
    database(db, both(noise[0] + 3.0, noise[1]) + both(noise[0], noise[1] + 1e-3, task="yacht"))
    found = table(db, metrics=["log_likelihood", "rmse"]).table.set_index(["metric", "task"])["verdict"]
    assert found["log_likelihood", "wine"] == "better"
    assert found["rmse", "wine"] == "worse"
    assert found["log_likelihood", "yacht"] == "not separable"
    assert found["log_likelihood", "all tasks"] == "1 better, 0 worse, 1 not separable"


def test_the_same_scores_are_equal(db):
    database(db, both(A, A) + both(A, B, task="yacht"))
    found = table(db, metrics=["log_likelihood"]).table.set_index("task")["verdict"]
    assert found["wine"] == "equal"
    assert found["all tasks"] == "0 better, 0 worse, 1 not separable, 1 equal"


def test_seeds_of_a_split_are_averaged_first_and_only_common_ones_count(db):
    outcomes = [outcome(cell("a", index=i, seed=s), A[i] + s) for i in range(5) for s in (0, 1, 2)]
    outcomes += [outcome(cell("b", index=i, seed=s), B[i] - s) for i in range(5) for s in (0, 1)]
    found = table(database(db, outcomes), metrics=["log_likelihood"])
    line = found.table.iloc[0]
    np.testing.assert_allclose(line["difference"], (A - B).mean() + 1.0)  # the mean of 0 and 1 + 1
    assert (line["splits"], line["pairs"], line["only_a"], line["only_b"]) == (5, 10, 5, 0)
    assert found.notes == (
        "b has no score of 5 cells that a has: wine 10fold-0 seed 2 (not run); wine 10fold-1 seed 2 (not run); wine "
        "10fold-2 seed 2 (not run); wine 10fold-3 seed 2 (not run); wine 10fold-4 seed 2 (not run).",
    )


def test_missing_cells_of_both_are_named_with_what_became_of_them(db):
    a, b = [1.0, None, 3.0, 4.0], [1.0, 2.0, None, 2.0]
    found = table(database(db, both(a, b)), metrics=["rmse"])
    line = found.table.iloc[0]
    assert (line["splits"], line["only_a"], line["only_b"]) == (2, 1, 1)
    assert line["difference"] == -1.0
    assert found.notes == (
        "b has no score of 1 cell that a has: wine 10fold-2 seed 0 (failed).",
        "a has no score of 1 cell that b has: wine 10fold-1 seed 0 (failed).",
    )


def test_a_task_that_only_one_was_run_on_is_named(db):
    database(db, [*both(), outcome(cell("a", "yacht"), 1.0)])
    assert table(db).notes == ("yacht 10fold: only a was run, b was not.",)


def test_what_is_not_finite_wins_or_loses_and_has_no_interval(db):
    found = table(database(db, both([1, -math.inf, -math.inf, math.nan], [0, 1, -math.inf, 1])),
                  metrics=["log_likelihood"]).table.iloc[0]  # fmt: skip
    assert (found["wins"], found["ties"], found["losses"]) == (1, 1, 2)
    assert math.isnan(found["low"])
    assert math.isnan(found["high"])


def test_equal_numbers_are_ties(db):
    found = table(database(db, both(A, A * (1 + 1e-9))), metrics=["log_likelihood"]).table.iloc[0]
    assert (found["wins"], found["ties"], found["losses"]) == (0, 5, 0)
    assert found["verdict"] == "not separable"


def test_one_split_is_compared_over_blocks_of_points(db):
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.5, 1, 50), rng.normal(0, 1, 50)
    place = {"task": "digits", "rule": "official"}
    database(db, [outcome(cell("a", **place), float(a.mean()), a), outcome(cell("b", **place), float(b.mean()), b)])
    line = table(db, metrics=["log_likelihood"]).table.iloc[0]
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose([line["low"], line["high"]], [expected.low, expected.high])
    assert line["verdict"] in ("better", "not separable")
    assert (line["splits"], line["wins"]) == (1, 1)
    bare = table(db, metrics=["rmse"]).table.iloc[0]  # which has no blocks
    assert math.isnan(bare["low"])
    assert bare["verdict"] == ""


def test_all_tasks_are_one_line_and_units_are_not_mixed(db):
    database(db, both() + both(A + 1, B, task="yacht"))
    found = table(db, metrics=["log_likelihood", "rmse"]).table
    total = found[found["task"] == "all tasks"].set_index("metric")
    differences = [(A - B).mean(), (A - B).mean() + 1]
    expected = stats.t.interval(0.95, 1, np.mean(differences), stats.sem(differences))
    np.testing.assert_allclose(total.loc["log_likelihood", ["difference", "low", "high"]].astype(float),
                               [np.mean(differences), *expected])  # fmt: skip
    assert math.isnan(total.loc["rmse", "difference"])
    assert (total["splits"] == 10).all()
    assert (total["wins"] + total["ties"] + total["losses"] == 10).all()


def test_the_largest_budget_that_both_have_is_compared(db):
    database(
        db,
        both(budget="quick")
        + both(A + 5, B, budget="smoke")
        + both(task="yacht", budget="smoke")
        + [outcome(cell("a", budget="full"), 1.0)],
    )
    found = table(db, metrics=["rmse"])
    assert set(found.table["budget"]) == {"quick"}
    assert found.notes[0] == "Compared at the budget quick, the largest that both have; --budget names another."
    assert found.notes[1] == "yacht: both have it at smoke, not at quick; --budget smoke compares it."
    smoke = table(db, metrics=["rmse"], budget="smoke").table.iloc[0]
    np.testing.assert_allclose(smoke["difference"], -(A - B).mean() - 5)


def test_a_configuration_is_named_as_in_reports(db):
    other = [outcome(cell("a", index=i, config='{"lr":1}', label="lr=1"), v) for i, v in enumerate(B)]
    database(db, both()[:5] + other)
    line = table(db, ("a", "a [lr=1]"), metrics=["log_likelihood"]).table.iloc[0]
    np.testing.assert_allclose(line["difference"], (A - B).mean())
    assert (line["a"], line["b"]) == ("a", "a [lr=1]")


def test_two_databases(db, tmp_path):
    database(db, both())
    other = database(tmp_path / "other.db", both(B, B))
    found = table(db, ("a",), other, metrics=["log_likelihood"]).table
    assert len(found) == 1
    np.testing.assert_allclose(found["difference"], (A - B).mean())
    assert found["a"].iloc[0] == f"a in {db}"
    everything = table(db, (), other, metrics=["log_likelihood"]).table
    assert everything["difference"].tolist() == pytest.approx([(A - B).mean(), 0.0])


def test_another_version_of_a_task_is_not_compared(db, tmp_path):
    database(db, both() + both(task="yacht"))
    new = [TASKS[0], TaskRecord("yacht", "2+b", "regression", ("uci",), "", 1)]
    other = database(tmp_path / "other.db", both() + both(task="yacht", task_version="2+b"), new)
    found = table(db, ("a",), other, metrics=["rmse"])
    assert found.table["task"].tolist() == ["wine"]
    assert found.notes == (f"yacht is version 1+a of a in {db} and 2+b of a in {other}: not compared.",)


@pytest.mark.parametrize(("methods", "options", "sentence"), [
    (("a",), {}, "Name two methods to compare, not 1; or another database by --against."),
    (("a", "b", "c"), {}, "Name two methods to compare, not 3"),
    (("a", "a"), {}, "'a' is named twice"),
    (("a", "bb"), {}, r"No results of method 'bb'\. Did you mean b\?"),
    (("a", "b"), {"tasks": ["wien"]}, r"No results of task 'wien'\. Did you mean wine\?"),
    (("a", "b"), {"metrics": ["rms"]}, r"No results of metric 'rms'\. Did you mean rmse\?"),
    (("a", "b"), {"metrics": ["epistemic_std"]}, "neither more nor less is better"),
    (("a", "b"), {"budget": "quick"}, "No results of budget 'quick'"),
    (("a", "b"), {"rule": "gap"}, "No results of split rule 'gap'"),
    (("a", "b"), {"evaluation": "kmnist"}, "on 'kmnist'"),
    (("a", "c"), {}, "No results of method 'c'"),
])  # fmt: skip
def test_bad_input_is_one_sentence(db, methods, options, sentence):
    database(db, both())
    with pytest.raises(UserError, match=sentence):
        table(db, methods, **options)


def test_as_text(db):
    found = table(database(db, both() + both(A + 1, B, task="yacht"))).table
    header, *rows = columns(found)
    assert {len(row) for row in rows} == {len(header)}
    assert any("+" in row[header.index("difference")] for row in rows)
    assert len(as_markdown(found).strip().splitlines()) == 4 + len(found)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(as_csv(found)))[["metric", "difference", "wins"]],
                                  found[["metric", "difference", "wins"]])  # fmt: skip
    read = json.loads(as_json(found))
    assert [row["wins"] for row in read] == found["wins"].tolist()
    assert read[-1]["difference"] is None  # of all tasks, in units of their own
