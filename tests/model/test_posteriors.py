"""Kinds of posteriors: their sizes, parts and moments, and that many pass through vmap at once as each does alone."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from helpers import make_problem
from torch.func import vmap
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.methods.mc_dropout import Masked, MCDropout
from bnnbench.model import GaussianPredictive, Homoscedastic
from bnnbench.model.parameters import flatten
from bnnbench.model.posteriors import (
    Draws,
    FactorisedGaussian,
    FunctionSpace,
    Linearised,
    LowRankGaussian,
    Mixture,
    Point,
    tree,
)
from bnnbench.random import Span

GENERATOR = torch.Generator().manual_seed(0)
REAL = {"dtype": torch.float64}
X = torch.randn(9, 2, generator=GENERATOR, **REAL)
PROBLEM = make_problem(X, X[:, 0], Homoscedastic(), hidden=(3,))
DROPPED = MCDropout().prepare(PROBLEM)
KEY = random.key(7)
KEPT, RANK, REPLICAS, PARTS = 6, 4, 3, 3


def numbers(*leading, positive=False):
    """Random values in the shapes of the network's parameters."""
    like = PROBLEM.init_params(KEY)
    values = {name: torch.randn((*leading, *v.shape), generator=GENERATOR, **REAL) for name, v in like.items()}
    return {name: 0.2 * value.exp() for name, value in values.items()} if positive else values


def gaussian():
    return FactorisedGaussian(numbers(), numbers(positive=True))


def low_rank():
    return LowRankGaussian(numbers(), numbers(positive=True), numbers(RANK), torch.tensor(0.5, **REAL))


def linearised():
    return Linearised(numbers(), gaussian(), tuple(PROBLEM.init_params(KEY)))


def mixture(kind):
    """Of three posteriors."""
    return Mixture(tree_map(lambda *leaves: torch.stack(leaves), *[kind() for _ in range(PARTS)]))


KINDS = {
    "point": lambda: Point(numbers()),
    "draws": lambda: Draws(numbers(KEPT)),
    "members": lambda: Draws(numbers(KEPT), thinned=False),
    "factorised": gaussian,
    "low-rank": low_rank,
    "linearised": linearised,
    "mixture": lambda: mixture(low_rank),
    "mixture-linearised": lambda: mixture(linearised),
    "mixture-points": lambda: mixture(lambda: Point(numbers())),
    "masked": lambda: Masked(numbers(), torch.tensor(0.4, **REAL)),
}
SIZES = {"point": (1, 1, 1), "draws": (1, 4, KEPT), "members": (KEPT, KEPT, KEPT)}  # of budgets of 1, 4 and 99 samples
SIZES |= dict.fromkeys(("mixture", "mixture-linearised"), (PARTS, PARTS, 99)) | {"mixture-points": (PARTS,) * 3}
every_kind = pytest.mark.parametrize("kind", KINDS)


def problem_of(kind):
    return DROPPED if kind == "masked" else PROBLEM


@every_kind
def test_sizes(kind):
    """As many components are predicted as are promised; a budget is obeyed where samples can be chosen."""
    posterior, problem = KINDS[kind](), problem_of(kind)
    assert tuple(posterior.size(samples) for samples in (1, 4, 99)) == SIZES.get(kind, (1, 4, 99))
    for samples in (1, 4, 99):
        assert posterior.predictive(KEY, problem, X, samples).mean.shape == (posterior.size(samples), len(X))


