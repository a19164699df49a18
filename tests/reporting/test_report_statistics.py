import numpy as np
import pandas as pd
import pytest

from bnnbench.reporting.comparison import comparison
from bnnbench.reporting.statistics import size_ratio

# a and b take turns on ten folds, c loses all of them by far
TEN = {"a": [1.0, 1.2, 1.1, 1.0, 1.1, 1.2, 1.0, 1.1, 1.2, 1.0], "b": [1.1, 1.1, 1.2, 1.0, 1.2, 1.1, 1.1, 1.0, 1.3, 0.9]}
TEN["c"] = [3.0, 3.3, 3.1, 3.2, 3.0, 3.1, 3.3, 3.2, 3.0, 3.1]


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


def test_ratio_of_known_and_estimated_rules():
    sizes = pd.DataFrame({"evaluation": ["test", "train", "validation"], "n": [100, 810, 90]})
    assert size_ratio(sizes, "10fold") == size_ratio(sizes, "gal") == 1 / 9
    assert size_ratio(sizes, "gap") == 1 / 2
    assert size_ratio(sizes, "mine") == pytest.approx(1 / 9)
    capped = pd.DataFrame({"evaluation": ["test", "train", "validation"], "n": [1000, 2000, 900]})
    assert size_ratio(capped, "mine") == pytest.approx(1 / 9)


def test_means_errors_and_bold():
    table = comparison(frame(TEN), "rmse", better=-1)
    a, b, c = (table.entries[m, "housing"] for m in "abc")
    assert (a.mean, a.se, a.n) == (pytest.approx(1.09), pytest.approx(np.std(TEN["a"], ddof=1) / np.sqrt(10)), 10)
    assert (a.median, a.skewed) == (pytest.approx(1.1), False)
    assert (a.best, b.best, c.best) == (True, True, False)
    assert table.better == -1
    assert table.splits == {"housing": 10}


def test_direction():
    table = comparison(frame(TEN, "log_likelihood"), "log_likelihood", better=1)
    assert [r for r in "abc" if table.entries[r, "housing"].best] == ["c"]
    assert not any(e.best for e in comparison(frame(TEN), "rmse", better=0).entries.values())


def test_seeds_are_averaged_within_a_split():
    scores = pd.concat([frame({"a": [1.0, 2.0]}), frame({"a": [3.0, 4.0]}, seed=1)])
    entry = comparison(scores, "rmse", better=-1).entries["a", "housing"]
    assert (entry.mean, entry.se, entry.n) == (2.5, pytest.approx(0.5), 2)


def test_one_split_takes_the_error_over_test_points():
    """Unpaired: 2 % of an error of 0.3 is chance, ten errors are none; without errors only the best is bold."""
    scores = frame({"a": [1.0], "b": [1.006], "c": [5.0]})
    table = comparison(scores, "rmse", better=-1)
    assert table.entries["a", "housing"].se == 0.3
    assert [r for r in "abc" if table.entries[r, "housing"].best] == ["a", "b"]
    assert (table.paired, table.unpaired) == ({"housing": ()}, {"housing": ("b", "c")})
    bare = comparison(scores.assign(stderr=np.nan), "rmse", better=-1)
    assert [r for r in "abc" if bare.entries[r, "housing"].best] == ["a"]


def test_one_split_is_compared_over_blocks_of_points_where_both_have_them():
    """b is 0.02 worse in every block, which no unpaired error of 0.3 could tell; c is worse and better in turn."""
    rng = np.random.default_rng(0)
    a = rng.normal(1.0, 1.0, 50)
    near = {"b": a + 0.02 + rng.normal(0, 0.01, 50), "c": a + rng.normal(0, 0.05, 50), "a": a}
    scores = frame({"a": [1.0], "b": [1.02], "c": [1.001], "d": [1.01]})
    blocks = {(row, "housing"): {"rmse": values} for row, values in near.items()}
    table = comparison(scores, "rmse", better=-1, blocks=blocks)
    assert {r: table.entries[r, "housing"].best for r in "abcd"} == {"a": True, "b": False, "c": True, "d": True}
    assert (table.paired, table.unpaired) == ({"housing": ("b", "c")}, {"housing": ("d",)})
    other = comparison(scores, "rmse", better=-1, blocks={("b", "housing"): {"rmse": near["b"]}})
    assert other.unpaired == {"housing": ("b", "c", "d")}, "the best has no blocks"


def test_seeds_must_tell_methods_apart_too():
    """Ten errors over points, but the seeds of b reach from the best to far behind: one more might be better."""
    rng = np.random.default_rng(1)
    seeds = [
        {"a": [1 + rng.normal(0, 0.01)], "b": [1 + 8 * (i % 2)], "c": [60 + rng.normal(0, 0.01)]} for i in range(8)
    ]
    table = comparison(pd.concat([frame(v, seed=i, stderr=0.01) for i, v in enumerate(seeds)]), "rmse", better=-1)
    assert {r: table.entries[r, "housing"].best for r in "abc"} == {"a": True, "b": True, "c": False}


