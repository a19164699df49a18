"""The covariance decomposition of the label, entropies and the curves of the figures, against numpy and by hand."""

import math

import numpy as np
import pytest
import torch

from bnnbench.metrics import curves, score
from bnnbench.metrics.classification import kwon_covariance, mutual_information, softplus_normalised
from bnnbench.model.predictive import CategoricalPredictive, entropy

LOG2 = math.log(2)


def predictive(terms=6, n=50, classes=5, seed=0, spread=2.0):
    logits = spread * torch.randn(terms, n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return CategoricalPredictive(logits.log_softmax(-1), logits.logsumexp(-1)), logits


def values(p, n):
    return {s.metric: s.value for s in score(p, torch.zeros(n, dtype=torch.long), None, "classification")}


def by_hand(probabilities):
    """Traces of the mean covariance and of the covariance of the means, mean over points; as matrices, in loops."""
    aleatoric, epistemic = [], []
    for terms in np.moveaxis(probabilities, 1, 0):
        mean = terms.mean(0)
        aleatoric.append(np.trace(np.mean([np.diag(p) - np.outer(p, p) for p in terms], 0)))
        epistemic.append(np.trace(np.mean([np.outer(p - mean, p - mean) for p in terms], 0)))
    return np.mean(aleatoric), np.mean(epistemic)


@pytest.mark.parametrize(
    ("terms", "aleatoric", "epistemic"),
    [
        ([[1.0, 0.0]], [0.0, 0.0], [0.0, 0.0]),
        ([[0.5, 0.5]], [0.25, 0.25], [0.0, 0.0]),
        ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0], [0.25, 0.25]),
        ([[0.75, 0.25], [0.25, 0.75]], [0.1875, 0.1875], [0.0625, 0.0625]),
        ([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]], [0.25, 0.125, 0.125], [0.0, 0.0625, 0.0625]),
    ],
)
def test_diagonals_by_hand(terms, aleatoric, epistemic):
    found = kwon_covariance(torch.tensor(terms, dtype=torch.float64)[:, None])
    assert [part[0].tolist() for part in found] == [aleatoric, epistemic]


@pytest.mark.parametrize("seed", range(3))
def test_softmax_form(seed):
    p, logits = predictive(seed=seed)
    got, probabilities = values(p, 50), np.exp(logits.numpy())
    probabilities /= probabilities.sum(-1, keepdims=True)
    assert (got["kwon_aleatoric"], got["kwon_epistemic"]) == pytest.approx(by_hand(probabilities), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_parts_add_up_to_the_variance_of_the_mixture(seed):
    p, _ = predictive(seed=seed)
    mean = p.log_probs.exp().mean(0).numpy()
    got = values(p, 50)
    assert got["kwon_aleatoric"] + got["kwon_epistemic"] == pytest.approx((mean * (1 - mean)).sum(1).mean(), rel=1e-12)
    aleatoric, epistemic = kwon_covariance(p.log_probs.exp())
    np.testing.assert_allclose((aleatoric + epistemic).numpy(), mean * (1 - mean), rtol=1e-12)
    assert (aleatoric >= 0).all()
    assert (epistemic >= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_normalised_form(seed):
    p, logits = predictive(seed=seed)
    positive = np.log1p(np.exp(logits.numpy()))
    want = by_hand(positive / positive.sum(-1, keepdims=True))
    got = values(p, 50)
    assert (got["kwon_aleatoric_normalised"], got["kwon_epistemic_normalised"]) == pytest.approx(want, rel=1e-9)


def test_normalised_by_hand():
    """softplus(log(e - 1)) = 1 and softplus(log(e^3 - 1)) = 3."""
    one, three = math.log(math.e - 1), math.log(math.e**3 - 1)
    logits = torch.tensor([[[one, three]], [[three, one]]], dtype=torch.float64)
    assert softplus_normalised(logits)[:, 0].tolist() == pytest.approx(np.array([[0.25, 0.75], [0.75, 0.25]]))
    got = values(CategoricalPredictive(logits.log_softmax(-1), logits.logsumexp(-1)), 1)
    assert got["kwon_aleatoric_normalised"] == pytest.approx(0.375)
    assert got["kwon_epistemic_normalised"] == pytest.approx(0.125)


def test_a_shift_of_the_logits_changes_the_normalised_form_alone():
    p, logits = predictive()
    moved = CategoricalPredictive(p.log_probs, (logits + 3).logsumexp(-1))
    before, after = values(p, 50), values(moved, 50)
    assert after["kwon_aleatoric"] == before["kwon_aleatoric"]
    assert after["kwon_aleatoric_normalised"] != pytest.approx(before["kwon_aleatoric_normalised"], rel=1e-3)


def test_without_logits_there_is_no_normalised_form():
    p, _ = predictive()
    assert not any("normalised" in name for name in values(CategoricalPredictive(p.log_probs), 50))


def test_entropies_by_hand():
    uniform, sure, half = [0.25] * 4, [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]
    log_probs = torch.tensor([uniform, sure, half], dtype=torch.float64).log()
    assert entropy(log_probs).tolist() == pytest.approx([2 * LOG2, 0.0, LOG2], abs=1e-15)
    terms = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], dtype=torch.float64).log()
    mixture = CategoricalPredictive(terms).mixture_log_probs()
    assert mutual_information(terms, mixture).tolist() == pytest.approx([LOG2])
    assert mutual_information(terms[:1], terms[0]).tolist() == [0.0]


@pytest.mark.parametrize("n", [2, 50, 333])
def test_curve_of_entropies_against_numpy(n):
    p, _ = predictive(n=n)
    got, probabilities = curves.entropies(p), p.log_probs.exp().numpy()
    mean = probabilities.mean(0)
    total = -(mean * np.log(mean)).sum(-1)
    aleatoric = -(probabilities * np.log(probabilities)).sum(-1).mean(0)
    level = np.arange(201) / 200
    np.testing.assert_allclose(got["level"], level, rtol=1e-12)
    np.testing.assert_allclose(got["total"], np.quantile(total, level), rtol=1e-9)
    np.testing.assert_allclose(got["epistemic"], np.quantile(total - aleatoric, level), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("terms", [1, 6, 100])
def test_violins_against_numpy(terms):
    p, _ = predictive(terms, n=4, classes=3)
    got, probabilities = curves.class_violins(p), p.log_probs.exp().numpy()
    assert len(got["quantile"]) == 21 * 4 * 3
    rows = zip(got["point"], got["class"], got["level"], got["quantile"], strict=True)
    seen = set()
    for point, label, level, quantile in rows:
        want = np.quantile(probabilities[:, point, label], level)
        assert quantile == pytest.approx(want, rel=1e-9)
        seen.add((point, label, round(20 * level)))
    assert len(seen) == 21 * 4 * 3
