"""Attacks: their gradient against finite differences of the averaged predictive, and where their images lie."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from image_samples import image_pack
from torch.testing import assert_close

from bnnbench import random
from bnnbench.engine import predict as prediction
from bnnbench.engine.predict import components, one_of, predict
from bnnbench.engine.step import PREDICT
from bnnbench.engine.train import train
from bnnbench.evaluation import evaluator as evaluating
from bnnbench.evaluation.attack import attacked, gradient_sign, loss_gradient
from bnnbench.evaluation.evaluate import evaluate_only
from bnnbench.evaluation.evaluator import Evaluator, sets_of
from bnnbench.tasks import TestSet
from bnnbench.tasks.attacks import Attack

METHODS = ["map", "bbp-gaussian", "bbp-local", "mc-dropout", "sgld", "swag", "laplace-diag", "ensemble-deep"]
SAMPLES = 5
every_method = pytest.mark.parametrize("method", METHODS)


@lru_cache
def fitted(method, seeds=(0, 1)):
    return train(image_pack(method, seeds), False)[0]


def images(fit, n=6):
    """Test images and labels of all replicas."""
    x = torch.as_tensor(fit.pack.data.x[160 : 160 + n], dtype=torch.float64)
    y = torch.as_tensor(fit.pack.data.y[160 : 160 + n])
    r = len(fit.pack.cells)
    return x.expand(r, *x.shape), y.expand(r, *y.shape)


def chunks(fit):
    return list(components(fit.pack, fit.posterior, fit.pack.keys, SAMPLES))


def loss(fit, x, y):
    """-log (1/S) sum_s p(y | x, w_s), from the probabilities."""
    probabilities = predict(fit.pack, fit.posterior, fit.pack.keys, x, SAMPLES).log_probs.exp().mean(1)
    return -probabilities.gather(-1, y[..., None])[..., 0].log()


def in_chunks(monkeypatch, fit, samples):
    """So many samples at a time."""
    numbers = sum(value.numel() for value in fit.pack.problem.network.parameters())
    monkeypatch.setattr(prediction, "CHUNK_WEIGHTS", samples * numbers * len(fit.pack.cells))


@every_method
@pytest.mark.parametrize("together", [2, 100])
def test_gradient_against_finite_differences(method, together, monkeypatch):
    fit = fitted(method)
    x, y = images(fit)
    in_chunks(monkeypatch, fit, together)
    gradient = loss_gradient(chunks(fit), x, y)
    assert gradient.shape == x.shape
    assert not gradient.requires_grad
    for seed in range(4):
        direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
        numeric = (loss(fit, x + 1e-5 * direction, y) - loss(fit, x - 1e-5 * direction, y)) / 2e-5
        assert_close((gradient * direction).sum((2, 3, 4)), numeric, rtol=1e-5, atol=1e-8)


def test_gradient_of_single_pixels():
    fit = fitted("bbp-gaussian")
    x, y = images(fit)
    gradient = loss_gradient(chunks(fit), x, y)
    for place in [(0, 0, 0), (0, 3, 4), (0, 7, 7)]:
        step = torch.zeros_like(x)
        step[:, :, *place] = 1e-5
        assert_close(
            gradient[:, :, *place], (loss(fit, x + step, y) - loss(fit, x - step, y)) / 2e-5, rtol=1e-5, atol=1e-9
        )


@every_method
@pytest.mark.parametrize("together", [1, 2])
def test_chunks_of_samples_change_nothing(method, together, monkeypatch):
    fit = fitted(method)
    x, y = images(fit)
    whole = loss_gradient(chunks(fit), x, y)
    in_chunks(monkeypatch, fit, together)
    parts = chunks(fit)
    assert len(parts) == -(-one_of(fit.posterior, 0).size(SAMPLES) // together)
    assert_close(loss_gradient(parts, x, y), whole, rtol=1e-9, atol=1e-12)


def test_a_component_that_rules_the_label_out_does_no_harm():
    """Probabilities down to e^-2000, the largest in the last chunk or the first."""
    base = torch.tensor([-2000.0, -3.0, -900.0], dtype=torch.float64)
    x, y = torch.full((1, 1, 1, 1, 1), 0.5, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.long)
    gradient = torch.tensor([7.0, 2.0, -1.0], dtype=torch.float64)

    def component(s):
        log_probs = lambda x: (base[s] + gradient[s] * x.reshape(1, 1, 1, 1)).expand(1, 1, 1, 2)  # noqa: E731
        return lambda x: prediction.CategoricalPredictive(log_probs(x))

    for order in [(0, 1, 2), (1, 0, 2), (2, 0, 1)]:
        assert loss_gradient([component(s) for s in order], x, y).item() == pytest.approx(-2.0)


def under(some, x, y, attack, scale, rows):
    """The images after an attack, each step's gradient computed again."""

    def sign(image):
        return gradient_sign(some, image, y, rows)

    return attacked(x, sign(x), sign, attack, scale)


def test_rows_change_nothing():
    fit = fitted("bbp-gaussian")
    x, y = images(fit, 7)
    some = chunks(fit)
    whole = gradient_sign(some, x, y, 100)
    for rows in (1, 3):
        assert torch.equal(gradient_sign(some, x, y, rows), whole)
    assert set(whole.unique().tolist()) <= {-1.0, 0.0, 1.0}