def test_seeds_on_one_split_add_their_own_error():
    """Points and seeds in quadrature; where points give none, as on a grid, the seeds' alone."""
    values = [1.0, 1.4, 1.8]
    scores = pd.concat([frame({"a": [value]}, seed=i) for i, value in enumerate(values)])
    entry = comparison(scores, "rmse", better=-1).entries["a", "housing"]
    assert entry.mean == pytest.approx(1.4)
    assert entry.se == pytest.approx(np.sqrt(0.3**2 + 0.4**2 / 3))
    on_a_grid = comparison(scores.assign(stderr=np.nan), "rmse", better=-1).entries["a", "housing"]
    assert on_a_grid.se == pytest.approx(0.4 / np.sqrt(3))


@pytest.mark.parametrize("short", [[0.1, None, 0.1], [0.1, 0.1]], ids=["diverged", "missing"])
def test_survivors_do_not_compete(short):
    table = comparison(frame({"a": [1.0, 1.2, 1.1], "b": short}), "rmse", better=-1)
    a, b = table.entries["a", "housing"], table.entries["b", "housing"]
    assert (a.best, a.complete) == (True, True)
    assert (b.best, b.complete, b.n, b.mean) == (False, False, 2, pytest.approx(0.1))


def test_lost_seed_is_incomplete():
    scores = pd.concat([frame({"a": [1.0, 2.0]}), frame({"a": [3.0, None]}, seed=1)])
    assert not comparison(scores, "rmse", better=-1).entries["a", "housing"].complete


def test_a_row_without_any_score_is_an_empty_entry():
    entry = comparison(frame({"a": [1.0, 2.0], "b": [None, None]}), "rmse", better=-1).entries["b", "housing"]
    assert (entry.n, entry.complete, entry.best) == (0, False, False)
    assert np.isnan(entry.mean)


def test_infinite_scores_are_shown_and_never_best():
    table = comparison(frame({"a": [1.0, 2.0], "b": [-np.inf, 3.0]}, "log_likelihood"), "log_likelihood", better=1)
    assert table.entries["b", "housing"].mean == -np.inf
    assert (table.entries["a", "housing"].best, table.entries["b", "housing"].best) == (True, False)


def test_who_is_unconverged_a_baseline_or_behind_one_does_not_compete():
    values = {"unconverged": [1.0, 1.0], "constant": [1.1, 1.1], "behind": [0.1, 3.0], "able": [1.05, 1.08]}
    scores = frame(values)
    scores["status"] = np.where(scores["method"] == "unconverged", "unconverged", "ok")
    scores["baseline"] = scores["method"] == "constant"
    table = comparison(scores, "rmse", better=-1)
    assert [r for r in values if table.entries[r, "housing"].best] == ["able"]
    assert table.baselines == ("constant",)
    alone = comparison(scores[scores["method"] != "able"], "rmse", better=-1)
    assert not any(e.best for e in alone.entries.values())


def test_splits_worse_than_the_baseline_are_counted():
    values = {"constant": [2.0, 2.0, None], "map": [1.0, 5.0, 1.0], "sgld": [np.inf, np.nan, 9.0], "equal": [2.0, 2.0]}
    scores = frame(values)
    scores["baseline"] = scores["method"] == "constant"
    found = comparison(scores, "rmse", better=-1).entries
    counts = {row: (found[row, "housing"].worse, found[row, "housing"].judged) for row in values}
    assert counts == {"constant": (0, 0), "map": (1, 2), "sgld": (2, 2), "equal": (0, 2)}
    calibration = scores.assign(metric="ece")
    assert not any(e.worse for e in comparison(calibration, "ece", better=-1).entries.values()), (
        "a constant is calibrated"
    )


def test_an_explosion_neither_ties_nor_hides_its_median():
    """The cell of csgmcmc on energy: ten folds lost, the mean 6.6e12. The corrected t-test called it a tie."""
    lost = [1.55, 2.52, 1.42, 2.119817e11, 6.549987e13, 584.64, 1.85, 2.93, 19.40, 76.32]
    won = [0.37, 0.38, 0.41, 0.32, 0.36, 0.36, 0.40, 0.45, 0.48, 0.52]
    near = [0.40, 0.38, 0.55, 0.35, 0.38, 0.41, 0.42, 0.44, 0.42, 0.52]
    others = {f"m{i}": list(np.array(won) + 0.1 * i + 0.02 * np.sin(7 * i + np.arange(10))) for i in range(1, 20)}
    table = comparison(frame({"won": won, "near": near, "lost": lost, **others}), "rmse", better=-1)
    entry = table.entries["lost", "housing"]
    assert not entry.best
    assert entry.skewed
    assert entry.median == pytest.approx(np.median(lost))
    assert [r for r in table.rows if table.entries[r, "housing"].best] == ["won", "near"]


@pytest.mark.parametrize(
    "other", [{"budget": "quick"}, {"task_version": "2"}, {"method_version": 2}], ids=["budget", "task", "method"]
)
def test_incomparable_scores_are_refused(other):
    same = {"budget": "full", "task_version": "1", "method_version": 1}
    scores = pd.concat([frame({"a": [1.0, 2.0]}, **same), frame({"a": [1.0, 2.0]}, **(same | other))])
    with pytest.raises(ValueError, match="not comparable"):
        comparison(scores, "rmse", better=-1)
