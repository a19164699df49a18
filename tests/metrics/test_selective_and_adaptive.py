"""AURC and calibration errors over bins of equal mass, against loops by hand."""

import math

import numpy as np
import pytest
import torch

from bnnbench.metrics import score
from bnnbench.model.predictive import CategoricalPredictive


def predictive(n=450, classes=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, n, classes, generator=rng, dtype=torch.float64)
    y = torch.distributions.Categorical(logits=logits.mean(0)).sample()
    return CategoricalPredictive(torch.log_softmax(logits, -1)), y


def values(p, y):
    return {s.metric: s.value for s in score(p, y, None, "classification")}


def from_probs(probs, y):
    return CategoricalPredictive(torch.tensor([probs], dtype=torch.float64).log()), torch.tensor(y)


def binned(score, hit, bins=15):
    """(1/N) sum_b |sum_b (hit - score)| over bins of equally many points in the order of the score."""
    order = sorted(range(len(score)), key=lambda n: score[n])
    return sum(abs(sum(hit[n] - score[n] for n in part)) for part in np.array_split(order, bins)) / len(score)


def test_adaptive_errors_by_hand():
    p, y = predictive()  # 450 = 15 bins of 30
    got, probs = values(p, y), p.log_probs.exp().mean(0).numpy()
    top = probs.argmax(1)
    assert got["ece_adaptive"] == pytest.approx(binned(probs.max(1), (top == y.numpy()).astype(float)))
    each = [binned(probs[:, k], (y.numpy() == k).astype(float)) for k in range(4)]
    assert got["ace"] == pytest.approx(np.mean(each))


def test_ace_is_the_formula_of_nixon_where_the_bins_divide_the_points():
    p, y = predictive(n=300)
    probs, total = p.log_probs.exp().mean(0).numpy(), 0.0
    for k in range(4):
        order = probs[:, k].argsort()
        for part in order.reshape(15, 20):
            total += abs((y.numpy()[part] == k).mean() - probs[part, k].mean())
    assert values(p, y)["ace"] == pytest.approx(total / (4 * 15))


def test_equal_mass_sees_what_equal_width_hides():
    # 84 sure points, all right, share a bin of equal width with 96 less sure ones, too often wrong: their gaps cancel.
    probs = [[0.95, 0.05]] * 84 + [[0.94, 0.06]] * 96
    y = [0] * 84 + [0] * 87 + [1] * 9
    got = values(*from_probs(probs, y))
    sure, other = 84 * 0.05, 96 * 0.94 - 87
    assert got["ece"] == pytest.approx((sure - other) / 180)
    assert got["ece_adaptive"] == pytest.approx((sure + other) / 180)


def test_fewer_points_than_bins():
    got = values(*from_probs([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]], [0, 1, 1]))
    assert got["ece_adaptive"] == pytest.approx((0.1 + 0.6 + 0.3) / 3)


def curve(confidence, wrong):
    """Risk at each coverage by its definition: the mean error of the i most confident points."""
    order = sorted(range(len(wrong)), key=lambda n: -confidence[n])
    return [np.mean([wrong[n] for n in order[: i + 1]]) for i in range(len(wrong))]


def test_aurc_by_hand():
    p, y = predictive()
    probs = p.log_probs.exp().mean(0).numpy()
    wrong = (probs.argmax(1) != y.numpy()).astype(float)
    assert values(p, y)["aurc"] == pytest.approx(np.mean(curve(probs.max(1), wrong)))
    got = values(*from_probs([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], [0, 1, 0, 1]))
    assert got["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)


def test_confidence_in_the_right_order_lowers_aurc_and_none_leaves_the_error():
    sure = [0.99, 0.9, 0.8, 0.7, 0.6]
    right = values(*from_probs([[c, 1 - c] for c in sure], [0, 0, 0, 0, 1]))
    wrong = values(*from_probs([[c, 1 - c] for c in sure], [1, 0, 0, 0, 0]))
    none = values(*from_probs([[0.7, 0.3]] * 5, [0, 0, 1, 0, 0]))
    assert right["error"] == wrong["error"] == none["error"] == pytest.approx(0.2)
    assert right["aurc"] < none["aurc"] < wrong["aurc"]
    assert none["aurc"] == pytest.approx(0.2)


def test_ties_are_an_average_over_their_orders():
    rng = np.random.default_rng(0)
    confidence = np.repeat([0.9, 0.8, 0.6], [2, 5, 3])
    wrong = np.array([0, 1, 0, 0, 1, 1, 0, 1, 0, 0])
    p, y = from_probs([[c, 1 - c] for c in confidence], wrong.tolist())
    draws = []
    for _ in range(4000):
        draws.append(np.mean(curve(confidence + 1e-6 * rng.uniform(size=10), wrong)))
    assert values(p, y)["aurc"] == pytest.approx(np.mean(draws), abs=float(5 * np.std(draws) / math.sqrt(4000)))


def test_the_order_of_points_changes_nothing():
    probs = [[0.5, 0.5]] * 40 + [[0.75, 0.25]] * 40
    y = [0] * 30 + [1] * 10 + [0] * 20 + [1] * 20
    plain = values(*from_probs(probs, y))
    order = np.random.default_rng(0).permutation(80)
    mixed = values(*from_probs([probs[n] for n in order], [y[n] for n in order]))
    for name in ("ece_adaptive", "ace", "aurc"):
        assert mixed[name] == pytest.approx(plain[name], abs=1e-12)
