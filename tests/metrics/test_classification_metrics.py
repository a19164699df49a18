"""Classification metrics against hand-computed values, scikit-learn and torchmetrics."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from bnnbench.metrics import score
from bnnbench.model.predictive import CategoricalPredictive


def predictive(terms=5, n=400, classes=4, seed=0, spread=2.0):
    rng = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(terms, n, classes, generator=rng, dtype=torch.float64)
    logits += spread * torch.randn(n, classes, generator=rng, dtype=torch.float64)
    return CategoricalPredictive(torch.log_softmax(logits, -1)), torch.randint(classes, (n,), generator=rng)


def scores(p, y):
    return {s.metric: s for s in score(p, y, None, "classification")}


def values(p, y):
    return {name: s.value for name, s in scores(p, y).items()}


def from_probs(probs, y):
    return CategoricalPredictive(torch.tensor(probs, dtype=torch.float64).log()), torch.tensor(y)


def test_golden_values_of_one_point_and_two_terms():
    got = values(*from_probs([[[0.9, 0.1]], [[0.5, 0.5]]], [1]))  # the mixture is (0.7, 0.3)
    entropy = lambda *p: -sum(q * math.log(q) for q in p)  # noqa: E731
    assert got["log_likelihood"] == pytest.approx(math.log(0.3))
    assert got["error"] == 1
    assert got["brier"] == pytest.approx(0.7**2 + 0.7**2)
    assert got["ece"] == pytest.approx(0.7)
    assert got["entropy_total"] == pytest.approx(entropy(0.7, 0.3))
    assert got["entropy_aleatoric"] == pytest.approx((entropy(0.9, 0.1) + math.log(2)) / 2)
    assert got["entropy_epistemic"] == pytest.approx(entropy(0.7, 0.3) - (entropy(0.9, 0.1) + math.log(2)) / 2)
    assert got["kwon_aleatoric"] == pytest.approx((2 * 0.9 * 0.1 + 2 * 0.25) / 2)
    assert got["kwon_epistemic"] == pytest.approx(2 * 0.2**2)


def test_against_scikit_learn_and_numpy():
    p, y = predictive()
    got, probs = values(p, y), p.log_probs.exp().mean(0).numpy()
    assert got["log_likelihood"] == pytest.approx(-log_loss(y.numpy(), probs, labels=range(4)))
    assert got["brier"] == pytest.approx(((probs - np.eye(4)[y.numpy()]) ** 2).sum(1).mean())
    assert got["error"] == pytest.approx((probs.argmax(1) != y.numpy()).mean())


def test_two_class_brier_is_twice_that_of_scikit_learn():
    from sklearn.metrics import brier_score_loss

    p, y = predictive(classes=2)
    want = 2 * brier_score_loss(y.numpy(), p.log_probs.exp().mean(0)[:, 1].numpy())
    assert values(p, y)["brier"] == pytest.approx(want)


@pytest.mark.parametrize("classes", [2, 10])
def test_ece_against_torchmetrics(classes):
    # Away from a confidence of exactly 1, for which torchmetrics 1.9 opens a sixteenth bin.
    p, y = predictive(n=2000, classes=classes)
    mixture = p.log_probs.exp().mean(0)
    want = multiclass_calibration_error(mixture, y, num_classes=classes, n_bins=15, norm="l1")
    assert values(p, y)["ece"] == pytest.approx(want.item(), abs=1e-7)


def test_ece_of_certainty():
    sure = [[[1.0, 0.0]] * 4]
    assert values(*from_probs(sure, [0, 0, 0, 0]))["ece"] == 0
    assert values(*from_probs(sure, [1, 1, 1, 1]))["ece"] == 1
    assert values(*from_probs(sure, [0, 0, 1, 1]))["ece"] == pytest.approx(0.5)


def test_certainty_shares_the_last_bin():
    # One bin: |(0 - 1) + (1 - 0.95)| / 2. A bin of its own for confidence 1 would give (1 + 0.05) / 2.
    got = values(*from_probs([[[1.0, 0.0], [0.95, 0.05]]], [1, 0]))
    assert got["ece"] == pytest.approx(0.95 / 2)


def test_bins_are_closed_above():
    # 0.6 = 9/15 belongs to (8/15, 9/15] with 0.55: |(1 - 0.6) + (0 - 0.55)| / 2.
    got = values(*from_probs([[[0.6, 0.4], [0.55, 0.45]]], [0, 1]))
    assert got["ece"] == pytest.approx(0.15 / 2)


def test_equal_members_are_the_single_model():
    p, y = predictive(1)
    one, many = values(p, y), values(CategoricalPredictive(p.log_probs.repeat(6, 1, 1)), y)
    assert many == pytest.approx(one, abs=1e-12)
    assert one["entropy_epistemic"] == one["kwon_epistemic"] == 0


def test_order_of_members_changes_nothing():
    p, y = predictive()
    assert values(CategoricalPredictive(p.log_probs[[4, 1, 3, 0, 2]]), y) == pytest.approx(values(p, y))


def test_uncertainties_add_up():
    p, y = predictive()
    got, mixture = values(p, y), p.log_probs.exp().mean(0)
    assert got["entropy_aleatoric"] + got["entropy_epistemic"] == pytest.approx(got["entropy_total"])
    gini = (1 - (mixture**2).sum(-1)).mean().item()  # trace of the mixture's own label covariance
    assert got["kwon_aleatoric"] + got["kwon_epistemic"] == pytest.approx(gini)


def test_disagreeing_certain_members_are_all_epistemic():
    got = values(*from_probs([[[1.0, 0.0]] * 3, [[0.0, 1.0]] * 3], [0, 1, 0]))
    assert got["entropy_total"] == got["entropy_epistemic"] == pytest.approx(math.log(2))
    assert got["entropy_aleatoric"] == got["kwon_aleatoric"] == 0
    assert got["kwon_epistemic"] == pytest.approx(0.5)


def test_standard_errors_against_the_bootstrap():
    # As for regression: 15 % is beyond four sigmas of a bootstrap of 400.
    p, y = predictive(n=500)
    rng, draws = np.random.default_rng(0), []
    for _ in range(400):
        rows = torch.tensor(rng.integers(500, size=500))
        draws.append(values(CategoricalPredictive(p.log_probs[:, rows]), y[rows]))
    for name, s in scores(p, y).items():
        assert s.stderr == pytest.approx(np.std([d[name] for d in draws]), rel=0.15), name
