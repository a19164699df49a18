"""CRPS of mixtures against numerical integration, another formula, another library and samples."""

from itertools import pairwise

import numpy as np
import pytest
import scoringrules
import torch
from scipy.integrate import quad
from scipy.stats import norm

from bnnbench.metrics import crps, score
from bnnbench.model.predictive import GaussianPredictive


def mixture(terms, n=300, seed=0):
    rng = np.random.default_rng(seed)
    mean, scale = rng.normal(size=(terms, n)), rng.uniform(0.1, 1.5, (terms, n))
    return GaussianPredictive(torch.tensor(mean), torch.tensor(scale)), torch.tensor(rng.normal(size=n))


def integral(mean, scale, y):
    """int (F(z) - 1{y <= z})^2 dz of one point."""

    def square(z):
        return (norm.cdf((z - mean) / scale).mean() - (y <= z)) ** 2

    ends = min(y, (mean - 10 * scale).min()), y, max(y, (mean + 10 * scale).max())
    return sum(quad(square, a, b, limit=500, epsabs=1e-11)[0] for a, b in pairwise(ends))


@pytest.mark.parametrize("terms", [1, 2, 5, 31])
def test_against_its_definition(terms):
    p, y = mixture(terms, 6, terms)
    want = [integral(*row) for row in zip(p.mean.T.numpy(), p.scale.T.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(crps.crps(p, y), want, rtol=1e-7)


def test_one_normal_against_scoringrules():
    p, y = mixture(1)
    want = scoringrules.crps_normal(y.numpy(), p.mean[0].numpy(), p.scale[0].numpy())
    np.testing.assert_allclose(crps.crps(p, y), want, rtol=1e-12)


def test_many_terms_against_scoringrules_mixture():
    p, y = mixture(100, 50)
    rng = np.random.default_rng(1)
    draws = p.mean[..., None].numpy() + p.scale[..., None].numpy() * rng.normal(size=(100, 50, 400))
    samples = draws.transpose(1, 0, 2).reshape(50, -1)
    want = scoringrules.crps_ensemble(y.numpy(), samples, estimator="pwm")
    # 40,000 draws of spread 1.3: an error of 0.007 of a point, and of 0.001 of the mean over 50.
    assert crps.crps(p, y).mean().item() == pytest.approx(want.mean(), abs=0.004)


def test_far_from_zero_no_digits_are_lost():
    p, y = mixture(5)
    far = crps.crps(GaussianPredictive(p.mean + 1e6, p.scale), y + 1e6)
    torch.testing.assert_close(far, crps.crps(p, y), rtol=0, atol=1e-8)


def test_terms_that_are_repeated_or_reordered_change_nothing():
    p, y = mixture(4)
    twice = GaussianPredictive(p.mean.repeat(2, 1).flip(0), p.scale.repeat(2, 1).flip(0))
    torch.testing.assert_close(crps.crps(twice, y), crps.crps(p, y), rtol=1e-12, atol=1e-12)


def test_chunks_and_neighbours_change_nothing(monkeypatch):
    p, y = mixture(3, 50)
    whole = crps.crps(p, y)
    monkeypatch.setattr(crps, "CHUNK", 21)
    torch.testing.assert_close(crps.crps(p, y), whole, rtol=0, atol=1e-14)
    first = crps.crps(GaussianPredictive(p.mean[:, :9], p.scale[:, :9]), y[:9])
    torch.testing.assert_close(first, whole[:9], rtol=0, atol=1e-14)


def test_registered_metric_is_the_mean_over_points():
    p, y = mixture(4)
    got = {s.metric: s for s in score(p, y, None, "regression")}["crps"]
    each = crps.crps(p, y)
    assert got.value == pytest.approx(each.mean().item())
    assert got.stderr == pytest.approx(each.std().item() / np.sqrt(300))
