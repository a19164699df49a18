"""Histograms, quantiles and draws against SciPy, scoringrules and scikit-learn; and which metrics each allows."""

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scoringrules
import torch
from scipy.integrate import quad
from scipy.stats import norm, rv_histogram
from sklearn.metrics import mean_pinball_loss

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.evaluation import conformal
from bnnbench.evaluation.calibrations import CALIBRATIONS
from bnnbench.evaluation.fidelity import compared
from bnnbench.evaluation.figure_data import calibration_data, figure_data
from bnnbench.evaluation.kept import from_arrays, to_arrays
from bnnbench.metrics import METRICS, Context, Value, histograms, metric, score
from bnnbench.metrics.base import LEVELS, mean_value
from bnnbench.metrics.ensembles import fair_crps
from bnnbench.model import (
    BinnedPredictive,
    CategoricalPredictive,
    DensityPredictive,
    GaussianPredictive,
    QuantilePredictive,
    SamplePredictive,
)
from bnnbench.model.predictive import each
from bnnbench.tasks import TestSet

N, BINS = 40, 7
NINETY_NINE = np.arange(1, 100) / 100
OF_INTERVALS = {"interval_score_90", "coverage_90", "width_90"}
OF_QUANTILES = {"pinball", "calibration_error", "coverage_95", *OF_INTERVALS}
OF_MOMENTS = {"log_likelihood_moment", "epistemic_std", "aleatoric_std"}


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def binned(terms=3, seed=0):
    """Histograms of unequal bins, one of them empty, and targets, two of which lie outside."""
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.uniform(0.1, 1.0, (N, BINS + 1)), 1) - 2
    probs = rng.dirichlet(np.ones(BINS), (terms, N))
    probs[:, 3] = [0.2, 0.3, 0.0, 0.1, 0.1, 0.2, 0.1]
    y = rng.uniform(edges[:, 0], edges[:, -1])
    y[0], y[1], y[2] = edges[0, 0] - 0.5, edges[1, -1] + 2.0, edges[2, -1]
    return BinnedPredictive.of(tensor(edges), tensor(probs)), tensor(y)


def by_scipy(p):
    """The mixture at each point as SciPy's distribution of a histogram."""
    mass = p.probs.mean(0).numpy()
    return [rv_histogram((m, e), density=False) for m, e in zip(mass, p.edges[0].numpy(), strict=True)]


def draws(count=50, seed=0):
    rng = np.random.default_rng(seed)
    return SamplePredictive(tensor(rng.normal(3.0, 2.0, (count, N)))), tensor(rng.normal(3.0, 2.5, N))


def normal_quantiles(levels=NINETY_NINE, mean=None):
    """The quantiles of normals, and the normals themselves."""
    rng = np.random.default_rng(1)
    m, s = rng.normal(size=N), rng.uniform(0.3, 2.0, N)
    p = QuantilePredictive.of(tensor(norm.ppf(np.asarray(levels)[:, None], m, s)), tensor(levels), mean)
    return p, GaussianPredictive(tensor(m)[None], tensor(s)[None]), tensor(rng.normal(m, s))


def scores(p, y):
    return {s.metric: s.value for s in score(p, y, random.key(0), "regression")}


def test_histograms_against_scipy():
    p, y = binned()
    every = by_scipy(p)
    want = {name: [getattr(d, name)(v) for d, v in zip(every, y.numpy(), strict=True)] for name in ("pdf", "cdf")}
    want["pdf"][2] = every[2].pdf(np.nextafter(y[2].item(), -math.inf))  # SciPy's last bin is open above
    np.testing.assert_allclose(p.log_prob(y).exp(), want["pdf"], rtol=1e-12)
    np.testing.assert_allclose(histograms.cdf(p, y), want["cdf"], rtol=1e-12, atol=1e-15)
    at = (0.025, 0.05, 0.31, 0.5, 0.95, 0.975)
    np.testing.assert_allclose(histograms.quantiles(p, at), np.array([d.ppf(at) for d in every]).T, rtol=1e-10)
    mean, epistemic, aleatoric = p.moments()
    np.testing.assert_allclose(mean, [d.mean() for d in every], rtol=1e-10)
    np.testing.assert_allclose(epistemic + aleatoric, [d.var() for d in every], rtol=1e-8)
    own = [by_scipy(BinnedPredictive(p.probs[s : s + 1], p.edges)) for s in range(3)]
    np.testing.assert_allclose(epistemic, np.var([[d.mean() for d in row] for row in own], 0), rtol=1e-8)


