import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnnbench.report.statistics import comparison, corrected_resampled_t_test, size_ratio


def frame(values, metric="rmse", n=50, **columns):
    """Scores on the test rows: {method: [value of split 0, 1, ...]}; None is a diverged cell, missing is missing."""
    base = {"task": "housing", "config": "default", "seed": 0, "budget": "full", "n": n, "stderr": 0.3} | columns
    rows = []
    for method, splits in values.items():
        for i, value in enumerate(splits):
            done = value is not None
            rows.append(
                base | {"method": method, "split": f"10fold-{i}", "value": value if done else np.nan,
                        "evaluation": "test" if done else "", "metric": metric if done else "",
                        "status": "ok" if done else "diverged"}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_t_test_by_hand():
    # mean 2, variance 1, k 3: t = 2 / sqrt((1/3 + 1/6) * 1) = 2 sqrt 2; with 2 degrees of freedom
    # p = 1 - t / sqrt(t^2 + 2) = 1 - sqrt(8 / 10)
    t, p = corrected_resampled_t_test(np.array([1.0, 2.0, 3.0]), ratio=1 / 6)
    assert t == pytest.approx(2 * np.sqrt(2))
    assert p == pytest.approx(1 - np.sqrt(0.8))


def test_t_test_without_overlap_is_the_ordinary_one():
    d = np.random.default_rng(0).normal(0.3, 1, 12)
    expected = stats.ttest_1samp(d, 0)
    assert corrected_resampled_t_test(d, 0.0) == pytest.approx((expected.statistic, expected.pvalue))


def test_t_test_of_constant_and_too_few_differences():
    assert corrected_resampled_t_test(np.zeros(5), 1 / 9) == (0.0, 1.0)
    assert corrected_resampled_t_test(np.full(5, -0.1), 1 / 9) == (-np.inf, 0.0)
    assert np.isnan(corrected_resampled_t_test(np.array([1.0]), 1 / 9)).all()
    assert np.isnan(corrected_resampled_t_test(np.array([1.0, np.inf]), 1 / 9)).all()


def test_false_alarms():
    """Ten folds correlated as Nadeau & Bengio assume, rho = n_test / n, no true difference.

    The corrected test is then exact: 5 % false alarms. 4,000 trials have a standard error of 0.35 %, so that the bounds
    are missed by chance with probability 5e-5. The ordinary test raises some 20 %.
    """
    rng = np.random.default_rng(1)
    rho, k, trials = 0.1, 10, 4000
    d = np.sqrt(rho) * rng.normal(size=(trials, 1)) + np.sqrt(1 - rho) * rng.normal(size=(trials, k))
    corrected = np.mean([corrected_resampled_t_test(row, 1 / 9)[1] < 0.05 for row in d])
    ordinary = np.mean([corrected_resampled_t_test(row, 0.0)[1] < 0.05 for row in d])
    assert 0.036 < corrected < 0.064
    assert ordinary > 0.15


def test_ratio_of_known_and_estimated_rules():
    sizes = pd.DataFrame({"evaluation": ["test", "train", "validation"], "n": [100, 810, 90]})
    assert size_ratio(sizes, "10fold") == size_ratio(sizes, "gal") == 1 / 9
    assert size_ratio(sizes, "gap") == 1 / 2
    assert size_ratio(sizes, "mine") == pytest.approx(1 / 9)
    capped = pd.DataFrame({"evaluation": ["test", "train", "validation"], "n": [1000, 2000, 900]})
    assert size_ratio(capped, "mine") == pytest.approx(1 / 9)


def test_means_errors_and_bold():
    table = comparison(frame({"a": [1.0, 1.2, 1.1], "b": [1.05, 1.15, 1.12], "c": [3.0, 3.3, 3.1]}), "rmse")
    a, b, c = (table.entries[m, "housing"] for m in "abc")
    assert (a.mean, a.se, a.n) == (pytest.approx(1.1), pytest.approx(0.1 / np.sqrt(3)), 3)
    assert (a.best, b.best, c.best) == (True, True, False)
    assert table.better == -1
    assert table.splits == {"housing": 3}


def test_direction():
    values = {"a": [1.0, 1.2, 1.1], "c": [3.0, 3.3, 3.1]}
    assert comparison(frame(values, "log_likelihood"), "log_likelihood").entries["c", "housing"].best
    assert not any(e.best for e in comparison(frame(values), "rmse", better=0).entries.values())


def test_seeds_are_averaged_within_a_split():
    scores = pd.concat([frame({"a": [1.0, 2.0]}), frame({"a": [3.0, 4.0]}, seed=1)])
    entry = comparison(scores, "rmse").entries["a", "housing"]
    assert (entry.mean, entry.se, entry.n) == (2.5, pytest.approx(0.5), 2)


def test_one_split_takes_the_error_over_test_points_and_only_the_best_is_bold():
    table = comparison(frame({"a": [1.0], "b": [1.0001]}), "rmse")
    assert (table.entries["a", "housing"].se, table.entries["a", "housing"].best) == (0.3, True)
    assert not table.entries["b", "housing"].best


def test_seeds_on_one_split_add_their_own_error():
    """Points and seeds in quadrature; where points give none, as on a grid, the seeds' alone."""
    values = [1.0, 1.4, 1.8]
    scores = pd.concat([frame({"a": [value]}, seed=i) for i, value in enumerate(values)])
    entry = comparison(scores, "rmse").entries["a", "housing"]
    assert entry.mean == pytest.approx(1.4)
    assert entry.se == pytest.approx(np.sqrt(0.3**2 + 0.4**2 / 3))
    on_a_grid = comparison(scores.assign(stderr=np.nan), "rmse").entries["a", "housing"]
    assert on_a_grid.se == pytest.approx(0.4 / np.sqrt(3))


@pytest.mark.parametrize("short", [[0.1, None, 0.1], [0.1, 0.1]], ids=["diverged", "missing"])
def test_survivors_do_not_compete(short):
    table = comparison(frame({"a": [1.0, 1.2, 1.1], "b": short}), "rmse")
    a, b = table.entries["a", "housing"], table.entries["b", "housing"]
    assert (a.best, a.complete) == (True, True)
    assert (b.best, b.complete, b.n, b.mean) == (False, False, 2, pytest.approx(0.1))


def test_lost_seed_is_incomplete():
    scores = pd.concat([frame({"a": [1.0, 2.0]}), frame({"a": [3.0, None]}, seed=1)])
    assert not comparison(scores, "rmse").entries["a", "housing"].complete


def test_a_row_without_any_score_is_an_empty_entry():
    entry = comparison(frame({"a": [1.0, 2.0], "b": [None, None]}), "rmse").entries["b", "housing"]
    assert (entry.n, entry.complete, entry.best) == (0, False, False)
    assert np.isnan(entry.mean)


def test_infinite_scores_are_shown_and_never_best():
    table = comparison(frame({"a": [1.0, 2.0], "b": [-np.inf, 3.0]}, "log_likelihood"), "log_likelihood")
    assert table.entries["b", "housing"].mean == -np.inf
    assert (table.entries["a", "housing"].best, table.entries["b", "housing"].best) == (True, False)


@pytest.mark.parametrize(
    "other", [{"budget": "quick"}, {"task_version": "2"}, {"method_version": 2}], ids=["budget", "task", "method"]
)
def test_incomparable_scores_are_refused(other):
    same = {"budget": "full", "task_version": "1", "method_version": 1}
    scores = pd.concat([frame({"a": [1.0, 2.0]}, **same), frame({"a": [1.0, 2.0]}, **(same | other))])
    with pytest.raises(ValueError, match="not comparable"):
        comparison(scores, "rmse")
