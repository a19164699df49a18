"""Out-of-distribution scores against scikit-learn, with and without ties."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from bnnbench.metrics.ood import aupr, auroc, fpr95, ood_scores
from bnnbench.model.predictive import CategoricalPredictive


def draws(n, m, ties, seed):
    rng = np.random.default_rng(seed)
    inside, outside = rng.normal(size=n), rng.normal(1.0, 1.3, m)
    if ties:
        inside, outside = inside.round(), outside.round()
    return torch.tensor(inside), torch.tensor(outside)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "m"), [(300, 200), (7, 40), (40, 3), (1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_learn(n, m, ties, seed):
    inside, outside = draws(n, m, ties, seed)
    label, both = np.repeat([0, 1], [n, m]), torch.cat([inside, outside]).numpy()
    assert auroc(inside, outside).value == pytest.approx(roc_auc_score(label, both))
    assert aupr(inside, outside).value == pytest.approx(average_precision_score(label, both))
    false, true, _ = roc_curve(label, both, drop_intermediate=False)
    assert fpr95(inside, outside).value == pytest.approx(false[true >= 0.95][0])


def test_perfect_reversed_and_useless_scores():
    low, high = torch.arange(5.0), torch.arange(5.0) + 10
    assert (auroc(low, high).value, aupr(low, high).value, fpr95(low, high).value) == (1, pytest.approx(1), 0)
    assert (auroc(high, low).value, fpr95(high, low).value) == (0, 1)
    flat = torch.zeros(5)
    assert (auroc(flat, flat).value, aupr(flat, flat).value, fpr95(flat, flat).value) == (0.5, 0.5, 1)


def test_nineteen_of_twenty_are_95_percent():
    outside, inside = torch.arange(1.0, 21.0), torch.tensor([0.5, 1.5, 2.0, 7.0])
    assert fpr95(inside, outside).value == 0.5  # the threshold is 2, which 19 of 20 reach


def test_standard_error_of_auroc_against_the_bootstrap():
    inside, outside = draws(400, 300, True, 0)
    rng = np.random.default_rng(1)
    again = [auroc(inside[rng.integers(400, size=400)], outside[rng.integers(300, size=300)]) for _ in range(400)]
    assert auroc(inside, outside).stderr == pytest.approx(np.std([a.value for a in again]), rel=0.15)
    assert auroc(inside[:1], outside).stderr is None


def test_scores_of_a_posterior():
    rng = torch.Generator().manual_seed(0)
    inside = CategoricalPredictive(torch.log_softmax(5 * torch.randn(1, 50, 3, generator=rng).repeat(4, 1, 1), -1))
    outside = CategoricalPredictive(torch.log_softmax(5 * torch.randn(4, 80, 3, generator=rng), -1))
    got = {s.metric: s.value for s in ood_scores(inside, outside)}
    assert list(got) == ["auroc_total", "auroc_epistemic", "aupr_total", "fpr95_total"]
    assert got["auroc_epistemic"] == 1  # the terms agree inside and differ outside
    assert got["auroc_total"] > 0.7


def test_a_single_model_knows_nothing_epistemic():
    p = CategoricalPredictive(torch.log_softmax(torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0)), -1))
    assert ood_scores(p, p)[1].value == pytest.approx(0.5)