def test_crps_of_histograms_against_its_definition():
    p, y = binned()
    want = []
    for d, edges, target in zip(by_scipy(p), p.edges[0].numpy(), y.numpy(), strict=True):
        ends = sorted({*edges, target})
        want.append(sum(quad(lambda z, d=d, t=target: (d.cdf(z) - (t <= z)) ** 2, a, b)[0] for a, b in pairwise(ends)))
    np.testing.assert_allclose(histograms.crps(p, y), want, rtol=1e-9)


def test_log_likelihood_beyond_the_bins_is_minus_infinity():
    p, y = binned()
    assert p.log_prob(y)[:2].tolist() == [-math.inf, -math.inf]
    assert scores(p, y)["log_likelihood"] == -math.inf


def test_one_bin_of_width_one_is_uniform():
    """Every score by hand: density 1, CRPS of y = 1/2 of 1/12, mean 1/2, variance 1/12."""
    p = BinnedPredictive.of(tensor([0.0, 1.0]), tensor([[[1.0]]]))
    found = scores(p, tensor([0.5]))
    assert found["log_likelihood"] == 0
    assert found["crps"] == pytest.approx(1 / 12)
    assert (found["rmse"], found["epistemic_std"]) == (0, 0)
    assert found["aleatoric_std"] == pytest.approx(math.sqrt(1 / 12))
    assert found["width_90"] == pytest.approx(0.9)


@pytest.mark.parametrize("count", [2, 3, 19, 200])
def test_fair_crps_against_scoringrules(count):
    p, y = draws(count)
    want = scoringrules.crps_ensemble(y.numpy(), p.samples.numpy(), m_axis=0, estimator="fair")
    np.testing.assert_allclose(fair_crps(p, y), want, rtol=1e-10, atol=1e-14)


def test_fair_crps_of_few_draws_is_that_of_their_distribution_on_average():
    """z of the mean over 20,000 ensembles of 3; the draws' own CRPS would be off by 0.19, 30 standard errors."""
    rng = np.random.default_rng(0)
    y = tensor(np.full(20_000, 0.7))
    found = fair_crps(SamplePredictive(tensor(rng.normal(size=(3, 20_000)))), y)
    z = (found.mean() - scoringrules.crps_normal(0.7, 0.0, 1.0)) / (found.std() / math.sqrt(20_000))
    assert abs(z) < 4  # a false alarm in 16,000


@pytest.mark.parametrize("count", [39, 40, 250])
def test_quantiles_of_draws_against_numpy(count):
    p, _ = draws(count)
    at = (0.025, 0.05, 0.5, 0.61, 0.975)
    found = p.at(at)
    assert found is not None
    np.testing.assert_allclose(found, np.quantile(p.samples.numpy(), at, axis=0, method="weibull"), rtol=1e-12)


def test_the_extremes_of_nineteen_draws_hold_nine_tenths():
    """18 of 20 exchangeable values lie between the extremes of the other 19."""
    rng = np.random.default_rng(0)
    p, y = SamplePredictive(tensor(rng.normal(size=(19, 50_000)))), tensor(rng.normal(size=50_000))
    assert scores(p, y)["coverage_90"] == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 50_000))


def test_few_draws_have_no_far_quantiles():
    everything = {"rmse", "crps", *OF_QUANTILES}
    assert set(scores(*draws(18))) == {"rmse", "crps"}
    assert set(scores(*draws(19))) == {"rmse", "crps", "pinball", *OF_INTERVALS}
    assert set(scores(*draws(38))) == {"rmse", "crps", "pinball", *OF_INTERVALS}
    assert set(scores(*draws(39))) == everything - {"calibration_error"}
    assert set(scores(*draws(99))) == everything


