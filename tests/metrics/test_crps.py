"""CRPS from samples against two closed forms and another library."""

import numpy as np
import pytest
import scoringrules
import torch
from scipy.stats import norm

from bnnbench import random
from bnnbench.metrics import crps, score
from bnnbench.model.predictive import GaussianPredictive


def mixture(terms, n=300, seed=0):
    rng = np.random.default_rng(seed)
    mean, scale = rng.normal(size=(terms, n)), rng.uniform(0.1, 1.5, (terms, n))
    return GaussianPredictive(torch.tensor(mean), torch.tensor(scale)), torch.tensor(rng.normal(size=n))


def closed_form(p, y):
    """Grimit et al. 2006, equation 5: mean_s A(y - mu_s, s_s^2) - 1/2 mean_st A(mu_s - mu_t, s_s^2 + s_t^2)."""

    def expected_distance(mu, sigma):  # A(mu, sigma^2) = E|N(mu, sigma^2)|
        return mu * (2 * norm.cdf(mu / sigma) - 1) + 2 * sigma * norm.pdf(mu / sigma)

    mean, scale, y = p.mean.numpy(), p.scale.numpy(), y.numpy()
    pairs = expected_distance(mean[:, None] - mean, np.hypot(scale[:, None], scale))
    return expected_distance(y - mean, scale).mean(0) - 0.5 * pairs.mean((0, 1))


def test_the_oracle_agrees_with_the_other_oracle():
    p, y = mixture(1)
    want = scoringrules.crps_normal(y.numpy(), p.mean[0].numpy(), p.scale[0].numpy())
    np.testing.assert_allclose(closed_form(p, y), want, rtol=1e-10)


@pytest.mark.parametrize(("terms", "samples"), [(1, 1000), (2, 1000), (7, 1000), (100, 1000), (100, 50)])
def test_mixture_against_the_closed_form(terms, samples, monkeypatch):
    # The error of the mean over 300 points is itself known from its spread: 5 sigma alarms falsely once in 10^6.
    monkeypatch.setattr(crps, "SAMPLES", samples)
    p, y = mixture(terms)
    error = crps.crps(p, y, random.key(terms)).numpy() - closed_form(p, y)
    assert abs(error.mean()) < 5 * error.std() / np.sqrt(len(y))
    assert error.std() < 1 / np.sqrt(samples)  # the mixtures' standard deviations are about 1.3


@pytest.mark.parametrize("terms", [1, 3, 10])
def test_unbiased_even_from_few_samples(terms, monkeypatch):
    # At ten samples the plain score is off by (mean distance of two draws) / 20, some thirty standard errors here.
    monkeypatch.setattr(crps, "SAMPLES", 10)
    p, y = mixture(terms, 5)
    many = GaussianPredictive(p.mean.repeat(1, 8000), p.scale.repeat(1, 8000))
    got = crps.crps(many, y.repeat(8000), random.key(0)).reshape(8000, 5).numpy()
    assert (abs(got.mean(0) - closed_form(p, y)) < 5 * got.std(0) / np.sqrt(8000)).all()


def test_sorted_estimator_against_scoringrules():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 21)), rng.normal(size=50)
    got = crps.sample_crps(torch.tensor(x), torch.tensor(y)).numpy()
    np.testing.assert_allclose(got, scoringrules.crps_ensemble(y, x, estimator="nrg"), rtol=1e-10)
    # The fair estimator differs in the pairs (i, i) alone, which it puts at the mean distance of the others.
    apart = abs(x[:, :, None] - x[:, None]).sum((1, 2)) / (21 * 20)
    got = crps.sample_crps(torch.tensor(x), torch.tensor(y), torch.tensor(apart / 21)).numpy()
    np.testing.assert_allclose(got, scoringrules.crps_ensemble(y, x, estimator="fair"), rtol=1e-9)


def test_far_from_zero_no_digits_are_lost():
    p, y = mixture(5)
    far = crps.crps(GaussianPredictive(p.mean + 1e6, p.scale), y + 1e6, random.key(0))
    torch.testing.assert_close(far, crps.crps(p, y, random.key(0)), rtol=0, atol=1e-8)


def test_chunks_and_neighbours_change_nothing(monkeypatch):
    p, y = mixture(3, 50)
    whole = crps.crps(p, y, random.key(5))
    monkeypatch.setattr(crps, "CHUNK", 7 * 1002)
    torch.testing.assert_close(crps.crps(p, y, random.key(5)), whole, rtol=0, atol=1e-14)
    first = crps.crps(GaussianPredictive(p.mean[:, :9], p.scale[:, :9]), y[:9], random.key(5))
    torch.testing.assert_close(first, whole[:9], rtol=0, atol=1e-14)


def test_registered_metric_is_the_mean_over_points():
    p, y = mixture(4)
    got = {s.metric: s for s in score(p, y, random.key(2), "regression")}["crps"]
    each = crps.crps(p, y, random.key(2))
    assert got.value == pytest.approx(each.mean().item())
    assert got.stderr == pytest.approx(each.std().item() / np.sqrt(300))
