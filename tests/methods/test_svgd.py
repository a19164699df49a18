"""SVGD against a double loop over particles in numpy, and against the posterior of a linear model."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import make_problem, normal, rows_seen
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.checks.problems import KnownNoise
from bnnbench.errors import UserError
from bnnbench.methods.base import valid
from bnnbench.methods.kernels import Kernel, median_rbf, squared_distances
from bnnbench.methods.map import MAP
from bnnbench.methods.svgd import SVGD
from bnnbench.model import Homoscedastic, Problem

GENERATOR = torch.Generator().manual_seed(0)
N, K = 25, 4
X = torch.randn(N, 3, generator=GENERATOR, dtype=torch.float64)
Y = X[:, 0] - 0.4 * X[:, 1] + 0.3 * torch.randn(N, generator=GENERATOR, dtype=torch.float64)
SCALES = {"layers.0.weight": (2 / 3) ** 0.5, "layers.0.bias": 1.0, "layers.1.weight": (2 / 5) ** 0.5,
          "layers.1.bias": 1.0, "log_noise": 1.0}  # fmt: skip


def log_joint(p, batch):
    """log p(data, w) of a network of one hidden layer, of a minibatch of the N rows."""
    hidden = torch.relu(batch.x @ p["layers.0.weight"].T + p["layers.0.bias"])
    mean = (hidden @ p["layers.1.weight"].T + p["layers.1.bias"])[:, 0]
    sd = 1e-3 + p["log_noise"].exp()
    data = N * normal(mean, sd).log_prob(batch.y).mean()
    centre = {name: -1.0 if name == "log_noise" else 0.0 for name in p}
    return data + sum(normal(centre[name], SCALES[name]).log_prob(value).sum() for name, value in p.items())


def phi(particles, scores):
    """Liu & Wang's direction in numpy: particles and gradients of log p are lists of vectors."""
    count = len(particles)
    distances = [np.linalg.norm(particles[i] - particles[j]) for i in range(count) for j in range(i)]
    h = np.median(distances) ** 2 / np.log(count)
    found = []
    for i in range(count):
        total = np.zeros_like(particles[0])
        for j in range(count):
            difference = particles[j] - particles[i]
            k = math.exp(-float(difference @ difference) / h)
            total += k * scores[j] - k * 2 * difference / h
        found.append(total / count)
    return found


def assert_particles_move_along_phi(method):
    """Adam's running mean holds a tenth of its first gradient, which is -phi / (s n)."""
    problem = make_problem(X, Y, Homoscedastic())
    state = method.init(random.key(0), problem)
    batch = problem.minibatch(random.key(1))
    particles, scores, losses = [], [], []
    for i in range(K):
        params = {name: value[i].clone().requires_grad_() for name, value in state.params.items()}
        value = log_joint(params, batch)
        value.backward()
        losses.append(-value.detach() / N)
        particles.append(np.concatenate([(v.detach() / SCALES[n]).numpy().ravel() for n, v in params.items()]))
        scores.append(np.concatenate([(v.grad * SCALES[n]).numpy().ravel() for n, v in params.items()]))
    new, info = method.update(random.key(1), state, problem)
    assert_close(info["loss"], torch.stack(losses).mean())
    for i, direction in enumerate(phi(particles, scores)):
        found = [(v[i] / 0.1 * SCALES[n]).numpy().ravel() for n, v in new.mean.items()]
        np.testing.assert_allclose(-N * np.concatenate(found), direction, rtol=1e-6, atol=1e-6)


def test_particles_move_along_phi():
    assert_particles_move_along_phi(SVGD(K))


class WithoutRepulsion(SVGD):
    """The kernel's mean of the gradients alone."""

    def repulsion(self, kernel, scaled):
        return 0 * scaled


class Attracted(SVGD):
    """The kernel's gradient by the other particle."""

    def repulsion(self, kernel, scaled):
        return -kernel.slope(scaled)


class OfOneDatum(SVGD):
    """Repulsion against the mean over the data, as if they were one."""

    def repulsion(self, kernel, scaled):
        return 25 * kernel.slope(scaled)


class Apart(SVGD):
    """Every particle down its own gradient."""

    def descent(self, params, gradient, problem):
        joint = super().descent(params, tree_map(torch.zeros_like, gradient), problem)
        return {name: joint[name] + gradient[name] / self.particles for name in joint}


