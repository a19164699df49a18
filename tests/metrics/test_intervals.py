"""Quantiles, intervals and sets of classes against scikit-learn, SciPy, sampled quantiles and loops by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import mean_pinball_loss

from bnnbench.metrics import score
from bnnbench.metrics.quantiles import quantile, quantiles
from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive
from bnnbench.model.regions import Interval, LabelSet, most_probable

LEVELS = [k / 20 for k in range(1, 20)]


def predictive(terms=6, n=300, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    mean, scale = rng.normal(0, spread, (terms, n)), rng.uniform(0.05, 1.5, (terms, n))
    return GaussianPredictive(torch.tensor(mean), torch.tensor(scale)), torch.tensor(rng.normal(size=n))


def scores(p, y, kind="regression", **more):
    return {s.metric: s for s in score(p, y, None, kind, **more)}


@pytest.mark.parametrize("level", [0.005, 0.025, 0.5, 0.95])
@pytest.mark.parametrize("spread", [0.1, 5.0, 1e4])
def test_quantiles_against_scipys_cdf(level, spread):
    p, _ = predictive(spread=spread)
    got = quantile(p, level).numpy()
    # A quantile is right to the rounding of 1e4, which the narrowest component turns into 1e-10 of probability.
    np.testing.assert_allclose(norm.cdf(got, *map(np.asarray, p)).mean(0), level, rtol=0, atol=1e-15 + 1e-14 * spread)


def test_quantiles_of_one_component_and_of_modes_far_apart():
    one = GaussianPredictive(torch.tensor([[3.0, -1e8]]).double(), torch.tensor([[0.5, 1e-3]]).double())
    np.testing.assert_allclose(quantile(one, 0.9), norm.ppf(0.9, *map(np.asarray, one))[0], rtol=1e-15)
    apart = GaussianPredictive(torch.tensor([[-1e6], [1e6]]).double(), torch.full((2, 1), 1e-3).double())
    # Half of each: the quantile 0.75 is the median of the right one, and nothing lies between the two.
    assert quantile(apart, 0.75).item() == pytest.approx(1e6, rel=1e-15)
    assert quantile(apart, 0.25).item() == pytest.approx(-1e6, rel=1e-15)
    assert abs(quantile(apart, 0.5).item()) <= 1e6


def test_quantiles_against_those_of_samples():
    p, _ = predictive(n=4)
    rng = np.random.default_rng(1)
    term = rng.integers(6, size=(400_000, 4))
    draws = rng.normal(p.mean.numpy()[term, np.arange(4)], p.scale.numpy()[term, np.arange(4)])
    got = quantiles(p, (0.05, 0.5, 0.95))
    density = p.log_prob(got[0]).exp(), p.log_prob(got[1]).exp(), p.log_prob(got[2]).exp()
    for level, own, at in zip((0.05, 0.5, 0.95), got.numpy(), density, strict=True):
        error = math.sqrt(level * (1 - level) / len(draws)) / at.numpy()  # of a sample quantile
        assert (abs(np.quantile(draws, level, axis=0) - own) < 5 * error).all()


def test_pinball_against_scikit_learn():
    p, y = predictive()
    own = [quantile(p, level).numpy() for level in LEVELS]
    want = [mean_pinball_loss(y.numpy(), q, alpha=level) for q, level in zip(own, LEVELS, strict=True)]
    assert scores(p, y)["pinball"].value == pytest.approx(np.mean(want), rel=1e-12)


def test_pinball_of_a_standard_normal():
    # E over Y ~ N(0, 1) of the pinball loss of its own quantile at level t is the density there.
    want = np.mean(norm.pdf(norm.ppf(LEVELS)))
    y = torch.special.ndtri((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)
    p = GaussianPredictive(torch.zeros(1, len(y)).double(), torch.ones(1, len(y)).double())
    assert scores(p, y)["pinball"].value == pytest.approx(want, rel=2e-4)


def test_interval_coverage_and_width_by_hand():
    p, y = predictive()
    low, high = quantile(p, 0.05).tolist(), quantile(p, 0.95).tolist()
    total = 0.0
    for lower, upper, target in zip(low, high, y.tolist(), strict=True):
        total += upper - lower
        if target < lower:
            total += 2 / 0.1 * (lower - target)
        if target > upper:
            total += 2 / 0.1 * (target - upper)
    got = scores(p, y)
    inside = [lower <= target <= upper for lower, upper, target in zip(low, high, y.tolist(), strict=True)]
    assert 0.5 < np.mean(inside) < 1
    assert got["interval_score_90"].value == pytest.approx(total / len(y))
    assert got["coverage_90"].value == np.mean(inside)
    assert got["coverage_90"].stderr == pytest.approx(np.std(inside, ddof=1) / math.sqrt(len(y)))
    assert got["width_90"].value == pytest.approx(np.subtract(high, low).mean())


def test_the_true_interval_has_the_best_score():
    y = torch.special.ndtri((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000)

    def at(scale):
        p = GaussianPredictive(torch.zeros(1, 2000).double(), torch.full((1, 2000), scale).double())
        return scores(p, y)["interval_score_90"].value

    assert at(1.0) < min(at(0.9), at(1.1))


def test_intervals_that_are_given_take_the_place_of_the_predictives():
    p, y = predictive(n=3)
    y = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)
    region = Interval(
        torch.tensor([-1.0, 0.0, 1.0]).double(), torch.tensor([0.0, 3.0, 0.0]).double()
    )  # the last: empty
    got = scores(p, y, given=region, only=["coverage_90", "width_90", "interval_score_90"])
    assert got["coverage_90"].value == pytest.approx(2 / 3)
    assert got["width_90"].value == pytest.approx((1 + 3 + 0) / 3)
    assert got["interval_score_90"].value == pytest.approx((1 + 3 + 20 * 5) / 3)


def test_infinite_intervals_hold_everything():
    p, y = predictive(n=5)
    region = Interval(torch.full((5,), -math.inf).double(), torch.full((5,), math.inf).double())
    got = scores(p, y, given=region, only=["coverage_90", "width_90", "interval_score_90"])
    assert (got["coverage_90"].value, got["width_90"].value) == (1.0, math.inf)
    assert got["width_90"].stderr is None


def test_sets_of_classes_by_hand():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(7, 0.3), (3, 200))
    y, mixture = rng.integers(7, size=200), probs.mean(0)
    sets = []
    for row in mixture:
        chosen, mass = set(), 0.0
        for k in sorted(range(7), key=lambda k: -row[k]):
            if mass >= 0.9:
                break
            chosen.add(k)
            mass += row[k]
        sets.append(chosen)
    got = scores(CategoricalPredictive(torch.tensor(probs).log()), torch.tensor(y), "classification")
    assert got["set_size_90"].value == pytest.approx(np.mean([len(own) for own in sets]))
    assert got["coverage_90"].value == pytest.approx(np.mean([k in own for k, own in zip(y, sets, strict=True)]))


def test_a_set_holds_the_mass_and_the_first_of_equals():
    assert most_probable(torch.tensor([[0.95, 0.05]])).member.tolist() == [[True, False]]
    assert most_probable(torch.tensor([[0.25, 0.25, 0.25, 0.25]]), 0.5).member.tolist() == [[True, True, False, False]]
    assert LabelSet(torch.tensor([[True, False], [False, False]])).holds(torch.tensor([0, 1])).tolist() == [True, False]
