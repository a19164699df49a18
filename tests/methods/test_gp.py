"""Gaussian processes against scikit-learn, and the arc-cosine kernel against the networks it is the limit of."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from helpers import make_cells, make_pack, make_problem
from sklearn.datasets import load_diabetes
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from torch.testing import assert_close

from bnnbench import random
from bnnbench.engine.train import train
from bnnbench.errors import UserError
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.methods.gp import GP, JITTER, KERNELS, GPState, arccos, log_marginal, scales, surrogate, thinned

KEY = random.key(0)


def rows(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return torch.tensor(x), torch.tensor(np.sin(2 * x[:, 0]) + 0.3 * x[:, 1] + 0.2 * rng.normal(size=n))


def state_of(x, y, theta=(0.1, 0.4, 1.2, 0.2, -1.5)):
    theta = torch.tensor(theta, dtype=torch.float64)
    return GPState(theta, x, y, torch.ones(len(x), dtype=torch.float64))


def of_scikit(state, optimiser=None, bounds=(1e-3, 1e4)):
    lengthscale, amplitude, noise = (part.numpy() for part in scales(state.theta))
    kernel = ConstantKernel(amplitude**2, bounds) * RBF(lengthscale, bounds)
    if optimiser:
        kernel, alpha = kernel + WhiteKernel(noise, (1e-6, 10)), JITTER
    else:
        alpha = noise
    process = GaussianProcessRegressor(kernel, alpha=alpha, optimizer=optimiser, n_restarts_optimizer=2, random_state=0)
    return process.fit(state.x.numpy(), state.y.numpy())


def test_against_scikit_learn_at_equal_hyperparameters():
    x, y = rows()
    state, at = state_of(x, y), rows(20, seed=1)[0]
    process = of_scikit(state)
    want = process.log_marginal_likelihood()
    assert log_marginal(KERNELS["rbf"], state).item() == pytest.approx(want, rel=1e-10)
    problem = make_problem(x, y)
    got = GP().posterior(state, None, problem).predictive(KEY, problem, at, 1)
    mean, sd = process.predict(at.numpy(), return_std=True)
    noise = scales(state.theta)[2].item()
    np.testing.assert_allclose(got.mean[0], mean, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(got.scale[0], np.sqrt(sd**2 + noise), rtol=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_cheap_gradient_is_that_of_the_marginal_likelihood(kernel):
    x, y = rows()
    state = state_of(torch.cat([x, x[:3]]), torch.cat([y, y[:3]]))  # equal rows, whose angle is 0

    def at(f):
        return torch.func.grad(lambda theta: f(KERNELS[kernel], state._replace(theta=theta)))(state.theta)

    step = 1e-5 * torch.eye(5, dtype=torch.float64)
    value = [log_marginal(KERNELS[kernel], state._replace(theta=state.theta + s)) for s in (*step, *-step)]
    assert_close(at(surrogate), (torch.stack(value[:5]) - torch.stack(value[5:])) / 2e-5, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The optimal value found")  # lengthscales of what does not matter are infinite
@pytest.mark.parametrize("which", ["made", "diabetes"])
def test_the_learned_marginal_likelihood_is_no_worse_than_scikit_learns(which):
    if which == "made":
        x, y = rows(60)
    else:
        x, y = (torch.tensor(part[:100]).double() for part in load_diabetes(return_X_y=True))
        x, y = (x - x.mean(0)) / x.std(0, correction=0), (y - y.mean()) / y.std(correction=0)
    problem = make_problem(x, y)
    state = GP().init(KEY, problem)
    best = of_scikit(state, "fmin_l_bfgs_b", (1e-3, 1e5)).log_marginal_likelihood_value_
    learned = log_marginal(KERNELS["rbf"], GP().finish(KEY, state, problem)).item()
    assert learned > best - 0.5


def test_the_arc_cosine_kernel_is_that_of_random_relu_features():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 2))
    units = np.maximum(np.column_stack([a, np.ones(6)]) @ rng.normal(size=(3, 400_000)), 0)
    products = 2 * units[:, None] * units
    sigma = products.std(-1) / math.sqrt(400_000)
    got = arccos(torch.tensor(a), torch.tensor(a)).numpy()
    assert (np.abs(got - products.mean(-1)) < 5 * sigma).all()
    np.testing.assert_allclose(np.diag(got), (a**2).sum(1) + 1, rtol=1e-10)
    np.testing.assert_allclose(KERNELS["arccos"].diagonal(torch.tensor(a)), np.diag(got), rtol=1e-10)
    assert np.linalg.eigvalsh(got).min() > 0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("limit", [2000, 12])
def test_padding_changes_nothing(kernel, limit):
    x, y = rows(30)
    method, at = GP(kernel=kernel, rows=limit, iterations=30), rows(7, seed=2)[0]
    problem = make_problem(x, y)
    index = torch.cat([torch.arange(30), torch.zeros(9, dtype=torch.int64)])
    weight = (torch.arange(39) < 30).double()
    padded = dataclasses.replace(problem, rows=problem.rows._replace(index=index, weight=weight))
    found = [method.finish(KEY, method.init(KEY, p), p) for p in (problem, padded)]
    assert_close(found[0].theta, found[1].theta, rtol=1e-8, atol=1e-10)
    got = [
        method.posterior(s, None, p).predictive(KEY, p, at, 1) for s, p in zip(found, (problem, padded), strict=True)
    ]
    assert_close(got[0], got[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("count", "limit"), [(30, 12), (12, 12), (8, 12), (1, 3)])
def test_thinned_rows_are_spread_and_never_counted_twice(count, limit):
    x = torch.arange(40.0).double()[:, None] + 1
    state = GPState(torch.zeros(3).double(), x, x[:, 0], (torch.arange(40) < count).double())
    some = thinned(state, torch.tensor(count), limit)
    kept = some.x[some.mask > 0, 0].tolist()
    assert kept == sorted(set(kept))
    assert (len(kept), kept[0], kept[-1] <= count) == (min(count, limit), 1.0, True)


@pytest.mark.parametrize("kernel", KERNELS)
def test_bands_grow_away_from_the_data(kernel):
    x, y = rows(30, 2)
    method, problem = GP(kernel=kernel), make_problem(x, y)
    state = method.finish(KEY, method.init(KEY, problem), problem)
    away = torch.linspace(0, 12, 7).double()[:, None] * torch.ones(1, x.shape[1]).double()
    sd = method.posterior(state, None, problem).predictive(KEY, problem, away, 1).scale[0]
    assert sd[-1] > 3 * sd[0]
    assert (sd.diff() > -1e-6).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_differentiable_in_the_inputs(kernel):
    x, y = rows()
    method, problem, state = GP(kernel=kernel), make_problem(x, y), state_of(x, y)
    at = torch.cat([x[:2], rows(2, seed=4)[0]])

    def total(at):
        found = method.posterior(state, None, problem).predictive(KEY, problem, at, 1)
        return (found.mean.square() + found.scale).sum()

    step = 1e-5 * torch.eye(12, dtype=torch.float64).reshape(12, 4, 3)
    numeric = torch.stack([(total(at + s) - total(at - s)) / 2e-5 for s in step]).reshape(4, 3)
    assert_close(torch.func.grad(total)(at), numeric, rtol=1e-4, atol=1e-5)


def test_a_cell_of_the_engine_beats_the_constant():
    fit, floor = (train(make_pack(make_cells(name, folds=[0, 1])), False)[0] for name in ("gp", "constant"))
    assert fit.live.all()
    for r, split in enumerate(fit.pack.splits):
        x, y = fit.pack.data.x[split.test], torch.tensor(fit.pack.data.y[split.test])
        gp, constant = (Evaluator(f).predictions([x, x])[r].log_prob(y).mean() for f in (fit, floor))
        assert gp > constant + 0.3


def test_refused_and_most_rows():
    with pytest.raises(UserError, match=r"gp\.kernel must be rbf or arccos, not 'rfb'\."):
        GP(kernel="rfb").check()
    with pytest.raises(UserError, match=r"gp\.iterations must be positive"):
        GP(iterations=0).check()
    assert (GP().most_rows, GP(rows=7).most_rows) == (2000, 7)
