"""The stepwise test on aligned ranks against independent oracles."""

import math

import numpy as np
import pytest
from scipy import stats

from bnnbench.reporting.separable import (
    ALPHA,
    EXACT,
    GROWTH,
    _distances,
    inseparable,
    null_distribution,
    ranked,
    simulated,
)


def test_ranks_of_ties_are_those_of_scipy():
    values = np.random.default_rng(0).integers(0, 6, (20, 30)).astype(float)
    assert (ranked(values) == stats.rankdata(values, axis=1)).all()


def test_two_methods_are_compared_by_their_signed_ranks():
    """T / sqrt(2) is then the t statistic of Wilcoxon's signed ranks, each less a half."""
    d = np.random.default_rng(1).normal(0.4, 1, 10)
    scores = np.stack([np.zeros(10), d])
    signed = np.sign(d) * (stats.rankdata(np.abs(d)) - 0.5)
    expected = stats.ttest_1samp(signed, 0).statistic
    assert _distances(scores[None], np.array([0]))[0, 1] / np.sqrt(2) == pytest.approx(max(0, expected))


def test_critical_value_of_two_is_wilcoxons_and_of_several_tukeys():
    """Independent splits: the exact quantile of signed ranks; on many splits that of the studentised range."""
    ranks = np.arange(1, 11) - 0.5
    signs = np.array(np.meshgrid(*[[-1, 1]] * 10)).reshape(10, -1).T * ranks
    t = np.abs(signs.mean(1)) / (signs.std(1, ddof=1) / np.sqrt(10))
    level = (t > null_distribution(2, 10, 0.0)[0] / np.sqrt(2) + 1e-9).mean()
    assert level == pytest.approx(ALPHA, abs=0.012)
    for m in (3, 8):
        assert null_distribution(m, 60, 0.0)[0] == pytest.approx(
            stats.studentized_range.ppf(1 - ALPHA, m, 1000), rel=0.06
        )


def test_correlated_splits_widen_as_nadeau_and_bengio_say():
    """Over two methods: sqrt((1/k + ratio) / (1/k)) times the critical value of independent splits."""
    wider = null_distribution(2, 20, 1 / 9)[0] / null_distribution(2, 20, 0.0)[0]
    assert wider == pytest.approx(np.sqrt(1 + 20 / 9), rel=0.12)


def test_level_and_what_the_corrected_t_test_does_there():
    """24 equal methods on ten correlated folds, the best chosen: at most 5 % of columns (400: standard error 1.1 %).

    Pairwise corrected t-tests at 5 % each, as reports used before, err in most columns.
    """
    rng, columns, alarms, pairwise = np.random.default_rng(3), 400, 0, 0
    for _ in range(columns):
        scores = np.sqrt(0.1) * rng.normal(size=(24, 1)) + np.sqrt(0.9) * rng.normal(size=(24, 10))
        best = int(scores.mean(1).argmin())
        alarms += not inseparable(scores, best, 1 / 9).all()
        d = np.delete(scores, best, 0) - scores[best]
        t = d.mean(1) / np.sqrt((1 / 10 + 1 / 9) * d.var(1, ddof=1))
        pairwise += (2 * stats.t.sf(np.abs(t), 9) < 0.05).any()
    assert alarms / columns <= ALPHA + 3 * 0.011
    assert pairwise / columns > 0.5


@pytest.mark.parametrize("size", [1.0, 1e3, 1e12, 1e300])
def test_the_size_of_an_explosion_changes_nothing(size):
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(8, 10)) + np.arange(8)[:, None]
    scores[7, ::2] += 10 * size
    with np.errstate(over="ignore"):
        assert list(inseparable(scores, 0, 1 / 9)) == list(inseparable(np.minimum(scores, 100.0), 0, 1 / 9))


def test_rounding_makes_no_winner():
    """Two methods that predict the same differ in the eighth digit, always in one direction."""
    scores = np.random.default_rng(5).uniform(1, 2, 10)
    assert inseparable(np.stack([scores, scores * (1 + 1e-8)]), 0, 1 / 9).all()
    assert not inseparable(np.stack([scores, scores * (1 + 1e-3)]), 0, 1 / 9).all()


@pytest.mark.parametrize(("k", "tied"), [(1, True), (2, True), (3, True), (10, False)])
def test_a_constant_difference_tells_two_methods_apart_on_enough_splits(k, tied):
    assert inseparable(np.array([[0.0] * k, [5.0] * k]), 0, 1 / 9).all() == tied


def test_of_many_rows_a_few_numbers_are_simulated_and_none_is_too_small():
    numbers = {simulated(m) for m in range(2, 1001)}
    assert len(numbers) < EXACT + math.log(1000 / EXACT, GROWTH) + 1
    assert all(m <= simulated(m) <= m * GROWTH + 1 for m in range(2, 1001))
    assert all(simulated(m) == m for m in range(2, EXACT + 1))
    assert all(simulated(m) == m for m in numbers)
    exact, careful = (null_distribution(m, 10, 1 / 9)[0] for m in (54, simulated(54)))
    assert exact == pytest.approx(careful, rel=0.03)
