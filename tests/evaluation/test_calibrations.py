"""Temperature scaling against closed forms and SciPy; conformal regions against loops by hand and their guarantee."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from bnnbench import random
from bnnbench.evaluation import conformal, temperature
from bnnbench.evaluation.calibrations import CALIBRATIONS
from bnnbench.model import CategoricalPredictive, GaussianPredictive

KEY = random.key(0)


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def mixture(terms=4, n=300, seed=0):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=n) + 0.3 * rng.normal(size=(terms, n))
    return GaussianPredictive(tensor(mean), tensor(rng.uniform(0.1, 0.4, (terms, n)))), tensor(rng.normal(size=n))


def classifier(terms=3, n=500, classes=5, seed=0, sharpness=3.0):
    """Too sure by a factor: labels come of the components' mean logits, divided by it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = [rng.choice(classes, p=p) for p in probs]
    given = sharpness * logits + 0.2 * rng.normal(size=(terms, n, classes))
    return CategoricalPredictive(torch.log_softmax(tensor(given), -1)), torch.tensor(y)


def test_the_stretch_of_one_normal_is_the_root_mean_square_of_its_residuals():
    """The closed form of Levi et al. 2019."""
    p, y = mixture(1)
    want = math.sqrt((((y - p.mean[0]) / p.scale[0]) ** 2).mean())
    assert temperature.stretch(p, y) == pytest.approx(want, rel=1e-6)


def test_the_stretch_of_a_mixture_against_scipy():
    p, y = mixture()
    mean, scale, t = p.mean.numpy(), p.scale.numpy(), y.numpy()
    centre = mean.mean(0)

    def loss(log_s):  # p_s(y) = (1/s) p(m + (y - m) / s)
        s = math.exp(log_s)
        return -np.mean(np.log(stats.norm.pdf(centre + (t - centre) / s, mean, scale).mean(0) / s))

    want = math.exp(optimize.minimize_scalar(loss, bounds=(-1, 4), method="bounded", options={"xatol": 1e-10}).x)
    assert 1.5 < want < 20
    assert temperature.stretch(p, y) == pytest.approx(want, rel=1e-5)


def test_a_stretched_mixture_keeps_its_mean_and_multiplies_its_spread():
    p, _ = mixture()
    before, after = p.summary(), temperature.stretched(p, 2.5).summary()
    torch.testing.assert_close(after["mean"], before["mean"])
    for part in ("epistemic_std", "aleatoric_std", "total_std"):
        torch.testing.assert_close(after[part], 2.5 * before[part])
    assert temperature.stretched(p, 1.0).scale.equal(p.scale)


def test_the_temperature_against_scipy():
    p, y = classifier()
    probs = p.log_probs.exp().mean(0).numpy()

    def loss(log_t):
        powers = probs ** math.exp(-log_t)
        return -np.mean(np.log(powers[np.arange(len(y)), y.numpy()] / powers.sum(1)))

    want = math.exp(optimize.minimize_scalar(loss, bounds=(-2, 4), method="bounded", options={"xatol": 1e-10}).x)
    assert temperature.temperature(p, y) == pytest.approx(want, rel=1e-5)


def test_the_temperature_finds_the_factor_by_which_logits_were_multiplied():
    p, y = classifier(terms=1, n=20_000, sharpness=3.0, seed=1)
    exact = CategoricalPredictive(p.log_probs)
    assert temperature.temperature(exact, y) == pytest.approx(3.0, rel=0.05)


def test_a_cooled_classifier_keeps_the_order_of_its_classes():
    p, _ = classifier()
    cooled = temperature.cooled(p, 2.0)
    assert cooled.log_probs.shape == (1, 500, 5)
    assert cooled.mixture_log_probs().argsort(-1).equal(p.mixture_log_probs().argsort(-1))
    torch.testing.assert_close(cooled.log_probs.exp().sum(-1), torch.ones(1, 500, dtype=torch.float64))
    torch.testing.assert_close(temperature.cooled(p, 1.0).log_probs[0], p.mixture_log_probs())


def test_validation_rows_without_an_error_have_the_smallest_temperature():
    p = CategoricalPredictive(tensor([[[0.8, 0.2], [0.3, 0.7]]]).log())
    assert temperature.temperature(p, torch.tensor([0, 1])) == pytest.approx(0.1, rel=1e-6)


def test_what_no_factor_can_mend_is_left_as_it_is():
    """A class of probability 0 has none at any temperature."""
    p = CategoricalPredictive(tensor([[[1.0, 0.0]]]).log())
    assert temperature.temperature(p, torch.tensor([1])) == 1.0


@pytest.mark.parametrize("n", [1, 8, 9, 19, 20, 99, 100, 1000])
def test_the_threshold_is_the_quantile_with_its_finite_sample_correction(n):
    scores = np.random.default_rng(n).normal(size=n)
    level = math.ceil((n + 1) * 9 / 10) / n
    want = np.quantile(scores, level, method="inverted_cdf") if level <= 1 else math.inf
    assert conformal.threshold(tensor(scores)) == want


def test_a_score_that_is_undefined_counts_as_the_largest():
    scores = tensor([math.nan, *range(18)])
    assert conformal.threshold(scores) == 17.0
    assert conformal.threshold(scores[:9]) == math.inf


