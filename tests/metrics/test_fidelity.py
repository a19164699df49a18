"""Distances to HMC's predictive against closed forms, adaptive integration and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import norm, wasserstein_distance

from bnnbench.metrics import fidelity, score
from bnnbench.metrics.fidelity import wasserstein
from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive

NAMES = ["w1_to_hmc", "mean_gap", "log_sd_ratio", "log_epistemic_ratio"]


def mixture(terms, n, seed=0, low=0.2, high=1.0):
    rng = np.random.default_rng(seed)
    return GaussianPredictive(
        torch.tensor(rng.normal(size=(terms, n))), torch.tensor(rng.uniform(low, high, (terms, n)))
    )


def values(p, reference):
    return {s.metric: s.value for s in score(p, None, None, "regression", reference=reference, only=NAMES)}


def test_single_terms_against_closed_forms():
    m, s = torch.tensor([[0.0, 1.0, -30.0]]).double(), torch.tensor([[1.0, 0.5, 2.0]]).double()
    shifted = wasserstein(GaussianPredictive(m, s), GaussianPredictive(m + 0.7, s))
    torch.testing.assert_close(shifted, torch.full((3,), 0.7).double(), rtol=1e-3, atol=0)
    # Of two normals of the same mean, E|X - Y| under the optimal (monotone) coupling is |s - t| E|Z|.
    wider = wasserstein(GaussianPredictive(m, s), GaussianPredictive(m, 3 * s))
    torch.testing.assert_close(wider, 2 * s[0] * math.sqrt(2 / math.pi), rtol=1e-3, atol=0)
    assert wasserstein(GaussianPredictive(m, s), GaussianPredictive(m, s)).abs().max() == 0


@pytest.mark.parametrize("low", [0.001, 0.2])
@pytest.mark.parametrize(("terms", "others"), [(1, 8), (5, 3), (3, 60)])
def test_mixtures_against_adaptive_integration(terms, others, low):
    p, q = mixture(terms, 4, 1, low), mixture(others, 4, 2, low)
    for i, got in enumerate(wasserstein(p, q).tolist()):
        a, b = (GaussianPredictive(*(part[:, i].numpy() for part in both)) for both in (p, q))  # type: ignore
        points = np.sort(np.concatenate([a.mean, b.mean]))

        def gap(y, a=a, b=b):
            return abs(norm.cdf(y, a.mean, a.scale).mean() - norm.cdf(y, b.mean, b.scale).mean())

        want = quad(gap, -15, 15, limit=2000, points=points, epsabs=1e-8)[0]
        assert got == pytest.approx(want, rel=5e-3)


def test_one_wide_term_among_many_sharp_ones():
    """The mixture's far tail, of which no quantile of the terms tells, is integrated too."""
    p = GaussianPredictive(torch.zeros(400, 1).double(), torch.ones(400, 1).double())
    q = GaussianPredictive(p.mean, p.scale.index_fill(0, torch.tensor([7]), 1000.0))
    want = 999 / 400 * math.sqrt(2 / math.pi)
    assert wasserstein(p, q).item() == pytest.approx(want, rel=1e-2)


def test_against_samples():
    p, q = mixture(4, 1, 3), mixture(7, 1, 4)
    rng = np.random.default_rng(0)

    def draw(m, n=400_000):
        s = rng.integers(len(m.mean), size=n)
        return rng.normal(m.mean[s, 0].numpy(), m.scale[s, 0].numpy())

    # The distance of two samples of n is off by about 1 / sqrt(n) = 0.0016; six times that.
    assert wasserstein(p, q).item() == pytest.approx(wasserstein_distance(draw(p), draw(q)), abs=0.01)


def test_chunks_change_nothing(monkeypatch):
    p, q = mixture(3, 20, 5), mixture(6, 20, 6)
    whole = wasserstein(p, q)
    monkeypatch.setattr(fidelity, "CHUNK", 1)
    torch.testing.assert_close(wasserstein(p, q), whole, rtol=1e-14, atol=0)


