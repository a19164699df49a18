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
    truth = torch.tensor([0.0, 2.0]), torch.ones(2)
    last = score(p, None, None, "regression", truth=truth)[-1]
    assert (last.metric, last.value, last.stderr) == ("kl_to_truth", pytest.approx(1.0), None)