@every_kind
@pytest.mark.parametrize("samples", [4, 99])
def test_parts_are_those_of_the_whole_bit_for_bit(kind, samples):
    posterior, problem = KINDS[kind](), problem_of(kind)
    total = posterior.size(samples)
    whole = posterior.sample(KEY, problem, total)
    cuts = sorted({0, 1, total // 2, total})
    parts = [posterior.sample(KEY, problem, Span(a, b, total)) for a, b in pairwise(cuts)]
    assert_close(tree_map(lambda *leaves: torch.cat(leaves), *parts), whole, rtol=0, atol=0)


@every_kind
def test_a_predictive_is_that_of_its_samples_and_rows(kind):
    """Chunks of samples or of rows give the numbers of the whole; rows in any order are of the same functions."""
    posterior, problem = KINDS[kind](), problem_of(kind)
    total = posterior.size(4)
    whole = posterior.predictive(KEY, problem, X, 4)
    for s in range(total):
        own = posterior.predict(posterior.sample(KEY, problem, Span(s, s + 1, total)), problem, X.flip(0)[2:])
        assert_close(own.mean[0], whole.mean[s].flip(0)[2:], rtol=1e-12, atol=1e-14)
        assert_close(own.scale[0], whole.scale[s].flip(0)[2:], rtol=1e-12, atol=1e-14)


@every_kind
def test_a_batch_of_posteriors_gives_what_each_gives_alone(kind):
    alone, problem = [KINDS[kind]() for _ in range(REPLICAS)], problem_of(kind)
    together = tree_map(lambda *leaves: torch.stack(leaves), *alone)
    assert type(together) is type(alone[0])
    keys = random.split(KEY, REPLICAS)

    def all_of(key, posterior):
        total = posterior.size(4)
        sample = posterior.sample(key, problem, Span(0, total, total))
        moments = posterior.moments() or ()  # vmap returns no None
        return sample, posterior.predict(sample, problem, X), moments, posterior.parameters(key, problem)

    found = vmap(all_of, randomness="error")(keys, together)
    for r, posterior in enumerate(alone):
        want = all_of(keys[r], posterior)
        assert_close(tree_map(lambda leaf, r=r: leaf[r], found), want, rtol=1e-12, atol=1e-14)


@every_kind
def test_the_parameters_are_one_network_s(kind):
    """A draw of all parameters, with which the network computes; of draws of weights a first sample."""
    posterior, problem = KINDS[kind](), problem_of(kind)
    found = posterior.parameters(KEY, problem)
    assert {name: value.shape for name, value in found.items()} == {k: v.shape for k, v in numbers().items()}
    if kind != "masked":  # whose samples are masks
        sample = posterior.weights_of(posterior.sample(KEY, problem, 1))
        assert_close(found, {name: value[0] for name, value in sample.items()}, rtol=0, atol=0)


# Points and draws.


def test_a_point_is_the_network():
    posterior = KINDS["point"]()
    found = posterior.predictive(KEY, PROBLEM, X, 99)
    # As one set of weights of a batch, whose kernel may round the last bit otherwise than that of a single network.
    batched = {name: value[None] for name, value in posterior.params.items()}
    network = torch.func.vmap(lambda params: PROBLEM.apply(params, X))(batched)
    assert_close(found.mean, network[..., 0], rtol=0, atol=0)
    assert posterior.moments() is None


@pytest.mark.parametrize(
    ("samples", "which"), [(1, [5]), (2, [2, 5]), (3, [1, 3, 5]), (4, [0, 2, 3, 5]), (6, range(6)), (99, range(6))]
)
def test_draws_are_thinned_evenly_and_the_last_stays(samples, which):
    posterior = Draws({"w": torch.arange(KEPT)})
    assert posterior.sample(KEY, PROBLEM, samples)["w"].tolist() == list(which)
    total = posterior.size(samples)
    assert posterior.sample(KEY, PROBLEM, Span(total - 1, total, total))["w"].tolist() == [5]
    members = Draws({"w": torch.arange(KEPT)}, thinned=False)
    assert members.sample(KEY, PROBLEM, samples)["w"].tolist() == list(range(KEPT))


def test_the_moments_of_draws_are_those_of_all_of_them():
    posterior = KINDS["draws"]()
    mean, sd = posterior.moments()
    for name, value in posterior.params.items():
        assert_close(mean[name], value.sum(0) / KEPT)
        assert_close(sd[name], (((value - value.sum(0) / KEPT) ** 2).sum(0) / KEPT).sqrt())


# Gaussians.

SAMPLES = 20_000


def covariance_of(posterior):
    """By the formulae of the docstrings, over all parameters one after the other."""
    sd = flatten(posterior.sd)
    if isinstance(posterior, FactorisedGaussian):
        return torch.diag(sd**2)
    deviations = vmap(flatten)(posterior.deviations)
    return posterior.factor * (torch.diag(sd**2) + deviations.T @ deviations / (RANK - 1))


@pytest.mark.parametrize("kind", ["factorised", "low-rank"])
def test_gaussian_samples_have_the_moments_of_the_formula(kind):
    """Means and products of 20,000 draws of 14 numbers, whitened coordinate by coordinate: within 6 sigma, 119
    comparisons, a false alarm in 10^6."""
    posterior = KINDS[kind]()
    mean, sd = posterior.moments()
    covariance, centre = covariance_of(posterior), flatten(posterior.mean)
    assert_close(flatten(mean), centre, rtol=0, atol=0)
    assert_close(flatten(sd), covariance.diagonal().sqrt(), rtol=1e-12, atol=0)
    draws = vmap(flatten)(posterior.sample(KEY, PROBLEM, SAMPLES))
    assert draws.shape == (SAMPLES, 14)
    z = (draws - centre) / flatten(sd)
    expected = covariance / torch.outer(flatten(sd), flatten(sd))
    assert (z.mean(0).abs() < 6 / math.sqrt(SAMPLES)).all()
    assert ((z.T @ z / SAMPLES - expected).abs() < 6 * math.sqrt(2 / SAMPLES)).all()
    if kind == "low-rank":
        assert (expected - torch.eye(14)).abs().max() > 0.5, "the low-rank part is to be seen"


def test_a_single_deviation_divides_by_one():
    """Of a single draw the deviation is 0, and no spread is made out of it."""
    posterior = LowRankGaussian(numbers(), numbers(positive=True), numbers(1), torch.tensor(0.5, **REAL))
    mean, sd = posterior.moments()
    for name, value in posterior.deviations.items():
        assert_close(sd[name], (0.5 * (posterior.sd[name] ** 2 + value[0] ** 2)).sqrt())
    assert all(value.isfinite().all() for value in posterior.sample(KEY, PROBLEM, 5).values())
    assert_close(mean, posterior.mean, rtol=0, atol=0)


# The linearised network.


def test_a_linear_network_is_its_own_linearisation():
    problem = make_problem(X, X[:, 0], Homoscedastic(), hidden=())
    mean = problem.init_params(KEY)
    weights = FactorisedGaussian(mean, {name: 0.5 + 0 * value for name, value in mean.items()})
    elsewhere = {name: value + 1 for name, value in mean.items()}
    for centre in (mean, elsewhere):
        found = Linearised(centre, weights, ("layers.0.weight", "layers.0.bias")).predictive(KEY, problem, X, 5)
        assert_close(found, weights.predictive(KEY, problem, X, 5), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("free", [("layers.1.weight", "layers.1.bias"), ("layers.0.weight",)], ids=str)
def test_only_what_is_free_moves(free):
    """By finite differences of the network along the change of the free parameters; noise is that of the sample."""
    centre, weights = numbers(), gaussian()
    posterior = Linearised(centre, weights, free)
    sample = posterior.sample(KEY, PROBLEM, 4)
    assert_close(sample, weights.sample(KEY, PROBLEM, 4), rtol=0, atol=0)
    found = posterior.predict(sample, PROBLEM, X)
    for s in range(4):
        change = {name: sample[name][s] - centre[name] for name in free}
        ahead, behind = (
            PROBLEM.apply(centre | {name: centre[name] + h * change[name] for name in free}, X)[:, 0]
            for h in (1e-6, -1e-6)
        )
        want = PROBLEM.apply(centre, X)[:, 0] + (ahead - behind) / 2e-6
        assert_close(found.mean[s], want, rtol=1e-6, atol=1e-7)
        assert_close(found.scale[s], (1e-3 + sample["log_noise"][s].exp()).expand(len(X)))
    assert_close(posterior.moments(), weights.moments(), rtol=0, atol=0)


# Mixtures.


@pytest.mark.parametrize("kind", [low_rank, linearised])
@pytest.mark.parametrize("samples", [3, 7, 99])
def test_a_mixture_is_its_parts_one_after_the_other(kind, samples):
    """As many components of each part, drawn from a key of its own; the density is the mean of the parts' densities."""
    posterior = mixture(kind)
    parts = [tree_map(lambda leaf, k=k: leaf[k], posterior.parts) for k in range(PARTS)]
    share = samples // PARTS
    alone = [
        part.predict(part.sample(random.fold_in(KEY, k), PROBLEM, share), PROBLEM, X) for k, part in enumerate(parts)
    ]
    found = posterior.predictive(KEY, PROBLEM, X, samples)
    assert_close(found.mean, torch.cat([own.mean for own in alone]), rtol=0, atol=0)
    assert_close(found.scale, torch.cat([own.scale for own in alone]), rtol=0, atol=0)
    density = sum(own.log_prob(X[:, 0]).exp() for own in alone) / PARTS
    assert_close(found.log_prob(X[:, 0]).exp(), density)
    assert posterior.shares_pass == parts[0].shares_pass
    assert (found.mean[:share].mean(0) - found.mean[share : 2 * share].mean(0)).abs().max() > 0.1, "parts are to differ"


def test_the_weights_of_a_mixture_are_those_of_its_parts():
    posterior = KINDS["mixture"]()
    found = posterior.weights_of(posterior.sample(KEY, PROBLEM, 9))
    for k in range(PARTS):
        own = tree_map(lambda leaf, k=k: leaf[k], posterior.parts).sample(random.fold_in(KEY, k), PROBLEM, 3)
        assert_close({name: value[3 * k : 3 * k + 3] for name, value in found.items()}, own, rtol=0, atol=0)
    assert KINDS["masked"]().weights_of(random.split(KEY, 3)) is None
    odd = posterior.sample(KEY, PROBLEM, 5)
    assert [len(own["log_noise"]) for own in odd] == [2, 2, 1]


# Functions without weights.


@tree
class Ridge(FunctionSpace):
    """A density in closed form: N(slope . x, 1)."""

    slope: torch.Tensor

    def predict(self, sample, problem, x):
        mean = (x @ self.slope)[None]
        return GaussianPredictive(mean, torch.ones_like(mean))


def test_functions_are_one_component_in_closed_form_by_default():
    posterior = Ridge(torch.tensor([2.0, -1.0], **REAL))
    assert posterior.size(99) == 1
    found = posterior.predictive(KEY, PROBLEM, X, 99)
    assert_close(found.mean, (2 * X[:, 0] - X[:, 1])[None])
    assert posterior.moments() is posterior.parameters(KEY, PROBLEM) is None
    slopes = torch.randn(REPLICAS, 2, generator=GENERATOR, **REAL)
    together = vmap(lambda own: own.predictive(KEY, PROBLEM, X, 1).mean[0])(Ridge(slopes))
    assert_close(together, slopes @ X.T)


def test_a_posterior_is_frozen_and_keeps_its_structure_through_trees():
    posterior = KINDS["members"]()
    twice = tree_map(lambda leaf: 2 * leaf, posterior)
    assert (type(twice), twice.thinned) == (Draws, False)
    assert_close(twice.params["log_noise"], 2 * posterior.params["log_noise"], rtol=0, atol=0)
    assert replace(posterior, thinned=True).size(2) == 2
    with pytest.raises(AttributeError):
        posterior.thinned = True
