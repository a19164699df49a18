"""KL to the truth against the closed form of two Gaussians and adaptive integration of mixtures."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm

from bnnbench.metrics import score
from bnnbench.metrics.toy import normal_kl
from bnnbench.model.predictive import GaussianPredictive
from bnnbench.model.truth import NormalTruth


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_one_term_against_the_closed_form():
    m, s, mu, sigma = tensor(0, 1, -30), tensor(1, 0.5, 2), tensor(0, 3, 5), tensor(1, 2, 0.1)
    want = (sigma / s).log() + (s**2 + (m - mu) ** 2) / (2 * sigma**2) - 0.5
    torch.testing.assert_close(normal_kl(m, s, GaussianPredictive(mu[None], sigma[None])), want)
    assert normal_kl(m, s, GaussianPredictive(m[None], s[None])).abs().max() < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_mixtures_against_adaptive_integration(seed):
    rng = np.random.default_rng(seed)
    mean, scale = rng.normal(size=5), rng.uniform(0.2, 1.0, 5)

    def integrand(y):
        log_p, log_q = norm.logpdf(y), logsumexp(norm.logpdf(y, mean, scale)) - np.log(5)
        return np.exp(log_p) * (log_p - log_q)

    want = quad(integrand, -10, 10, limit=500, points=sorted(mean), epsabs=1e-12)[0]
    got = normal_kl(tensor(0), tensor(1), GaussianPredictive(tensor(*mean)[:, None], tensor(*scale)[:, None]))
    assert got.item() == pytest.approx(want, rel=1e-8)


def test_score_is_the_mean_over_the_grid_without_standard_error():
    p = GaussianPredictive(torch.zeros(1, 2), torch.ones(1, 2))
    truth = NormalTruth(torch.tensor([0.0, 2.0]), torch.ones(2))
    kl, coverage = score(p, None, None, "regression", truth=truth, only=["kl_to_truth", "truth_coverage_95"])
    assert (kl.metric, kl.value, kl.stderr) == ("kl_to_truth", pytest.approx(1.0), None)
    reach = norm.ppf(0.975)
    want = 0.95 / 2 + (norm.cdf(reach - 2) - norm.cdf(-reach - 2)) / 2
    assert (coverage.metric, coverage.value, coverage.stderr) == ("truth_coverage_95", pytest.approx(want), None)


def test_coverage_of_the_truth_against_samples_of_it():
    rng = np.random.default_rng(1)
    mean, scale = rng.normal(size=(5, 3)), rng.uniform(0.2, 1.0, (5, 3))
    m, s = rng.normal(size=3), rng.uniform(0.5, 2.0, 3)
    p = GaussianPredictive(torch.tensor(mean), torch.tensor(scale))
    truth = NormalTruth(torch.tensor(m), torch.tensor(s))
    got = score(p, None, None, "regression", truth=truth, only=["truth_coverage_95"])[0]
    pit = norm.cdf(rng.normal(m, s, (100_000, 3))[:, None], mean, scale).mean(1)
    inside = abs(pit - 0.5) <= 0.475
    assert got.value == pytest.approx(inside.mean(), abs=5 * 0.5 / np.sqrt(inside.size))
