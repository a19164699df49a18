"""R-hat and effective size against the paper's sums written out in numpy, and chains whose answer is known."""

import math

import numpy as np
import pytest
import torch

from bnnbench.metrics import score
from bnnbench.metrics.convergence import effective_size, split_rhat
from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive

NAMES = ["rhat", "ess", "share_converged"]


def written_out(series):
    """R-hat and effective size of one series [chains, draws], by Vehtari et al. 2021, equations 1 to 4 and 10 to 13."""
    n = series.shape[1] // 2
    parts = np.concatenate([series[:, :n], series[:, -n:]])
    m = len(parts)
    means, grand = parts.mean(1), parts.mean()
    between = n / (m - 1) * sum((mean - grand) ** 2 for mean in means)
    s2 = [sum((x - mean) ** 2 for x in part) / (n - 1) for part, mean in zip(parts, means, strict=True)]
    within = sum(s2) / m
    total = (n - 1) / n * within + between / n

    def correlation(part, mean, t):
        return sum((part[: n - t] - mean) * (part[t:] - mean)) / sum((part - mean) ** 2)

    def rho(t):
        own = sum(v * correlation(p, mean, t) for v, p, mean in zip(s2, parts, means, strict=True)) / m
        return 1 - (within - own) / total

    tau, smallest = -1.0, math.inf
    for k in range(n // 2):
        pair = rho(2 * k) + rho(2 * k + 1)
        if pair <= 0:
            break
        smallest = min(smallest, pair)
        tau += 2 * smallest
    size = series.size
    return math.sqrt(total / within), size / max(tau, 1 / math.log10(size))


def autoregressive(rho, chains, draws, points, seed=0):
    """Chains of x_t = rho x_t-1 + sqrt(1 - rho^2) e_t, at rest from the first draw: [chains, draws, points]."""
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(chains, draws, points))
    x = [e[:, 0]]
    for t in range(1, draws):
        x.append(rho * x[-1] + math.sqrt(1 - rho**2) * e[:, t])
    return np.stack(x, 1)


def regression(series, scales=None):
    """A predictive with these terms' means [chains, draws, N]."""
    mean = torch.tensor(series).flatten(0, 1)
    return GaussianPredictive(mean, torch.ones_like(mean) if scales is None else torch.tensor(scales).flatten(0, 1))


def values(predictive, chains, kind="regression"):
    scores = score(predictive, None, None, kind, chains=chains, only=NAMES)
    assert all(s.stderr is None for s in scores)
    return {s.metric: s.value for s in scores}


@pytest.mark.parametrize("rho", [-0.8, -0.3, 0.0, 0.5, 0.95])
@pytest.mark.parametrize(("chains", "draws"), [(1, 100), (4, 100), (4, 51), (2, 7), (3, 4)])
def test_against_the_sums_written_out(rho, chains, draws):
    series = autoregressive(rho, chains, draws, 6)
    series[0, :, 3:] += 2.0
    want = np.array([written_out(series[..., i]) for i in range(6)])
    np.testing.assert_allclose(split_rhat(torch.tensor(series)), want[:, 0], rtol=1e-10)
    np.testing.assert_allclose(effective_size(torch.tensor(series)), want[:, 1], rtol=1e-8)
    got = values(regression(series), chains)
    assert (got["rhat"], got["ess"]) == (pytest.approx(want[:, 0].max()), pytest.approx(want[:, 1].min()))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_autoregressive_chains_have_the_known_size(rho):
    """S (1 - rho) / (1 + rho) of 4 chains of 2,000: over 20 series the mean errs by less than 10 %."""
    series = torch.tensor(autoregressive(rho, 4, 2000, 20))
    want = 8000 * (1 - rho) / (1 + rho)
    assert effective_size(series).mean().item() == pytest.approx(want, rel=0.1)
    assert split_rhat(series).max() < 1.05


def test_chains_that_swing_count_for_more_up_to_a_bound():
    sizes = effective_size(torch.tensor(autoregressive(-0.9, 4, 500, 5)))
    assert (sizes > 2000).all()
    assert (sizes <= 2000 * math.log10(2000) + 1e-6).all()


def test_chains_of_different_means_by_hand():
    """Two chains 0, 1, 0, 1 and 10, 11, 10, 11: halves of two, W = 1/2, var+ = W / 2 + 100 / 3."""
    series = np.array([[0.0, 1, 0, 1], [10, 11, 10, 11]])[..., None]
    want = math.sqrt((0.25 + 100 / 3) / 0.5)
    assert split_rhat(torch.tensor(series)).item() == pytest.approx(want)
    assert values(regression(series), 2)["rhat"] == pytest.approx(want)
    assert values(regression(series), 2)["share_converged"] == 0


def test_a_chain_that_drifts_is_seen_though_it_is_alone():
    assert split_rhat(torch.linspace(0, 1, 200).double()[None]) > 1.5


def test_one_bad_point_is_told_from_a_failure():
    series = autoregressive(0.0, 4, 200, 50)
    assert values(regression(series), 4)["share_converged"] == 1
    series[0, :, 7] += 3
    got = values(regression(series), 4)
    assert got["rhat"] > 1.3
    assert got["share_converged"] == 0.98
    assert got["ess"] < 40


def test_scales_count_for_the_share_alone():
    series, scales = autoregressive(0.0, 4, 200, 10), np.exp(autoregressive(0.0, 4, 200, 10, 1))
    scales[1, :, :5] *= 20
    got = values(regression(series, scales), 4)
    assert got["rhat"] < 1.05
    assert got["share_converged"] == 0.5


def test_what_never_moves_has_converged():
    got = values(regression(np.full((4, 7, 3), 0.1)), 4)
    assert got == {"rhat": 1.0, "ess": 28.0, "share_converged": 1.0}


def test_chains_that_stand_still_apart_have_not():
    got = values(regression(np.repeat([[[0.1]], [[0.7]]], 9, 1)), 2)
    assert got["rhat"] > 1e6
    assert got["ess"] < 3
    assert got["share_converged"] == 0


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_of_few_draws_nothing_is_said(draws):
    assert all(math.isnan(v) for v in values(regression(autoregressive(0.0, 4, draws, 5)), 4).values())


def test_a_broken_draw_gives_no_number():
    series = autoregressive(0.0, 2, 20, 5)
    series[0, 3, 2] = np.nan
    assert all(math.isnan(v) for v in values(regression(series), 2).values())


def test_classification_looks_at_every_class():
    logits = torch.tensor(autoregressive(0.0, 4, 100, 12)).unflatten(-1, (4, 3))
    fine = values(CategoricalPredictive(logits.flatten(0, 1).log_softmax(-1)), 4, "classification")
    assert fine["rhat"] < 1.1
    logits[0, :, 2, 1] += 4
    bad = values(CategoricalPredictive(logits.flatten(0, 1).log_softmax(-1)), 4, "classification")
    assert bad["rhat"] > 1.5
    assert bad["share_converged"] == 0.75


def test_only_of_chains():
    p = regression(autoregressive(0.0, 4, 10, 5))
    assert not {s.metric for s in score(p, None, None, "regression")} & set(NAMES)
    with pytest.raises(ValueError, match="40 components cannot be 3 chains"):
        values(p, 3)