def test_mean_of_draws():
    p, y = draws()
    assert scores(p, y)["rmse"] == pytest.approx(math.sqrt(((p.samples.numpy().mean(0) - y.numpy()) ** 2).mean()))


def test_quantiles_of_normals_score_as_the_normals_do():
    """To rounding, by every metric that quantiles allow: an independent way to the same numbers."""
    p, gaussian, y = normal_quantiles(np.unique(np.concatenate([NINETY_NINE, [0.025, 0.975]])))
    found, want = scores(p, y), scores(gaussian, y)
    assert set(found) == OF_QUANTILES
    assert found == {name: pytest.approx(want[name], rel=1e-9) for name in found}


def test_quantiles_against_scikit_learn_and_scoringrules():
    p, _, y = normal_quantiles(LEVELS)
    found = scores(p, y)
    want = np.mean([mean_pinball_loss(y, q, alpha=a) for a, q in zip(LEVELS, p.quantiles.numpy(), strict=True)])
    assert found["pinball"] == pytest.approx(want, rel=1e-12)
    low, high = p.quantiles[0].numpy(), p.quantiles[-1].numpy()
    want = scoringrules.interval_score(y.numpy(), low, high, 0.1).mean()
    assert found["interval_score_90"] == pytest.approx(want, rel=1e-12)
    assert found["coverage_90"] == np.mean((low <= y.numpy()) & (y.numpy() <= high))


@pytest.mark.parametrize(
    ("levels", "metrics"),
    [
        ((0.5,), set()),
        ((0.05, 0.95), OF_INTERVALS),
        ((0.025, 0.5, 0.975), {"coverage_95"}),
        (LEVELS, {"pinball", *OF_INTERVALS}),
        (np.float32(LEVELS), {"pinball", *OF_INTERVALS}),
        (NINETY_NINE, {"pinball", "calibration_error", *OF_INTERVALS}),
    ],
)
def test_only_metrics_of_the_levels_given(levels, metrics):
    p, _, y = normal_quantiles(levels)
    assert set(scores(p, y)) == metrics
    assert set(scores(p._replace(centre=p.quantiles[:1]), y)) == metrics | {"rmse"}


def test_histograms_have_every_metric():
    assert set(scores(*binned())) == {"log_likelihood", "rmse", "crps", *OF_MOMENTS, *OF_QUANTILES}


FORMS = [binned()[0], draws()[0], normal_quantiles()[0], normal_quantiles(mean=torch.zeros(N))[0]]


@pytest.mark.parametrize("p", FORMS, ids=lambda p: type(p).__name__)
def test_metrics_of_mixtures_alone_are_left_out(p):
    """What compares with a reference, and any metric of another package that does not say what it reads."""
    gaussian = normal_quantiles()[1]
    assert score(p, None, None, "regression", reference=gaussian, only=["w1_to_hmc", "mean_gap"]) == []
    assert len(score(gaussian, None, None, "regression", reference=gaussian, only=["w1_to_hmc", "mean_gap"])) == 2


@pytest.mark.parametrize("p", FORMS, ids=lambda p: type(p).__name__)
def test_code_that_selects_rows_needs_to_know_no_kind(p):
    """Scores of two halves of the rows average to the score of all, for a mean over points."""
    y = tensor(np.linspace(-1, 1, N))
    whole = {s.metric: s.value for s in score(p, y, None, "regression")}
    parts = [each(lambda t, own=own: t[:, own], p) for own in (slice(0, 20), slice(20, N))]
    halves = [
        {s.metric: s.value for s in score(half, t, None, "regression")}
        for half, t in zip(parts, y.split(20), strict=True)
    ]
    assert halves[0].keys() == whole.keys()
    assert np.mean([half["coverage_90"] for half in halves]) == pytest.approx(whole["coverage_90"])


@pytest.mark.parametrize("p", FORMS, ids=lambda p: type(p).__name__)
def test_a_nan_is_no_score(p):
    y = tensor(np.zeros(N))
    broken = each(lambda t: t.clone(), p)
    broken[0].view(-1)[5] = math.nan
    found = score(broken, y, None, "regression")
    assert found
    assert all(math.isnan(s.value) for s in found)


