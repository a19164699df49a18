"""Trials in the report: what is to be expected of n of them, what was chosen, and defaults beside tuned."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from report_data import cell as made_cell
from report_data import fill, lost
from scipy import stats
from suite_data import SUITE_METHODS

from bnnbench.records import EvaluationRecord, Outcome, Purpose, Score, Status
from bnnbench.reporting.build import build
from bnnbench.reporting.leaderboards import leaderboard_tables
from bnnbench.reporting.page.scopes import scopes
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.trials import trial_tables
from bnnbench.reporting.tables.tuned import tuned_tables
from bnnbench.reporting.trials import Trials, expected, importance, trials_of

N, K = 6, 4
RATES = [0.01, 0.001, 0.003, 0.03, 0.1, 0.05]


@pytest.mark.parametrize("n", range(1, N + 1))
def test_the_expected_best_of_n_is_the_mean_over_all_subsets(n):
    draw = np.random.default_rng(3)
    validation, test = draw.normal(size=N), draw.normal(size=N)
    validation[2] = validation[4]  # of equal ones the first is taken
    wanted = [test[max(own, key=lambda i: (validation[i], -i))] for own in itertools.combinations(range(N), n)]
    assert expected(validation, test, n) == pytest.approx(np.mean(wanted), abs=1e-12)


def test_a_diverged_trial_is_chosen_only_where_nothing_else_was_drawn():
    merit, test = np.array([1.0, -np.inf, 2.0]), np.array([5.0, np.nan, 7.0])
    assert expected(merit, test, 1) == -math.inf
    assert expected(merit, np.array([5.0, -np.inf, 7.0]), 1) == -math.inf
    assert expected(merit, test, 2) == pytest.approx((5 + 7 + 7) / 3)


def trial(method, split, number, validation, test, **settings):
    """A finished trial; without scores one that has diverged."""
    cell = replace(
        made_cell(method=method, task="yacht", index=split), purpose=Purpose.TUNE.value, label=f"qmc-{number:02d}",
        config=json.dumps(settings),
    )  # fmt: skip
    if validation is None:
        return lost(cell, Status.DIVERGED)
    records = tuple(
        EvaluationRecord(name, 30, (Score("log_likelihood", value, 0.1), Score("rmse", 1.0, 0.1)))
        for name, value in (("validation", validation), ("test", test))
    )
    return Outcome(cell, Status.OK, evaluations=records, gradients=1000)


def result(method, label, split, value):
    """A finished cell, by the defaults or tuned; without a score one that has diverged."""
    default = label == "default"
    cell = replace(
        made_cell(method=method, task="yacht", index=split), label=label,
        purpose=(Purpose.RESULT if default else Purpose.TUNED).value,
        config=json.dumps({"lr": 0.01 if default else 0.02}),
    )  # fmt: skip
    if value is None:
        return lost(cell, Status.DIVERGED)
    record = EvaluationRecord("test", 30, (Score("log_likelihood", value, 0.1),))
    return Outcome(cell, Status.OK, evaluations=(record,))


def score(split, number):
    """Best at 0.03 on all splits but the last, where the defaults are best."""
    best = 0 if split == K - 1 else 3
    return -abs(np.log(RATES[number] / RATES[best])) - 0.01 * split


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    outcomes = [
        trial("map", split, number, score(split, number), score(split, number) - 1, lr=RATES[number], prior_scale=1.0)
        for split, number in itertools.product(range(K), range(N))
    ]
    outcomes += [
        trial("sgld", split, number, None if number == 1 else -2.0, -2.0, lr=RATES[number])
        for split, number in itertools.product(range(K), range(N))
    ]
    for method, label, gain in (("map", "default", 0.0), ("map", "tuned-6", 0.5), ("sgld", "default", 0.1),
                                ("sgld", "tuned-6", 0.2)):  # fmt: skip
        outcomes += [result(method, label, split, -split + gain) for split in range(K)]
    with fill(tmp_path_factory.mktemp("trials") / "r.db", outcomes, SUITE_METHODS) as filled:
        yield filled


def test_trials_are_read_split_by_split(store):
    by_method = {each.method: each for each in trials_of(select(store))}
    assert set(by_method) == {"map", "sgld"}
    found = by_method["map"]
    wanted = [[score(split, number) for number in range(N)] for split in range(K)]
    np.testing.assert_allclose(found.validation, wanted)
    np.testing.assert_allclose(found.test, np.array(wanted) - 1)
    assert found.fields == ["lr"]  # what is the same in all is no choice
    assert found.chosen == [(0, 3), (1, 3), (2, 3), (3, 0)]
    assert found.gradients == 1000 * N
    assert np.isnan(by_method["sgld"].validation[:, 1]).all()


def test_the_interval_of_the_best_is_that_of_the_corrected_t_test(store):
    found = next(each for each in trials_of(select(store)) if each.method == "map")
    values = found.test[range(K), [3, 3, 3, 0]]
    half = stats.t.ppf(0.975, K - 1) * np.sqrt((1 / K + 1 / 9) * values.var(ddof=1))
    np.testing.assert_allclose(found.best_of(N), (values.mean(), values.mean() - half, values.mean() + half))


def test_what_matters_is_told_from_what_does_not():
    draw = np.random.default_rng(0)
    settings = [{"lr": float(10 ** draw.uniform(-4, -1)), "noise": float(draw.uniform())} for _ in range(100)]
    scores = np.array([[-abs(np.log(each["lr"] / 0.01)) for each in settings]])
    matters = importance(
        Trials("yacht", "map", "10fold", "full", "qmc", scores, scores, scores > 0, [settings], 0.0, 1 / 9)
    )
    assert matters["lr"] > 0.9
    assert sum(matters.values()) == pytest.approx(1)


def test_flagged_trials_are_chosen_only_where_all_are(store):
    found = next(each for each in trials_of(select(store)) if each.method == "map")
    flagged = np.zeros((K, N), bool)
    flagged[0, 3] = flagged[1] = True
    assert replace(found, flagged=flagged).chosen == [(0, 5), (1, 3), (2, 3), (3, 0)]


def test_trials_that_a_split_lacks_are_left_out(tmp_path):
    outcomes = [trial("map", split, number, -1.0, -1.0, lr=RATES[number])
                for split, numbers in ((0, (0, 1, 2)), (1, (0, 1, 3))) for number in numbers]  # fmt: skip
    outcomes.append(trial("sgld", 0, 0, -1.0, -1.0, lr=0.1))
    outcomes.append(Outcome(made_cell(method="map", task="yacht"), Status.OK, evaluations=outcomes[0].evaluations))
    with fill(tmp_path / "r.db", outcomes, SUITE_METHODS) as filled:
        (found,) = trials_of(select(filled))
    assert found.test.shape == (2, 2)


def test_tables_of_trials(store):
    tables = {table.name: table for table in trial_tables(trials_of(select(store)))}
    counts, chosen = tables["trials-yacht-10fold-full-qmc"], tables["trials-yacht-10fold-full-qmc-chosen"]
    assert counts.grid.header == ("method", "default", "best of 1", "best of 2", "best of 4", "best of 6", "gradients")
    rows = dict(counts.grid.rows)
    assert rows["map"][-1][0] == "6,000"
    assert rows["sgld"][1][0].startswith("−∞")
    assert rows["sgld"][2][0].startswith("−2")
    texts = dict(chosen.grid.rows)["map"]
    assert [text for text, *_ in texts[:5]] == ["lr", "0.0300", "0.0100 to 0.0300", "1 of 4", "0 of 4"]


def test_defaults_stand_beside_tuned_and_ranks_under_both(store):
    selection = select(store)
    (section,) = [each for each in selection.sections if "yacht" in each.tasks]
    tables = {table.name: table for table in tuned_tables(selection, section)}
    gains = tables["uci-10fold-tuned-log_likelihood"].numbers
    np.testing.assert_allclose(gains.set_index("a")["difference"].loc[["map [tuned-6]", "sgld [tuned-6]"]], [0.5, 0.1])
    ranks = tables["uci-10fold-tuned-6-ranks-log_likelihood"].numbers.set_index("method")
    assert ranks.loc["map"].tolist() == [2, 1]  # behind by its defaults, ahead tuned
    assert ranks.loc["sgld"].tolist() == [1, 2]


def outcomes_of(results):
    """Of `{(method, label): score by split}`."""
    return [result(*row, split, value) for row, values in results.items() for split, value in enumerate(values)]


def tables_of(folder, results):
    """What tuning brings."""
    with fill(folder / "r.db", outcomes_of(results), SUITE_METHODS) as filled:
        selection = select(filled)
        return {table.name: table for table in tuned_tables(selection, selection.sections[0])}


def test_ranks_are_over_the_splits_that_all_were_run_on(tmp_path):
    """`map` is behind on the tuned splits 0 and 1 by its defaults, and far ahead on those that were not tuned."""
    tables = tables_of(tmp_path, {
        ("map", "default"): (-2.0, -2.0, 50.0, 50.0), ("sgld", "default"): (-1.0, -1.0, -1.0, -1.0),
        ("map", "tuned-6"): (-0.5, -0.5), ("sgld", "tuned-6"): (-1.0, -0.9),
    })  # fmt: skip
    ranks = tables["uci-10fold-tuned-6-ranks-log_likelihood"].numbers.set_index("method")
    assert ranks.loc["map"].tolist() == [2, 1]
    assert ranks.loc["sgld"].tolist() == [1, 2]


def test_no_ranks_where_no_split_was_run_by_all(tmp_path):
    outcomes = [result("map", label, 0, -1.0) for label in ("default", "tuned-6")]
    outcomes += [result("sgld", label, 1, -1.0) for label in ("default", "tuned-6")]
    with fill(tmp_path / "r.db", outcomes, SUITE_METHODS) as filled:
        selection = select(filled)
        assert {table.name for table in tuned_tables(selection, selection.sections[0])} == {
            "uci-10fold-tuned-log_likelihood"
        }


def test_leaderboards_rank_methods_by_their_defaults(tmp_path):
    """Tuned on two of four splits they would otherwise be last, and data sets without them not ranked over."""
    results = {("map", "default"): (-2.0,) * 4, ("sgld", "default"): (-1.0,) * 4}
    results |= {("map", "tuned-6"): (-0.5, -0.4), ("sgld", "tuned-6"): (-1.0, -0.9)}
    with fill(tmp_path / "r.db", outcomes_of(results), SUITE_METHODS) as filled:
        selection = select(filled)
        (scope,) = scopes(selection)
        first, *_ = leaderboard_tables(selection, scope)
    assert [row for row, _ in first.grid.rows] == ["sgld", "map"]
    assert [texts[0][0] for _, texts in first.grid.rows] == ["1.00", "2.00"]
    assert "Tuned hyperparameters are compared in tables of their own." in first.caption


def test_tuned_rows_alone_are_ranked(tmp_path):
    outcomes = [
        result(method, "tuned-6", split, -1.0 - (method == "map")) for method in ("map", "sgld") for split in range(3)
    ]
    with fill(tmp_path / "r.db", outcomes, SUITE_METHODS) as filled:
        (scope,) = scopes(select(filled))
    assert scope.competing == scope.rows == ("map [tuned-6]", "sgld [tuned-6]")


def test_no_ranks_where_a_cell_that_all_were_run_on_has_no_score(tmp_path):
    results = {row: (-1.0, -2.0) for row in itertools.product(("map", "sgld"), ("default", "tuned-6"))}
    assert set(tables_of(tmp_path, results | {("sgld", "tuned-6"): (-1.0, None)})) == {
        "uci-10fold-tuned-log_likelihood"
    }


def test_the_report_has_a_page_of_trials(store, tmp_path):
    build(store, tmp_path / "out", figures=["none"])
    assert "score against the number of trials" in (tmp_path / "out/tuning.md").read_text()
    assert "](tuning.md)" in (tmp_path / "out/index.md").read_text()
    assert "qmc-0" not in (tmp_path / "out/uci-10fold.md").read_text()
    assert (tmp_path / "out/tables/trials-yacht-10fold-full-qmc.csv").exists()


def test_trials_of_what_is_not_shown_are_left_out(store):
    assert {each.method for each in trials_of(select(store))} == {"map", "sgld"}
    assert {each.method for each in trials_of(select(store, methods=["sgld"]))} == {"sgld"}