def test_golden_values():
    """HMC: means -1 and 1, scales sqrt(3), so sd 2. Here: the same shifted by 1 and with all spreads halved."""
    hmc = GaussianPredictive(torch.tensor([[-1.0], [1.0]]), torch.full((2, 1), math.sqrt(3)))
    p = GaussianPredictive(1 + hmc.mean / 2, hmc.scale / 2)
    got = values(p, hmc)
    assert got["mean_gap"] == pytest.approx(0.5)
    assert got["log_sd_ratio"] == pytest.approx(-math.log(2))
    assert got["log_epistemic_ratio"] == pytest.approx(-math.log(2))
    assert got["w1_to_hmc"] >= got["mean_gap"]


@pytest.mark.parametrize("terms", [2, 5, 50])
def test_few_draws_of_the_same_posterior_have_its_width(terms):
    """Terms drawn from the law of HMC's: the ratio of variances is an F variate, the log-ratio's mean is known."""
    n, many = 4_000, 400
    rng = torch.Generator().manual_seed(terms)
    p, hmc = (GaussianPredictive(torch.randn(s, n, generator=rng).double(), torch.ones(s, n)) for s in (terms, many))
    bias = [0.5 * (digamma((s - 1) / 2) - math.log((s - 1) / 2)) for s in (terms, many)]
    (got,) = score(p, None, None, "regression", reference=hmc, only=["log_epistemic_ratio"])
    assert abs(got.value - (bias[0] - bias[1])) < 5 * got.stderr


def test_equal_predictives_and_units():
    p, q = mixture(5, 30), mixture(9, 30, 1)
    assert values(p, p) == pytest.approx(dict.fromkeys(NAMES, 0.0), abs=1e-12)
    there = GaussianPredictive(7.5 * p.mean - 20, 7.5 * p.scale), GaussianPredictive(7.5 * q.mean - 20, 7.5 * q.scale)
    assert values(*there) == pytest.approx(values(p, q))


def test_a_point_estimate_has_no_epistemic_spread():
    scores = score(mixture(1, 10), None, None, "regression", reference=mixture(9, 10, 1), only=NAMES)
    by_name = {s.metric: s for s in scores}
    assert (by_name["log_epistemic_ratio"].value, by_name["log_epistemic_ratio"].stderr) == (-math.inf, None)
    assert all(math.isfinite(by_name[name].value) and by_name[name].stderr for name in NAMES[:3])


def test_only_with_a_reference_that_fits():
    p = mixture(3, 10)
    assert not {s.metric for s in score(p, None, None, "regression")} & set(NAMES)
    with pytest.raises(ValueError, match="predicts 11 points, not 10"):
        score(p, None, None, "regression", reference=mixture(3, 11))
    with pytest.raises(TypeError, match="GaussianPredictive, got Categorical"):
        score(p, None, None, "regression", reference=CategoricalPredictive(torch.zeros(1, 10, 2)))


def test_classes_by_hand():
    """Three points and two components: total variation, agreement, and the mutual information written out."""
    own = np.array([[[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], [[0.7, 0.3], [0.9, 0.1], [0.4, 0.6]]])
    gold = np.array([[[0.6, 0.4], [0.1, 0.9], [0.3, 0.7]], [[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]])
    p, q = (CategoricalPredictive(torch.tensor(part).log()) for part in (own, gold))
    found = score(p, None, None, "classification", reference=q, only=CLASSES)
    got = {s.metric: s.value for s in found}

    def information(parts):
        mean = parts.mean(0)
        return (-(mean * np.log(mean)).sum(-1) + (parts * np.log(parts)).sum(-1).mean(0)).mean()

    assert got["tv_to_hmc"] == pytest.approx(np.abs(own.mean(0) - gold.mean(0))[:, 0].mean())
    assert got["agreement_with_hmc"] == pytest.approx(2 / 3)
    assert got["log_information_ratio"] == pytest.approx(np.log(information(own) / information(gold)))
    assert {s.metric: s.stderr is None for s in found}["log_information_ratio"]


def test_a_point_estimate_of_classes_is_infinitely_sure():
    one, many = (CategoricalPredictive(torch.randn(s, 9, 3).double().log_softmax(-1)) for s in (1, 5))
    found = score(one, None, None, "classification", reference=many, only=CLASSES)
    assert {s.metric: s.value for s in found}["log_information_ratio"] == -math.inf


CLASSES = ["tv_to_hmc", "agreement_with_hmc", "log_information_ratio"]