def test_intervals_by_hand():
    (p, y), (test, _) = mixture(n=50), mixture(n=20, seed=1)
    scores = []
    for n in range(50):
        low, high = (inverse(p.mean[:, n].numpy(), p.scale[:, n].numpy(), level) for level in (0.05, 0.95))
        scores.append(max(low - float(y[n]), float(y[n]) - high))
    moved = sorted(scores)[46 - 1]  # ceil(0.9 * 51) = 46
    assert conformal.threshold(conformal.misses(p, y)) == pytest.approx(moved, abs=1e-9)
    found = conformal.interval(test, moved)
    for n in range(20):
        ends = (inverse(test.mean[:, n].numpy(), test.scale[:, n].numpy(), level) for level in (0.05, 0.95))
        assert (found.low[n] + moved, found.high[n] - moved) == pytest.approx(tuple(ends), abs=1e-9)


def inverse(mean, scale, level):
    root: Any = optimize.brentq(lambda q: stats.norm.cdf(q, mean, scale).mean() - level, -50, 50, xtol=1e-13)
    return float(root)


def test_sets_by_hand():
    p, y = classifier(n=40)
    probs = p.log_probs.exp().mean(0).numpy()
    u = random.uniform(KEY, (40, 1), torch.float64).numpy()[:, 0]
    want = np.zeros((40, 5))
    for n in range(40):
        for k in range(5):
            want[n, k] = sum(q for q in probs[n] if q > probs[n, k]) + u[n] * probs[n, k]
    np.testing.assert_allclose(conformal.masses(p, KEY), want, rtol=1e-12)
    found = conformal.label_set(p, KEY, 0.8)
    assert found.member.tolist() == (want <= 0.8).tolist()
    assert conformal.label_set(p, KEY, math.inf).member.all()
    del y


TRIALS, ROWS = 3000, 20  # sets of validation rows, and how many rows each has
EXACT = 19 / 21  # ceil(0.9 * 21) = 19: the coverage where scores are continuous
CHANCE = 4.5 * math.sqrt(EXACT * (1 - EXACT) / TRIALS)  # beyond it once in 100,000


def coverage(scores, place=None):
    """Share of trials whose last row lies below the threshold of the others."""
    own, test = scores[:, :-1], scores[:, -1]
    at = [conformal.threshold(row) if place is None else row.sort().values[place - 1] for row in own]
    return float((test <= torch.tensor(at)).double().mean())


def test_intervals_hold_nine_targets_in_ten_whatever_the_predictive_is():
    """Exchangeable rows and a predictive that is wrong in mean, scale and shape."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, TRIALS * (ROWS + 1))
    y = np.sin(3 * x) + (0.1 + x**2) * rng.standard_t(3, x.shape)
    p = GaussianPredictive(tensor([0.1 * x, x, x - 1]), tensor(np.full((3, len(x)), 0.2)))
    scores = conformal.misses(p, tensor(y)).reshape(TRIALS, ROWS + 1)
    assert (scores <= 0).double().mean() < 0.6  # of the predictive's own intervals
    assert coverage(scores) == pytest.approx(EXACT, abs=CHANCE)
    assert coverage(scores, math.ceil(0.9 * ROWS)) < 0.9 - CHANCE  # without the correction there is no guarantee
    found = conformal.interval(
        GaussianPredictive(p.mean[:, -1:], p.scale[:, -1:]), conformal.threshold(scores[-1, :-1])
    )
    assert bool(found.holds(tensor(y[-1:]))) == bool(scores[-1, -1] <= conformal.threshold(scores[-1, :-1]))


def test_sets_hold_nine_classes_in_ten_whatever_the_predictive_is():
    rng = np.random.default_rng(1)
    truth = rng.dirichlet(np.full(6, 0.4), TRIALS * (ROWS + 1))
    y = (truth.cumsum(1) > rng.uniform(size=(len(truth), 1))).argmax(1)
    wrong = np.roll(truth, 1, axis=1) ** 2 + 0.3 * truth + 1e-3
    p = CategoricalPredictive(tensor([wrong / wrong.sum(1, keepdims=True)]).log())
    scores = conformal.masses(p, KEY).gather(-1, torch.tensor(y)[:, None])[:, 0].reshape(TRIALS, ROWS + 1)
    assert coverage(scores) == pytest.approx(EXACT, abs=CHANCE)
    assert coverage(scores, math.ceil(0.9 * ROWS)) < 0.9 - CHANCE


def test_conformal_is_scored_by_its_regions_and_temperature_by_what_one_distribution_has():
    (p, y), (test, _) = mixture(), mixture(seed=1)
    found = CALIBRATIONS["conformal"](p, y, test, KEY)
    assert set(found.metrics) == {"coverage_90", "width_90", "set_size_90", "interval_score_90"}
    assert found.predictive is test
    assert found.fitted.value == conformal.threshold(conformal.misses(p, y))
    (p, y), (test, _) = classifier(), classifier(seed=1)
    assert not {"entropy_epistemic", "kwon_aleatoric"} & set(CALIBRATIONS["temperature"](p, y, test, KEY).metrics)


def test_calibrations_of_a_regression_follow_its_unit():
    (p, y), (test, _) = mixture(), mixture(seed=1)
    a, c = 250.0, -1e4
    moved = [GaussianPredictive(a * q.mean + c, a * q.scale) for q in (p, test)]
    for name, unit in (("temperature", 1.0), ("conformal", a)):
        plain, other = CALIBRATIONS[name](p, y, test, KEY), CALIBRATIONS[name](moved[0], a * y + c, moved[1], KEY)
        assert other.fitted.value == pytest.approx(unit * plain.fitted.value, rel=1e-6)