@pytest.mark.parametrize("broken", [WithoutRepulsion, Attracted, OfOneDatum, Apart])
def test_other_directions_are_caught(broken):
    with pytest.raises(AssertionError, match="Not equal"):
        assert_particles_move_along_phi(broken(K))


def kernel_of(points):
    return median_rbf(squared_distances(points))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_bandwidth_is_that_of_the_median_pair(count):
    """Of an even and an odd number of pairs; far from 0, where inner products lose digits."""
    points = {"a": 100 + torch.randn(count, 2, 3, generator=GENERATOR, dtype=torch.float64),
              "b": torch.randn(count, generator=GENERATOR, dtype=torch.float64)}  # fmt: skip
    flat = np.concatenate([value.reshape(count, -1).numpy() for value in points.values()], 1)
    pairs = np.median([np.linalg.norm(flat[i] - flat[j]) for i in range(count) for j in range(i)])
    kernel = kernel_of(points)
    assert float(kernel.bandwidth) == pytest.approx(pairs**2 / np.log(count), rel=1e-9)
    square = ((flat[:, None] - flat[None]) ** 2).sum(-1)
    np.testing.assert_allclose(kernel.values.numpy(), np.exp(-square / float(kernel.bandwidth)), rtol=1e-9)


def test_particles_at_one_place_have_a_kernel_of_ones_and_no_repulsion():
    kernel = kernel_of({"a": torch.ones(3, 2)})
    assert isinstance(kernel, Kernel)
    assert (kernel.values == 1).all()
    assert (kernel.slope(torch.ones(3, 2)) == 0).all()


class FullBatch(Problem):
    """A problem whose minibatch is all of its rows."""

    def minibatch(self, key):
        return self.over_data(lambda batch: batch)


def fitted(method, steps=500):
    """Particles [K, 4] on a linear regression with known noise, and mean and covariance of the posterior there."""
    problem = FullBatch(**vars(make_problem(X, Y, KnownNoise(), hidden=(), steps=steps)))
    state = method.init(random.key(0), problem)
    for t in range(steps):
        state, _ = method.update(random.key(t), state, replace(problem, t=torch.tensor(float(t)).double()))
    design = torch.cat([X, torch.ones(N, 1).double()], 1)
    precision = design.T @ design / 0.25 + torch.diag(torch.tensor([1.5, 1.5, 1.5, 1.0]).double())
    mean = torch.linalg.solve(precision, design.T @ Y / 0.25)
    found = torch.cat([state.params["layers.0.weight"][:, 0], state.params["layers.0.bias"]], 1)
    return found, mean, torch.linalg.inv(precision)


def test_many_particles_have_nearly_the_posterior_s_spread_and_few_less():
    """Their mean is that of the posterior. Measured: 0.85 of its standard deviations with 50 particles, 0.7 with 10."""
    spread = {}
    for particles in (10, 50):
        found, mean, cov = fitted(SVGD(particles, lr=0.1), steps=300)
        sd = cov.diagonal().sqrt()
        assert ((found.mean(0) - mean).abs() < 0.02 * sd).all()
        spread[particles] = found.std(0, correction=0) / sd
    assert ((spread[50] > 0.8) & (spread[50] < 1.0)).all()
    assert (spread[10] < spread[50]).all()
    correlation = torch.corrcoef(found.T) - cov / torch.outer(sd, sd)
    assert correlation.abs().max() < 0.15


def test_without_repulsion_they_collapse_to_the_mode():
    found, mean, cov = fitted(WithoutRepulsion(10, lr=0.1), steps=300)
    assert_close(found, mean.expand(10, 4), rtol=0, atol=1e-3 * float(cov.diagonal().sqrt().min()))


def test_an_update_costs_one_minibatch_gradient_a_particle(monkeypatch):
    """Forward passes, counted as rows seen by a network that all particles share under vmap: as many as of `map`."""
    problem = make_problem(X, Y)
    seen = rows_seen(monkeypatch, problem, (MAP(), SVGD(3)))
    assert seen == [problem.batch_size] * 2
    assert SVGD(3).num_networks == 3


def test_one_particle_is_refused_in_words():
    with pytest.raises(UserError, match=r"svgd.particles must be at least 2, not 1; one particle is `map`"):
        valid(SVGD(1))
