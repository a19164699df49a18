"""The variational last layer beside its authors' package, by quadrature and by closed form."""

import math

import numpy as np
import pytest
import scipy.integrate
import torch
import vbll
from helpers import make_problem, normal
from torch import nn
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.methods.vbll import VBLL
from bnnbench.model import Categorical, Heteroscedastic, Homoscedastic, LaplacePrior
from bnnbench.model.likelihoods import SCALE_FLOOR

GENERATOR = torch.Generator().manual_seed(0)
N, WIDTH = 40, 4
X = torch.randn(N, 3, generator=GENERATOR, dtype=torch.float64)
Y = torch.sin(2 * X[:, 0])
CLASSES = (Y * 1.4).round() + 1
HEAD = "layers.1"


def at_random(problem, covariance):
    """Parameters of the method in which nothing is at its start."""
    params = VBLL(covariance=covariance, sigma=0.3).init(random.key(0), problem).params
    shift = {k: 0.3 * torch.randn(v.shape, generator=GENERATOR, dtype=torch.float64) for k, v in params.items()}
    return {name: value + shift[name] for name, value in params.items()}


def prepared(likelihood, y, covariance="dense", **settings):
    return VBLL(covariance=covariance).prepare(
        make_problem(X, y, likelihood, hidden=(WIDTH,), batch_size=7, **settings)
    )


def peers_loss(params, batch, layer):
    """The package's objective, on features by plain torch, in coordinates u = w / s in which the prior is N(0, 1)."""
    s = torch.tensor([math.sqrt(2 / WIDTH)] * WIDTH + [1.0], dtype=torch.float64)
    hidden = nn.functional.linear(batch.x, params["layers.0.weight"], params["layers.0.bias"]).relu()
    features = torch.cat([hidden, torch.ones(len(hidden), 1).double()], 1) * s
    mean = torch.cat([params[f"{HEAD}.weight"], params[f"{HEAD}.bias"][:, None]], 1) / s
    given = {"W_mean": mean, "W_logdiag": params[f"log_sd.{HEAD}"]}
    if f"below.{HEAD}" in params:
        given["W_offdiag"] = params[f"below.{HEAD}"]
    noise = (SCALE_FLOOR + params["log_noise"].exp()).log() if "log_noise" in params else torch.tensor(-40.0).double()
    given["noise_logdiag"] = noise.expand(len(mean))
    for name, value in given.items():
        delattr(layer, name)
        setattr(layer, name, value)  # tensors in place of its own parameters
    layer.wishart_scale, layer.dof = 0.0, 0.0  # no prior of the noise
    return layer(features).train_loss_fn(batch.y[:, None] if "log_noise" in params else batch.y.long())


def prior_of_points(params):
    """-log p of the first layer under the task's prior, and of the learned noise; torch.distributions."""
    total = -normal(0.0, math.sqrt(2 / 3)).log_prob(params["layers.0.weight"]).sum()
    total = total - normal(0.0, 1.0).log_prob(params["layers.0.bias"]).sum()
    return total - normal(-1.0, 1.0).log_prob(params["log_noise"]) if "log_noise" in params else total


@pytest.mark.parametrize("covariance", ["dense", "diagonal"])
@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_the_objective_is_that_of_the_authors(kind, covariance):
    """Value, and gradients with respect to all parameters, features included. The package leaves the constant of the
    KL out, d / 2 for each output; the logits have no noise here."""
    likelihood, y = (Homoscedastic(), Y) if kind == "regression" else (Categorical(3), CLASSES)
    problem = prepared(likelihood, y, covariance)
    params, batch = at_random(problem, covariance), problem.minibatch(random.key(1))
    outputs, d = likelihood.outputs, WIDTH + 1
    if kind == "regression":
        layer = vbll.Regression(d, outputs, 1 / N, covariance, prior_scale=d)
    else:
        layer = vbll.DiscClassification(d, outputs, 1 / N, covariance, prior_scale=d / 2)

    gradient, loss = torch.func.grad_and_value(lambda p: VBLL().bound(p, batch, problem))(params)
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    theirs = peers_loss(leaves, batch, layer) + (prior_of_points(leaves) - outputs * d / 2) / N
    assert_close(loss, theirs.detach(), rtol=1e-9, atol=1e-12)
    assert_close(gradient, dict(zip(leaves, torch.autograd.grad(theirs, leaves.values()), strict=True)))


