"""Predictions in chunks of samples and rows: how they are cut changes nothing."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from helpers import BUDGET, PAIRS, make_cells, make_pack, small
from image_samples import image_pack
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves

from bnnbench import random
from bnnbench.engine import predict as module
from bnnbench.engine.predict import components, joined, one_of, predict, rows_at_once, whole
from bnnbench.engine.step import over_replicas
from bnnbench.engine.train import train
from bnnbench.evaluation.pruning import masks, ranks
from bnnbench.methods import METHODS
from bnnbench.model import Params

NAMES = [method for method, task in PAIRS if task == "classification"]
FEW = {"sgld": 4, "psgld": 4, "sghmc": 4, "csgmcmc": 4}  # draws that are kept, where that is a field
SAMPLES = 7
SHORT = replace(BUDGET, steps=12, validation_checks=2)
every_method = pytest.mark.parametrize("name", NAMES)


def method_of(name):
    return replace(small(name), samples=FEW[name]) if name in FEW else small(name)


@lru_cache
def fitted(name):
    return train(make_pack(make_cells(method_of(name), "classification", (0, 1), SHORT)), False)[0]


@lru_cache
def fitted_images(name):
    return train(image_pack(name, (0, 1)), False)[0]


def inputs(fit, rows=11):
    shape = fit.pack.problem.table.x.shape[1:]
    x = torch.as_tensor(np.random.default_rng(0).random((2, rows, *shape)))
    return x if len(shape) > 1 else 2 + 2 * x


def predicted(fit, x, factors: Params | None = None):
    if factors is None:
        return predict(fit.pack, fit.posterior, fit.pack.keys, x, SAMPLES)
    return joined(pieces(fit, factors), x, rows_at_once(fit.pack, fit.posterior, SAMPLES))


def pieces(fit, factors=None):
    return list(components(fit.pack, fit.posterior, fit.pack.keys, SAMPLES, factors))


def cut(monkeypatch, fit, samples, numbers=1):
    """So many samples at a time, and so many activations."""
    size = sum(value.numel() for value in fit.pack.problem.network.parameters())
    monkeypatch.setattr(module, "CHUNK_WEIGHTS", samples * size * len(fit.pack.cells))
    monkeypatch.setattr(module, "CHUNK_NUMBERS", numbers)


def expected(fit):
    """Number of components, from what the methods say of themselves."""
    method = fit.pack.method
    if method.name == "svgd":
        return method.particles
    if method.name in ("constant", "map"):
        return 1
    if members := getattr(method, "members", getattr(method, "components", 0)):
        return members * (SAMPLES // members)
    return len(method.schedule(fit.pack.steps)) * method.num_chains if method.num_chains else SAMPLES


def leaves(fit):
    return tree_leaves(fit.state) + ([] if fit.draws is None else tree_leaves(fit.draws))


@every_method
def test_number_of_components(name):
    fit = fitted(name)
    found = predicted(fit, inputs(fit))
    assert found.log_probs.shape == (2, expected(fit), 11, 3)
    assert found.log_normaliser.shape == (2, expected(fit), 11)
    assert_close(found.log_probs.exp().sum(-1), torch.ones(2, expected(fit), 11, dtype=torch.float64))
    if name in FEW:
        assert expected(fit) <= 4 < SAMPLES


@every_method
@pytest.mark.parametrize(("together", "numbers"), [(1, 1), (2, 300), (3, 2**24)])
def test_chunks_change_nothing(name, together, numbers, monkeypatch):
    fit = fitted(name)
    x = inputs(fit)
    one = predicted(fit, x)
    assert len(pieces(fit)) == 1
    cut(monkeypatch, fit, together, numbers)
    assert len(pieces(fit)) == -(-expected(fit) // together)
    assert_close(predicted(fit, x), one, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ["bbp-gaussian", "mc-dropout", "sgld", "swag", "laplace-kron", "ensemble-deep"])
def test_chunks_of_images(name, monkeypatch):
    fit = fitted_images(name)
    x = inputs(fit, 5)
    one = predicted(fit, x)
    cut(monkeypatch, fit, 2)
    assert_close(predicted(fit, x), one, rtol=1e-6, atol=1e-12)


def test_large_networks_are_cut():
    """In the end it is memory: 1,200 units and 100 samples are more than a chunk."""
    for name in ("bbp-gaussian", "mc-dropout", "swag"):
        assert one_of(fitted(name).posterior, 0).size(9) == 9
    wide = 784 * 1200 + 1200 * 1200
    assert module.CHUNK_WEIGHTS // wide < 100


@every_method
def test_rows_are_on_their_own(name):
    fit = fitted(name)
    x = inputs(fit)
    together = predicted(fit, x)
    assert_close(predicted(fit, x[:, 4:5]), type(together)(*(part[:, :, 4:5] for part in together)))


@every_method
def test_no_gradient_is_kept(name):
    fit = fitted(name)
    assert not any(part.requires_grad for part in predicted(fit, inputs(fit).requires_grad_()))


def test_a_span_is_a_part_of_the_whole():
    keys = torch.stack([random.key(3), random.key(4)])
    full = random.split(keys, 10)
    for start, stop in [(0, 3), (3, 9), (9, 10), (0, 10)]:
        span = random.Span(start, stop, 10)
        assert len(span) == stop - start
        assert torch.equal(random.split(keys, span), full[:, start:stop])
    assert torch.equal(random.split(random.key(3), random.Span(2, 4, 10)), full[0, 2:4])


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS.get(name).prunable])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_pruning_under_chunks(name, share, monkeypatch):
    """Against weights set to zero by hand."""
    fit = fitted(name)
    x, pack = inputs(fit), fit.pack
    factors = masks(ranks(pack, fit.posterior), share)
    kept = [leaf.clone() for leaf in leaves(fit)]

    def by_hand(method, problem, key, posterior, factors, x):
        weights = posterior.sample(key, problem, posterior.size(SAMPLES))
        weights = {k: torch.where(factors[k] == 0, 0.0, v) if k in factors else v for k, v in weights.items()}
        return problem.predict(weights, x).log_probs

    with torch.no_grad():
        want = over_replicas(pack, by_hand, pack.keys, fit.posterior, factors, x)
    assert not torch.allclose(want, predicted(fit, x).log_probs)
    for together in (2, 100):
        cut(monkeypatch, fit, together)
        assert_close(predicted(fit, x, factors).log_probs, want, rtol=1e-6, atol=1e-12)
    for before, after in zip(kept, leaves(fit), strict=True):
        assert torch.equal(before, after)  # pruning is of the samples, not of the posterior


def test_pieces_are_put_together_in_order():
    fit = fitted("bbp-gaussian")
    x = inputs(fit)
    one = predicted(fit, x)
    halves = [type(one)(*(part[:, s] for part in one)) for s in (slice(0, 3), slice(3, None))]
    assert_close(whole(halves, 1), one, rtol=0, atol=0)
