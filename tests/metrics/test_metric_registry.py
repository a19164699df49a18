"""The contract of metrics: which apply when, in which order, and what they answer on one point."""

import math

import pytest
import torch

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.metrics import METRICS, Context, Value, metric, score
from bnnbench.metrics.base import mean_value, root_mean_value
from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive
from bnnbench.model.truth import NormalTruth

REGRESSION = ["log_likelihood", "log_likelihood_moment", "rmse", "crps", "calibration_error", "coverage_95"]
REGRESSION += ["epistemic_std", "aleatoric_std", "pinball", "interval_score_90", "coverage_90", "width_90"]
CLASSIFICATION = ["log_likelihood", "error", "ece", "brier", "entropy_total", "entropy_aleatoric"]
CLASSIFICATION += ["entropy_epistemic", "kwon_aleatoric", "kwon_epistemic", "ece_adaptive", "ace", "aurc"]
CLASSIFICATION += ["coverage_90", "set_size_90"]
UNLABELLED = {"regression": ["epistemic_std", "aleatoric_std", "width_90"]}  # what needs no targets
UNLABELLED["classification"] = [*CLASSIFICATION[4:9], "set_size_90"]


def gaussian(terms=4, n=30, seed=0):
    rng = torch.Generator().manual_seed(seed)
    mean = torch.randn(terms, n, generator=rng)
    return GaussianPredictive(mean, 0.3 + torch.rand(terms, n, generator=rng)), torch.randn(n, generator=rng)


def categorical(terms=4, n=30, classes=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    log_probs = torch.log_softmax(torch.randn(terms, n, classes, generator=rng), -1)
    return CategoricalPredictive(log_probs), torch.randint(classes, (n,), generator=rng)


def names(scores):
    return [s.metric for s in scores]


def test_scores_come_in_the_order_of_the_design():
    assert names(score(*gaussian(), random.key(0), "regression")) == REGRESSION
    assert names(score(*categorical(), random.key(0), "classification")) == CLASSIFICATION


def test_what_is_not_known_is_not_scored():
    predictive, _ = gaussian()
    truth = NormalTruth(torch.zeros(30), torch.ones(30))
    assert names(score(predictive, None, None, "regression")) == UNLABELLED["regression"]
    known = [*UNLABELLED["regression"], "kl_to_truth", "truth_coverage_95"]
    assert names(score(predictive, None, None, "regression", truth=truth)) == known
    assert names(score(categorical()[0], None, None, "classification")) == UNLABELLED["classification"]


def test_only_some_are_computed():
    predictive, y = gaussian()
    both = score(predictive, y, random.key(0), "regression", only=["crps", "rmse"])
    assert both == [s for s in score(predictive, y, random.key(0), "regression") if s.metric in ("rmse", "crps")]
    with pytest.raises(UserError, match="no metric 'rmsd'; did you mean rmse"):
        score(predictive, y, None, "regression", only=["rmsd"])


def test_unknown_kind_and_wrong_predictive_are_errors():
    with pytest.raises(ValueError, match="no metric scores tasks of kind 'regresion'"):
        score(*gaussian(), None, "regresion")
    with pytest.raises(TypeError, match="CategoricalPredictive, got"):
        score(*gaussian(), None, "classification")
    with pytest.raises(TypeError, match="GaussianPredictive, got"):
        score(*categorical(), None, "regression")


def test_a_column_of_targets_is_refused_instead_of_broadcast():
    predictive, y = gaussian()
    with pytest.raises(ValueError, match=r"shape \[30\], got \[30, 1\]"):
        score(predictive, y[:, None], None, "regression")


@pytest.mark.parametrize("make", [gaussian, categorical])
@pytest.mark.parametrize("terms", [1, 3])
def test_one_point_has_values_but_no_standard_error(make, terms):
    predictive, y = make(terms, 1)
    kind = "regression" if make is gaussian else "classification"
    scores = score(predictive, y, random.key(0), kind)
    assert all(math.isfinite(s.value) and s.stderr is None for s in scores)
    assert all(type(s.value) is float for s in scores)


def test_scores_are_computed_in_float64():
    # In float32 the square of 1e-4 vanishes beside 1e4.
    predictive = GaussianPredictive(torch.tensor([[1e4] * 2]), torch.ones(1, 2))
    y = torch.tensor([1e4, 1e4], dtype=torch.float64) + 1e-4
    assert {s.metric: s.value for s in score(predictive, y, None, "regression")}["rmse"] == pytest.approx(1e-4)


def test_infinite_scores_have_no_standard_error():
    log_probs = torch.tensor([[[0.0, -math.inf], [0.0, -math.inf]]])
    first = score(CategoricalPredictive(log_probs), torch.tensor([0, 1]), None, "classification")[0]
    assert (first.value, first.stderr) == (-math.inf, None)


def test_the_same_key_gives_the_same_scores():
    assert score(*gaussian(), random.key(1), "regression") == score(*gaussian(), random.key(1), "regression")


def test_a_metric_is_one_registered_function(monkeypatch):
    METRICS.discover()
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    @metric("mae", kinds=("regression",), better=-1, unit="target", summary="mean absolute error of the mixture mean")
    def mae(c: Context) -> Value:
        return mean_value((c.targets - c.gaussian.mean.mean(0)).abs())

    predictive, y = gaussian()
    last = score(predictive, y, random.key(0), "regression")[-1]
    assert (last.metric, METRICS.get("mae"), METRICS.groups()["regression"][-1]) == ("mae", mae, "mae")
    assert last.value == pytest.approx((y - predictive.mean.mean(0)).abs().mean().item())
    assert (mae.record().name, mae.record().better, mae.record().unit) == ("mae", -1, "target")


def test_every_definition_can_be_shown():
    for entry in METRICS:
        assert entry.better in (-1, 0, 1)
        assert entry.summary
        assert "\n" not in entry.summary


def test_standard_errors_of_means_and_root_means():
    values = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    assert mean_value(values) == Value(3.0, pytest.approx(math.sqrt(14 / 3) / 2))
    assert root_mean_value(values) == Value(math.sqrt(3), pytest.approx(math.sqrt(14 / 3) / 2 / (2 * math.sqrt(3))))
    assert root_mean_value(torch.zeros(3)) == Value(0.0, 0.0)


def test_nan_is_no_rank_no_class_and_inside_no_interval():
    # One term of one point is undefined, hence so is the mixture there and every mean over points.
    predictive, y = gaussian()
    predictive.mean[1, 7] = math.nan
    scores = score(predictive, y, None, "regression")
    assert names(scores) == REGRESSION
    assert all(math.isnan(s.value) and s.stderr is None for s in scores)
    predictive, y = categorical()
    predictive.log_probs[1, 7] = math.nan
    scores = score(predictive, y, None, "classification")
    assert names(scores) == CLASSIFICATION
    assert all(math.isnan(s.value) and s.stderr is None for s in scores)
    sound, _ = categorical(seed=1)
    for inside, outside in [(predictive, sound), (sound, predictive)]:
        scores = score(inside, None, None, "ood", outside=outside)
        assert len(scores) == 4
        assert all(math.isnan(s.value) for s in scores)
    assert all(math.isfinite(s.value) for s in score(sound, y, None, "classification", outside=predictive))