@every_method
@pytest.mark.parametrize("strength", [0.05, 0.3])
def test_fgsm_is_one_clipped_step(method, strength):
    fit = fitted(method)
    x, y = images(fit)
    some, scale = chunks(fit), fit.pack.problem.rows.x_scale
    found = under(some, x, y, Attack(strength), scale, 4)
    assert_close(found, (x + strength * loss_gradient(some, x, y).sign()).clamp(0, 1), rtol=0, atol=0)
    assert (loss(fit, found, y).mean(1) > loss(fit, x, y).mean(1)).all()


@every_method
@pytest.mark.parametrize("strength", [0.1, 0.3])
def test_pgd_stays_in_the_ball_and_is_no_weaker(method, strength):
    fit = fitted(method)
    x, y = images(fit, 20)
    some, scale = chunks(fit), fit.pack.problem.rows.x_scale
    once = under(some, x, y, Attack(strength), scale, 20)
    often = under(some, x, y, Attack(strength, 10), scale, 7)
    assert (often - x).abs().max() <= strength + 1e-12
    assert 0 <= often.min() <= often.max() <= 1
    assert (loss(fit, often, y).mean(1) >= loss(fit, once, y).mean(1) - 1e-9).all()


@pytest.mark.parametrize("steps", [1, 10])
def test_standardised_attacks_are_in_units_of_the_spread_and_unclipped(steps):
    fit = fitted("map", (0,))
    x, y = images(fit)
    some, strength = chunks(fit), 0.7
    sd = fit.pack.data.x[fit.pack.splits[0].train].astype(np.float64).std()
    found = under(some, x, y, Attack(strength, steps, standardised=True), fit.pack.problem.rows.x_scale, 6)
    moved = (found - x) / sd
    if steps == 1:
        assert_close(moved, strength * loss_gradient(some, x, y).sign(), rtol=1e-6, atol=1e-9)
    assert moved.abs().max().item() == pytest.approx(strength, rel=1e-6)
    assert found.min() < 0 < 1 < found.max()


def points(fit, attack):
    return [TestSet(fit.pack.data.x[160:], fit.pack.data.y[160:], attack=attack, samples=30)] * len(fit.pack.cells)


@pytest.mark.parametrize("attack", [Attack(0.3), Attack(0.3, 10), Attack(0.7, standardised=True)])
def test_what_ignores_the_image_is_not_attacked(attack):
    fit = fitted("constant")
    found = Evaluator(fit).adversarial(points(fit, attack))
    assert torch.equal(found, torch.as_tensor(fit.pack.data.x[160:]).double().expand_as(found))


def test_each_replica_is_attacked_through_its_own_posterior():
    fit = fitted("map")
    both = Evaluator(fit).adversarial(points(fit, Attack(0.2)))
    assert not torch.equal(both[0], both[1])
    for r in (0, 1):
        alone = fitted("map", (r,))
        assert_close(Evaluator(alone).adversarial(points(alone, Attack(0.2)))[0], both[r], rtol=0, atol=1e-9)


def test_strengths_share_one_gradient(monkeypatch):
    fit, calls = fitted("map"), []
    monkeypatch.setattr(evaluating, "gradient_sign", lambda *a: calls.append(1) or gradient_sign(*a))
    names = {"pgd-0.10", "pgd-0.30", "fgsm-0.05", "fgsm-0.20", "fgsm-0.30", "fgsm-norm-0.05", "fgsm-norm-0.70"}
    records = evaluate_only(Evaluator(fit), names, sets_of(fit.pack, shifted=True))
    assert [{record.name for record in own} for own in records] == [names] * 2
    assert len(calls) == 1 + 2 * 9  # one for the first steps of all, and those after it


@pytest.mark.parametrize("name", ["fgsm-0.20", "pgd-0.10", "fgsm-norm-0.50"])
def test_scores_are_those_of_the_attacked_images(name):
    fit = fitted("bbp-gaussian")
    family, strength = name.rsplit("-", 1)
    attack = Attack(float(strength), 10 if family == "pgd" else 1, family == "fgsm-norm")
    x, y = images(fit, 40)
    key = random.fold_in(fit.pack.keys, PREDICT)
    some = list(components(fit.pack, fit.posterior, key, SAMPLES))
    found = under(some, x, y, attack, fit.pack.problem.rows.x_scale, 40)
    probabilities = predict(fit.pack, fit.posterior, key, found, SAMPLES).log_probs.exp().mean(1)
    own = evaluate_only(Evaluator(fit), {name}, sets_of(fit.pack, shifted=True))
    for r in (0, 1):
        (record,) = own[r]
        values = {score.metric: score.value for score in record.scores}
        assert record.n == 40
        assert values["error"] == pytest.approx((probabilities[r].argmax(-1) != y[r]).double().mean().item())
        likelihood = probabilities[r].gather(-1, y[r][:, None]).log().mean().item()
        assert values["log_likelihood"] == pytest.approx(likelihood, rel=1e-6)