@pytest.mark.parametrize("p", [*FORMS, normal_quantiles()[1]], ids=lambda p: type(p).__name__)
def test_what_is_kept_is_what_was_given(p):
    arrays = to_arrays("test", p, np.zeros(N))
    found = from_arrays("test", arrays)
    assert type(found) is type(p)
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(found, p, strict=True))
    assert from_arrays("grid", arrays) is None


def test_kinds_keep_arrays_of_different_names():
    """Else one could be read as another."""
    kinds = (GaussianPredictive, CategoricalPredictive, DensityPredictive, BinnedPredictive, QuantilePredictive)
    fields = [set(kind._fields) for kind in (*kinds, SamplePredictive)]
    assert sum(map(len, fields)) == len(set.union(*fields))


@pytest.mark.parametrize("p", FORMS, ids=lambda p: type(p).__name__)
def test_forms_are_left_out_of_what_compares_posteriors(p):
    y, gold = tensor(np.zeros(N)), to_arrays("test", normal_quantiles()[1], None)
    assert compared(to_arrays("test", p, None), gold) == []
    assert compared(gold, gold) != []
    assert CALIBRATIONS["temperature"](p, y, p, random.key(0)) is None


def test_conformal_intervals_of_quantiles_are_those_of_the_normals():
    p, gaussian, y = normal_quantiles((0.05, 0.95))
    found = [CALIBRATIONS["conformal"](own, y, own, random.key(0)) for own in (p, gaussian)]
    assert found[0].fitted.value == pytest.approx(found[1].fitted.value, rel=1e-9)
    np.testing.assert_allclose(found[0].given.low, found[1].given.low, rtol=1e-9)
    few = normal_quantiles((0.25, 0.75))[0]
    assert conformal.regions(few, y, few, random.key(0)) is None


def test_calibration_curve_of_quantiles_is_that_of_the_normals():
    p, gaussian, y = normal_quantiles()
    found, want = (calibration_data(own, y)["pit_ecdf"]["ecdf"] for own in (p, gaussian))
    np.testing.assert_array_equal(found, want)
    assert calibration_data(normal_quantiles((0.5,))[0], y) == {}


@pytest.mark.parametrize("p", FORMS, ids=lambda p: type(p).__name__)
def test_summaries_have_one_number_a_point(p):
    found = p.summary()
    assert found
    assert all(value.shape == (N,) for value in found.values())


@pytest.mark.parametrize("p", FORMS, ids=lambda p: type(p).__name__)
def test_figures_of_forms_are_their_calibration_alone(p):
    """Of a method that predicts in such a form: no bands, and nothing on the training rows."""
    fitted: Any = SimpleNamespace(pack=SimpleNamespace(cells=[SimpleNamespace(index=1)]))
    rows = TestSet(np.zeros((N, 1)), np.zeros(N))
    known = {"pit_ecdf"} if "calibration_error" in scores(p, tensor(rows.y)) else set()
    assert set(figure_data(fitted, 0, "test", p, rows)) == known
    assert figure_data(fitted, 0, "train", p, rows) == {}
    assert figure_data(fitted, 0, "grid", p, TestSet(np.zeros((N, 1)), None)) == {}


def test_a_metric_reads_what_predictives_have():
    with pytest.raises(UserError, match="it reads nothing, which no predictive has"):
        metric("odd", kinds=("regression",), better=0, unit="", summary="odd", reads=("nothing",))(lambda c: Value(0.0))


def test_a_metric_that_does_not_say_what_it_reads_is_for_mixtures(monkeypatch):
    METRICS.discover()
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    @metric("mae", kinds=("regression",), better=-1, unit="target", summary="mean absolute error")
    def mae(c: Context) -> Value:
        return mean_value((c.targets - c.gaussian.mean.mean(0)).abs())

    assert "mae" in scores(normal_quantiles()[1], tensor(np.zeros(N)))
    assert all("mae" not in scores(p, tensor(np.zeros(N))) for p in FORMS)
