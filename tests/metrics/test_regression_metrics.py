"""Regression metrics against hand-computed values, scipy, and properties that any right implementation has."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from bnnbench import random
from bnnbench.metrics import score
from bnnbench.model.predictive import GaussianPredictive

KEY = random.key(3)


def predictive(terms=5, n=200, seed=0):
    rng = np.random.default_rng(seed)
    mean, scale, y = rng.normal(size=(terms, n)), rng.uniform(0.3, 1.5, (terms, n)), rng.normal(size=n)
    return GaussianPredictive(torch.tensor(mean), torch.tensor(scale)), torch.tensor(y)


def values(p, y, key=None):
    return {s.metric: s.value for s in score(p, y, key, "regression")}


def stderrs(p, y, key=None):
    return {s.metric: s.stderr for s in score(p, y, key, "regression")}


def one_point(means, scales, y):
    mean, scale = torch.tensor(means, dtype=torch.float64)[:, None], torch.tensor(scales, dtype=torch.float64)[:, None]
    return GaussianPredictive(mean, scale), torch.tensor([y], dtype=torch.float64)


def test_two_sharp_members_are_a_good_mixture_and_a_bad_gaussian():
    got = values(*one_point([-1.0, 1.0], [0.1, 0.1], 1.0))
    # log(1/2 N(0; 0, 0.1^2)): the other member, twenty scales away, adds nothing.
    assert got["log_likelihood"] == pytest.approx(math.log(0.5) - math.log(0.1) - 0.5 * math.log(2 * math.pi))
    assert got["log_likelihood"] == pytest.approx(0.69, abs=0.01)
    assert got["log_likelihood_moment"] == pytest.approx(-0.5 / 1.01 - 0.5 * math.log(2 * math.pi * 1.01))
    assert got["log_likelihood_moment"] < -1.4


def test_golden_values_of_two_points():
    p = GaussianPredictive(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([[1.0, 2.0], [1.0, 4.0]]))
    got = values(p, torch.tensor([4.0, 1.0]))
    assert got["rmse"] == pytest.approx(math.sqrt(9 / 2))
    assert got["epistemic_std"] == pytest.approx(math.sqrt(1 / 2))
    assert got["aleatoric_std"] == pytest.approx(math.sqrt((1 + 10) / 2))
    # PIT: (Phi(4) + Phi(2)) / 2 = 0.98861, and 0.5.
    assert got["coverage_95"] == 0.5
    assert got["calibration_error"] == pytest.approx(golden_calibration([0.98861, 0.5]))


def golden_calibration(pit):
    return sum(abs(sum(u <= k / 100 for u in pit) / len(pit) - k / 100) for k in range(1, 100)) / 99


def test_against_scipy_and_numpy():
    p, y = predictive()
    got, mean, scale, t = values(p, y), p.mean.numpy(), p.scale.numpy(), y.numpy()
    total = np.sqrt(mean.var(0) + (scale**2).mean(0))
    assert got["log_likelihood"] == pytest.approx(np.log(stats.norm.pdf(t, mean, scale).mean(0)).mean())
    assert got["log_likelihood_moment"] == pytest.approx(stats.norm.logpdf(t, mean.mean(0), total).mean())
    assert got["rmse"] == pytest.approx(np.sqrt(((t - mean.mean(0)) ** 2).mean()))
    pit = stats.norm.cdf(t, mean, scale).mean(0)
    assert got["calibration_error"] == pytest.approx(golden_calibration(pit.tolist()))
    assert got["coverage_95"] == np.mean(abs(pit - 0.5) <= 0.475)


def test_equal_members_are_the_single_model():
    p, y = predictive(1)
    one, many = values(p, y), values(GaussianPredictive(p.mean.repeat(7, 1), p.scale.repeat(7, 1)), y)
    assert many == pytest.approx(one, abs=1e-12)
    assert one["log_likelihood"] == pytest.approx(one["log_likelihood_moment"])
    assert one["epistemic_std"] == 0


def test_order_of_members_changes_nothing():
    p, y = predictive()
    order = [3, 0, 4, 2, 1]
    assert values(GaussianPredictive(p.mean[order], p.scale[order]), y) == pytest.approx(values(p, y))


def test_change_of_unit():
    p, y = predictive()
    sigma, shift = 7.5, -20.0
    got = values(GaussianPredictive(p.mean * sigma + shift, p.scale * sigma), y * sigma + shift, KEY)
    for name, value in values(p, y, KEY).items():
        if name.startswith("log_likelihood"):
            assert got[name] == pytest.approx(value - math.log(sigma))
        elif name in ("calibration_error", "coverage_95", "coverage_90"):
            assert got[name] == pytest.approx(value)
        else:
            assert got[name] == pytest.approx(value * sigma), name


def test_calibrated_and_degenerate_predictives():
    n = 999
    quantiles = torch.special.ndtri(torch.arange(1, n + 1, dtype=torch.float64) / (n + 1))
    ones = torch.ones(1, n, dtype=torch.float64)
    right = values(GaussianPredictive(0 * ones, ones), quantiles)
    assert right["calibration_error"] < 1e-3
    assert right["coverage_95"] == pytest.approx(0.95, abs=2e-3)
    too_high = values(GaussianPredictive(100 * ones, ones), quantiles)  # every PIT is 0
    assert too_high["calibration_error"] == pytest.approx(0.5)
    assert too_high["coverage_95"] == 0
    sharp = values(GaussianPredictive(0 * ones, 1e-9 * ones), quantiles)  # half of the PIT at 0, half at 1
    assert sharp["calibration_error"] == pytest.approx(24.5 / 99, abs=1e-3)
    wide = values(GaussianPredictive(0 * ones, 1e9 * ones), quantiles)  # every PIT near 1/2
    assert wide["calibration_error"] == pytest.approx(24.5 / 99, abs=1e-2)
    assert wide["coverage_95"] == 1


def test_standard_errors_against_the_bootstrap():
    # Standard errors of a bootstrap of 400 vary by 1 / sqrt(800) = 3.5 %; 15 % is beyond four such sigmas.
    p, y = predictive(n=500)
    shifted = GaussianPredictive(p.mean + 0.4, p.scale)  # off the diagonal: there the delta method holds
    given, rng = stderrs(shifted, y), np.random.default_rng(0)
    # Those of quantiles are plain means over points, and would take minutes here; test_intervals.py has one by hand.
    only = [name for name in given if name not in ("pinball", "interval_score_90", "coverage_90", "width_90")]
    draws = []
    for _ in range(400):
        rows = torch.tensor(rng.integers(500, size=500))
        part = GaussianPredictive(shifted.mean[:, rows], shifted.scale[:, rows])
        draws.append({s.metric: s.value for s in score(part, y[rows], None, "regression", only=only)})
    for name in only:
        assert given[name] == pytest.approx(np.std([d[name] for d in draws]), rel=0.15), name