@pytest.mark.parametrize(("mean", "variance", "y"), [([0.3, -1.0], [0.2, 0.1], 0.9), ([-2.0, 1.0], [1.0, 0.4], 0.0)])
def test_the_expectation_under_a_learned_noise(mean, variance, y):
    """Against scipy's quadrature in two dimensions."""
    mean, sd = np.array(mean), np.sqrt(variance)

    def integrand(b, a):
        z = (np.array([a, b]) - mean) / sd
        scale = 1e-3 + np.log1p(np.exp(b))
        log_prob = -0.5 * ((y - a) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
        return log_prob * np.exp(-0.5 * z @ z) / (2 * np.pi * sd.prod())

    limits = [(m - 9 * s, m + 9 * s) for m, s in zip(mean, sd, strict=True)]
    true, _ = scipy.integrate.dblquad(integrand, *limits[0], *limits[1])
    found = Heteroscedastic().expected_log_prob(
        {}, torch.tensor(mean)[None], torch.tensor(variance, dtype=torch.float64)[None], torch.tensor([y])
    )
    assert abs(float(found) - true) < 1e-4 * abs(true)


def test_the_expectation_with_one_noise_is_theorem_1():
    mean, variance = torch.randn(9, 1, generator=GENERATOR).double(), torch.rand(9, 1, generator=GENERATOR).double()
    y, noise = torch.randn(9, generator=GENERATOR).double(), {"log_noise": torch.tensor(-0.7).double()}
    s = SCALE_FLOOR + math.exp(-0.7)
    found = Homoscedastic().expected_log_prob(noise, mean, variance, y)
    assert_close(found, normal(mean[:, 0], s).log_prob(y) - variance[:, 0] / (2 * s**2), rtol=1e-6, atol=1e-6)


def test_the_bound_of_classes_is_a_bound():
    """Below the expectation by Monte Carlo, with draws of torch, and equal to it where nothing varies."""
    mean, variance = torch.randn(9, 3, generator=GENERATOR).double(), torch.rand(9, 3, generator=GENERATOR).double()
    y = torch.arange(9) % 3
    draws = mean + variance.sqrt() * torch.randn(20_000, 9, 3, generator=GENERATOR, dtype=torch.float64)
    each = draws.log_softmax(-1)[:, torch.arange(9), y]
    gap = each.mean(0) - Categorical(3).expected_log_prob({}, mean, variance, y)
    assert (gap > -5 * each.std(0) / math.sqrt(20_000)).all()
    assert gap.mean() > 0.01
    assert_close(Categorical(3).expected_log_prob({}, mean, 0 * variance, y), mean.log_softmax(-1)[torch.arange(9), y])


@pytest.mark.parametrize("covariance", ["dense", "diagonal"])
def test_predictive_components_are_draws_of_the_last_layer(covariance):
    """The mixture's mean and spread against m . phi and phi . S phi of the closed form, by plain torch; 5 sigma."""
    problem = prepared(Homoscedastic(), Y, covariance)
    params = at_random(problem, covariance)
    state = VBLL(covariance=covariance).init(random.key(0), problem)._replace(params=params)
    posterior = VBLL(covariance=covariance).posterior(state, None, problem)
    mixture = posterior.predictive(random.key(2), problem, X[:6], 4000)
    hidden = nn.functional.linear(X[:6], params["layers.0.weight"], params["layers.0.bias"]).relu()
    phi = torch.cat([hidden * math.sqrt(2 / WIDTH), torch.ones(6, 1).double()], 1)
    sd = params[f"log_sd.{HEAD}"][0].exp()
    factor = torch.diag(sd) + (params[f"below.{HEAD}"][0].tril(-1) if covariance == "dense" else 0)
    mean = nn.functional.linear(hidden, params[f"{HEAD}.weight"], params[f"{HEAD}.bias"])[:, 0]
    spread = (phi @ factor).norm(dim=1)
    assert ((mixture.mean.mean(0) - mean).abs() < 5 * spread / math.sqrt(4000)).all()
    assert ((mixture.mean.std(0) / spread).log().abs() < 5 / math.sqrt(8000)).all()
    noise = SCALE_FLOOR + params["log_noise"].exp()
    assert_close(mixture.scale, noise.expand(4000, 6))
    weights, sds = posterior.moments()
    assert_close(weights[f"{HEAD}.weight"], params[f"{HEAD}.weight"])
    assert_close(sds[f"{HEAD}.bias"], factor[-1].norm()[None])
    assert not sds["layers.0.weight"].any()
    assert not sds["log_noise"].any()


def test_refusals():
    with pytest.raises(UserError, match="vbll needs a Gaussian prior, and this task has a LaplacePrior"):
        VBLL().prepare(make_problem(X, Y, prior=LaplacePrior()))
    wide = make_problem(X, Y, hidden=(1200,))
    with pytest.raises(UserError, match=r"would have 2,884,802 numbers.*use vbll\.covariance=diagonal"):
        VBLL().prepare(wide)
    VBLL(covariance="diagonal").prepare(wide)
    other = make_problem(X, Y).with_network(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 5)))
    with pytest.raises(UserError, match=r"whose last layer is an nn\.Linear with 2 outputs"):
        VBLL().prepare(other)
    with pytest.raises(UserError, match=r"whose last layer is an nn\.Linear\."):
        VBLL().prepare(make_problem(X, Y).with_network(nn.Conv2d(1, 2, 3)))
