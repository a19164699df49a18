"""SNGP: bound, objective and covariance against explicit matrices, and against an exact Gaussian process."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers import make_problem, normal
from torch import nn
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.methods import sngp
from bnnbench.methods.base import valid
from bnnbench.methods.map import MAP
from bnnbench.methods.sngp import SNGP
from bnnbench.model import Categorical, GaussianPrior, Heteroscedastic, Homoscedastic

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(30, 2, generator=GENERATOR, dtype=torch.float64)
WEIGHT = (torch.arange(30) % 4).double()  # of the examples: 0 ... 3
LIKELIHOODS = [Heteroscedastic(), Homoscedastic(), Categorical(3)]
METHOD = SNGP(features=12, length_scale=0.8, amplitude=1.7, bound=0.6, prior_scale=0.5)
AMPLITUDE = 1.7  # whatever the prior of the hidden layers
every_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda m: type(m).__name__)


def problem_of(likelihood, hidden=(4,), weight=WEIGHT, method=METHOD):
    y = torch.arange(30) % 3 if isinstance(likelihood, Categorical) else torch.sin(3 * X[:, 0])
    problem = make_problem(X, y, likelihood, GaussianPrior(1.3), hidden, weight, batch_size=6, steps=20)
    return method.target(method.prepare(problem))


def trained(problem, method=METHOD, steps=5):
    state = method.init(random.key(0), problem)
    for t in range(steps):
        state, _ = method.update(random.key(t), state, replace(problem, t=torch.tensor(float(t), dtype=torch.float64)))
    return state


# The oracle: the network with one hidden layer written out.


def phi(params, x):
    """[N, D]."""
    h = torch.relu(x @ params["layers.0.weight"].T + params["layers.0.bias"])
    V, b = params["layers.1.features.frequencies"], params["layers.1.features.phases"]
    return torch.stack([math.sqrt(2 / len(b)) * torch.cos(h @ V[j] + b[j]) for j in range(len(b))], 1)


def outputs(params, x):
    return phi(params, x) @ params["layers.1.weight"].T


def information(likelihood, params, x):
    """Fisher information of every output on its own, [N, outputs]."""
    out = outputs(params, x)
    if isinstance(likelihood, Categorical):
        p = out.softmax(1)
        return p * (1 - p)
    if isinstance(likelihood, Homoscedastic):
        return (1e-3 + params["log_noise"].exp()) ** -2 * torch.ones(len(x), 1).double()
    sd, slope = 1e-3 + F.softplus(out[:, 1]), out[:, 1].sigmoid()
    return torch.stack([sd**-2, 2 * slope**2 / sd**2], 1)


def covariance(likelihood, params, k):
    """The inverse of I / a^2 + sum_i w_i F_ik phi_i phi_i^T, by a loop."""
    matrix = torch.eye(12).double() / AMPLITUDE**2
    for row, f, w in zip(phi(params, X), information(likelihood, params, X)[:, k], WEIGHT, strict=True):
        matrix = matrix + w * f * torch.outer(row, row)
    return torch.linalg.inv(matrix)


def agrees(likelihood):
    """Whether the covariance of every output is that of the oracle."""
    problem = problem_of(likelihood)
    state = METHOD.finish(random.key(1), trained(problem), problem)
    want = [covariance(likelihood, state.params, k) for k in range(likelihood.outputs)]
    found = [root @ root.T for root in state.root]
    return len(found) == len(want) and all(torch.allclose(a, b, rtol=1e-7) for a, b in zip(found, want, strict=True))


@every_likelihood
def test_the_covariance_is_the_explicit_inverse(likelihood):
    assert agrees(likelihood)


def test_other_covariances_are_caught(monkeypatch):
    """Every row counting alike, a prior of variance 1, and the precision in place of its inverse."""

    def plain(problem, params, beta, amplitude):
        phi = sngp.features_at(problem, params, beta, problem.table.x)
        return (phi.T @ phi + torch.eye(12) / amplitude**2).expand(problem.likelihood.outputs, 12, 12)

    original = sngp.precision
    monkeypatch.setattr(sngp, "precision", plain)
    assert not agrees(Categorical(3))
    monkeypatch.setattr(sngp, "precision", lambda *a: original(*a[:3], 1.0))
    assert not agrees(Categorical(3))
    monkeypatch.setattr(sngp, "precision", original)
    monkeypatch.setattr(sngp, "covariance_root", torch.linalg.cholesky)
    assert not agrees(Categorical(3))


@every_likelihood
def test_the_objective_is_the_negative_log_joint(likelihood):
    """Loss and gradients of a step: the likelihood of the minibatch, the hidden layer's prior and that of beta."""
    problem = problem_of(likelihood, weight=torch.ones(30).double())
    state, key = trained(problem), random.key(9)
    new, info = METHOD.update(key, state, replace(problem, t=torch.zeros(()).double()))
    batch = problem.minibatch(key)

    def energy(params):
        out = outputs(params | state.features, batch.x)
        if isinstance(likelihood, Categorical):
            log_prob = out.log_softmax(1)[torch.arange(6), batch.y]
        elif isinstance(likelihood, Homoscedastic):
            log_prob = normal(out[:, 0], 1e-3 + params["log_noise"].exp()).log_prob(batch.y)
        else:
            log_prob = normal(out[:, 0], 1e-3 + F.softplus(out[:, 1])).log_prob(batch.y)
        prior = normal(0, 0.65).log_prob(params["layers.0.weight"]).sum()  # 0.5 * 1.3 * sqrt(2 / 2)
        prior = prior + normal(0, 0.65).log_prob(params["layers.0.bias"]).sum()
        prior = prior + normal(0, AMPLITUDE).log_prob(params["layers.1.weight"]).sum()
        if isinstance(likelihood, Homoscedastic):
            prior = prior + normal(-1, 1).log_prob(params["log_noise"])
        return -log_prob.mean() - prior / 30

    gradient, loss = torch.func.grad_and_value(energy)(state.fit.params)
    assert_close(info["loss"], loss)
    for name, value in gradient.items():
        assert_close(new.fit.mean[name], 0.9 * state.fit.mean[name] + 0.1 * value, rtol=1e-6, atol=1e-9)
    for name, value in state.features.items():
        assert_close(new.features[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("hidden", [(), (5,), (6, 4)], ids=str)
def test_hidden_weights_keep_within_the_bound_and_the_last_is_free(hidden):
    """After 40 steps, of all hidden layers, by singular values. The iteration comes from below, so that the bound is
    exceeded by as much as it lags: less than a per cent."""
    method = replace(METHOD, lr=0.05, prior_scale=2.0, bound=0.4)
    problem = replace(problem_of(Homoscedastic(), hidden, method=method), steps=40)
    params = trained(problem, method, 40).fit.params
    norms = [float(torch.linalg.svdvals(params[f"layers.{i}.weight"])[0]) for i in range(len(hidden))]
    assert all(value < 0.4 * 1.01 for value in norms)
    if hidden:
        assert max(norms) > 0.3
        loose = trained(problem, replace(method, bound=100.0), 40).fit.params
        assert torch.linalg.svdvals(loose["layers.0.weight"])[0] > 0.5, "without the bound it would be exceeded"
    assert torch.linalg.svdvals(params[f"layers.{len(hidden)}.weight"])[0] > 0.41


def test_convolutions_keep_within_the_bound_as_maps_of_images():
    x = torch.randn(20, 2 * 5 * 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    network = nn.Sequential(nn.Unflatten(1, (2, 5, 4)), nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(),
                            nn.Linear(60, 3)).double()  # fmt: skip
    method = replace(METHOD, lr=0.05)
    problem = make_problem(x, torch.arange(20) % 3, Categorical(3), steps=60).with_network(network)
    problem = method.prepare(problem)
    params = trained(problem, method, 60).fit.params
    units = torch.eye(40).double().reshape(40, 2, 5, 4)
    matrix = F.conv2d(units, params["1.weight"], padding=1).reshape(40, -1).T
    assert 0.59 < torch.linalg.svdvals(matrix)[0] < 0.6 * 1.01
    state = method.finish(random.key(0), trained(problem, method, 2), problem)
    found = method.posterior(state, None, problem).predictive(random.key(1), problem, x, 4)
    assert found.log_probs.shape == (4, 20, 3)


def test_it_is_the_exact_gaussian_process_of_its_features():
    """Of a regression with known noise at the mode of beta: mean and variance by the kernel a^2 phi^T phi', inverted
    between the rows, where the method inverts between the features."""
    problem = problem_of(Homoscedastic(), weight=torch.ones(30).double())
    state = trained(problem)
    params = state.fit.params | state.features
    noise = 1e-3 + params["log_noise"].exp()
    at = torch.tensor([[0.3, -1.0], [2.0, 5.0]]).double()
    kernel = lambda a, b: AMPLITUDE**2 * phi(params, a) @ phi(params, b).T  # noqa: E731
    inverse = torch.linalg.inv(kernel(X, X) + noise**2 * torch.eye(30))
    mean = kernel(at, X) @ inverse @ problem.table.y
    variance = (kernel(at, at) - kernel(at, X) @ inverse @ kernel(X, at)).diagonal()
    rows = phi(params, X)
    ridge = rows.T @ rows / noise**2 + torch.eye(12) / AMPLITUDE**2
    mode = {"layers.1.weight": (torch.linalg.inv(ridge) @ rows.T @ problem.table.y / noise**2)[None]}
    fit = state._replace(fit=state.fit._replace(params=state.fit.params | mode))
    found = METHOD.finish(random.key(1), fit, problem)
    predictive = METHOD.posterior(found, None, problem).predictive(random.key(2), problem, at, 20_000)
    # 6 standard errors each: four comparisons alarm once in 10^8
    assert ((predictive.mean.mean(0) - mean).abs() < 6 * (variance / 20_000).sqrt()).all()
    assert ((predictive.mean.var(0) / variance - 1).abs() < 6 * math.sqrt(2 / 20_000)).all()
    assert_close(predictive.scale, noise.expand_as(predictive.scale))


@every_likelihood
def test_samples_are_functions_of_one_beta_each(likelihood):
    """The components are those of explicit betas, rows in any order; the point comes before the covariance."""
    problem = problem_of(likelihood)
    fit = trained(problem)
    state = METHOD.finish(random.key(1), fit, problem)
    posterior = METHOD.posterior(state, None, problem)
    betas = posterior.sample(random.key(2), problem, 5)["layers.1.weight"]
    found = posterior.predictive(random.key(2), problem, X.flip(0), 5)
    for s, beta in enumerate(betas):
        out = outputs(state.params | {"layers.1.weight": beta}, X.flip(0))
        assert_close(found[0][s], out.log_softmax(1) if isinstance(likelihood, Categorical) else out[:, 0])
    parameters = posterior.parameters(random.key(2), problem)
    assert_close(parameters["layers.1.weight"], posterior.sample(random.key(2), problem, 1)["layers.1.weight"][0])
    assert parameters.keys() == state.params.keys()
    point = METHOD.posterior(fit, None, problem).predictive(random.key(2), problem, X, 5)
    out = outputs(fit.fit.params | fit.features, X)
    assert_close(point[0], (out.log_softmax(1) if isinstance(likelihood, Categorical) else out[:, 0])[None])


def test_draws_of_beta_have_the_covariance():
    """20,000 draws whitened by the explicit covariance of each class; 6 sigma, 234 comparisons alarm once in a
    million; classes are independent."""
    likelihood = Categorical(3)
    problem = problem_of(likelihood)
    state = METHOD.finish(random.key(1), trained(problem), problem)
    draws = METHOD.posterior(state, None, problem).sample(random.key(2), problem, 20_000)["layers.1.weight"]
    z = []
    for k in range(3):
        factor = torch.linalg.cholesky(covariance(likelihood, state.params, k))
        centred = (draws[:, k] - state.params["layers.1.weight"][k]).T
        z.append(torch.linalg.solve_triangular(factor, centred, upper=False))
    z = torch.cat(z)
    assert (z.mean(1).abs() < 6 / 20_000**0.5).all()
    assert ((z @ z.T / 20_000 - torch.eye(36)).abs() < 6 * (2 / 20_000) ** 0.5).all()


def test_mean_field_logits_of_classes():
    """m / sqrt(1 + pi v / 8) with explicit v; of two classes it comes near to the mean over samples, which the mode
    does not."""
    likelihood, method = Categorical(3), replace(METHOD, predictive="mean-field")
    problem = problem_of(likelihood)
    state = method.finish(random.key(1), trained(problem), problem)
    found = method.posterior(state, None, problem).predictive(random.key(2), problem, X, 50)
    rows = phi(state.params, X)
    v = torch.stack([((rows @ covariance(likelihood, state.params, k)) * rows).sum(1) for k in range(3)], 1)
    logits = outputs(state.params, X) / (1 + math.pi * v / 8).sqrt()
    assert_close(found.log_probs, logits.log_softmax(1)[None], rtol=1e-7, atol=1e-9)
    with pytest.raises(UserError, match=r'sngp.predictive="mean-field" is for classifications; take "sampled"'):
        method.prepare(problem_of(Homoscedastic()))


def test_far_from_the_data_the_prior_s_variance_returns():
    """Random features have forgotten the data at a distance of many length scales; near them they have not."""
    method = SNGP(features=512, length_scale=1.0, bound=2.0, lr=0.05)
    problem = problem_of(Homoscedastic(), (20,), torch.ones(30).double(), method)
    problem = replace(problem, steps=60)
    state = method.finish(random.key(1), trained(problem, method, 60), problem)
    posterior = method.posterior(state, None, problem)
    near = posterior.predictive(random.key(2), problem, X, 400).mean.var(0)
    far = posterior.predictive(random.key(2), problem, 30 * X, 400).mean.var(0)
    assert far.median() > 0.5
    assert near.median() < 0.1


def test_the_start_and_the_settings():
    """Hidden layers start where `map` does, scaled to the bound; seeds differ in their features."""
    problem = problem_of(Homoscedastic(), method=replace(METHOD, bound=50.0))
    state, other = (replace(METHOD, bound=50.0).init(random.key(seed), problem) for seed in (0, 1))
    plain = MAP().init(random.key(0), problem).params
    assert_close(state.fit.params, plain, rtol=0, atol=0)
    for name, value in state.features.items():
        assert len(value.unique()) == value.numel()
        assert not torch.equal(value, other.features[name])
    assert SNGP().num_networks == 1
    for field, wrong in (("bound", 0.0), ("features", 0), ("predictive", "exact"), ("length_scale", -1.0)):
        with pytest.raises(UserError, match=rf"^sngp\.{field} must"):
            valid(replace(METHOD, **{field: wrong}))
