"""Bayes by Backprop: its KL, its objective, its start."""

import math

import pytest
import torch
from helpers import make_problem, normal
from torch import distributions as D
from torch.func import vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.methods.bbp import BBPGaussian, cross_entropy_gaussian, entropy
from bnnbench.model import Homoscedastic
from bnnbench.model.posteriors import perturbed

GENERATOR = torch.Generator().manual_seed(0)
MEAN = torch.randn(7, generator=GENERATOR, dtype=torch.float64)
SIGMA = torch.rand(7, generator=GENERATOR, dtype=torch.float64) + 0.05
X = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
Y = torch.sin(3 * X[:, 0])
METHOD = BBPGaussian()


def test_kl_is_that_of_q_from_p():
    """KL(q || p), not the reverse: closed form of torch.distributions, and Monte Carlo of E_q[log q - log p] within
    5 of its standard errors (a false alarm in 10^6)."""
    q, p = normal(MEAN, SIGMA), normal(-1.0, 0.7)
    kl = (cross_entropy_gaussian(MEAN, SIGMA, -1.0, torch.tensor(0.7, dtype=torch.float64)) - entropy(SIGMA)).sum()
    assert_close(kl, D.kl_divergence(q, p).sum())
    assert abs(kl - D.kl_divergence(p, q).sum()) > 1
    w = MEAN + SIGMA * torch.randn(100_000, 7, generator=GENERATOR, dtype=torch.float64)
    each = (q.log_prob(w) - p.log_prob(w)).sum(1)
    assert abs(each.mean() - kl) < 5 * each.std() / math.sqrt(100_000)


def objective(problem, **settings) -> torch.Tensor:
    """Losses of one state under 4,000 keys."""
    method = BBPGaussian(sigma=0.05, **settings)
    state = method.init(random.key(0), problem)
    return vmap(lambda k: method.update(k, state, problem)[1]["loss"])(random.split(random.key(1), 4000))


def own_kl(problem) -> float:
    """KL of the start from the prior, by torch.distributions: mean = init, sigma = 0.05 of the prior's scale."""
    total = 0.0
    for name, mean in problem.init_params(random.key(0)).items():
        loc = -1.0 if name == "log_noise" else 0.0
        scale = math.sqrt(2 / mean.shape[1]) if mean.dim() == 2 else 1.0
        total += D.kl_divergence(normal(mean, 0.05 * scale), normal(loc, scale)).sum().item()
    return total


@pytest.mark.parametrize("batch_size", [4, 16])
@pytest.mark.parametrize("n", [1, 20, 40])
def test_objective_is_nll_plus_beta_kl_over_n(n, batch_size):
    """With the same keys beta changes the loss by (difference of beta) KL / n, whatever the batch size."""
    weight = (torch.arange(40) < n).double()
    problem = make_problem(X, Y, Homoscedastic(), weight=weight, batch_size=batch_size)
    once, thrice = objective(problem, beta=1.0), objective(problem, beta=3.0)
    assert_close(thrice - once, torch.full_like(once, 2 * own_kl(problem) / n), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("batch_size", [4, 16])
def test_objective_is_the_negative_elbo_over_n(batch_size):
    """Its mean over keys against an ELBO by brute force: all rows, noise of torch. 5 sigma, once in 10^6."""
    problem = make_problem(X, Y, Homoscedastic(), batch_size=batch_size)
    losses = objective(problem)
    mean = problem.init_params(random.key(0))
    nll = []
    for _ in range(2000):
        w = {
            k: v + 0.05 * (math.sqrt(2 / v.shape[1]) if v.dim() == 2 else 1.0)
            * torch.randn(v.shape, generator=GENERATOR, dtype=torch.float64)
            for k, v in mean.items()
        }  # fmt: skip
        hidden = (X @ w["layers.0.weight"].T + w["layers.0.bias"]).relu()
        out = hidden @ w["layers.1.weight"].T + w["layers.1.bias"]
        nll.append(-normal(out[:, 0], 1e-3 + w["log_noise"].exp()).log_prob(Y).mean())
    nll = torch.stack(nll)
    error = math.sqrt(float(losses.var() / 4000 + nll.var() / 2000))
    assert abs(losses.mean() - nll.mean() - own_kl(problem) / 40) < 5 * error


@pytest.mark.parametrize(
    ("t", "anneal", "weight"), [(0, 0.5, 0.02), (24, 0.5, 0.5), (49, 0.5, 1), (90, 0.5, 1), (0, 0, 1)]
)
def test_the_weight_of_the_kl_rises(t, anneal, weight):
    """Linearly over half of 100 steps: where there are no data, Adam's mean holds a tenth of that much of the KL's
    gradient. The loss that is told is the bound, with the whole KL."""
    problem = make_problem(X, Y, Homoscedastic(), weight=torch.zeros(40).double(), steps=100)
    now = type(problem)(**{**vars(problem), "t": torch.tensor(float(t), dtype=torch.float64)})
    method = BBPGaussian(anneal=anneal, sigma=0.05)
    start = method.init(random.key(0), problem)
    after, info = method.update(random.key(1), start, now)
    name, mean = "layers.0.weight", problem.init_params(random.key(0))["layers.0.weight"]
    gradient = mean / (2 / mean.shape[1])  # of KL / n with respect to the mean, with n at least 1
    assert_close(after.mean[f"mean.{name}"], 0.1 * weight * gradient)
    assert info["loss"] == pytest.approx(own_kl(problem))


def test_perturbed_parameters_are_normal_and_independent():
    """Mean, sd and correlation of 20,000 draws of 7 + 3 weights; 6 sigma, 65 comparisons alarm once in 10^7."""
    mean, sigma = {"a": MEAN, "b": torch.zeros(3).double()}, {"a": SIGMA, "b": torch.ones(3).double()}
    draws = vmap(lambda k: perturbed(k, mean, sigma))(random.split(random.key(3), 20_000))
    z = torch.cat([(draws[name] - mean[name]) / sigma[name] for name in mean], 1)
    assert (z.mean(0).abs() < 6 / math.sqrt(20_000)).all()
    assert ((z.T @ z / 20_000 - torch.eye(10)).abs() < 6 * math.sqrt(2 / 20_000)).all()


def test_without_data_it_becomes_the_prior():
    """Nothing but the KL is left: after 500 steps of one cycle q is p."""
    problem = make_problem(X, Y, Homoscedastic(), hidden=(2,), weight=torch.zeros(40).double(), steps=500)
    state = METHOD.init(random.key(0), problem)
    for t in range(500):
        now = type(problem)(**{**vars(problem), "t": torch.tensor(float(t), dtype=torch.float64)})
        state, _ = BBPGaussian(lr=0.05).update(random.fold_in(random.key(1), t), state, now)
    for name, value in problem.init_params(random.key(0)).items():
        scale = math.sqrt(2 / value.shape[1]) if value.dim() == 2 else 1.0
        sigma = torch.nn.functional.softplus(state.params[f"rho.{name}"])
        centre = -1.0 if name == "log_noise" else 0.0
        assert_close(state.params[f"mean.{name}"], torch.full_like(value, centre), rtol=0, atol=1e-2)
        assert_close(sigma, torch.full_like(value, scale), rtol=1e-2, atol=0)


def test_predictive_samples_are_functions():
    """Each component is one weight sample for all rows: rows in another order give the components in that order."""
    problem = make_problem(X, Y)
    posterior = METHOD.posterior(METHOD.init(random.key(0), problem), None, problem)
    mixture = posterior.predictive(random.key(1), problem, X, 6)
    assert mixture.mean.shape == (6, 40)
    assert_close(posterior.predictive(random.key(1), problem, X.flip(0), 6).mean, mixture.mean.flip(1))
    assert mixture.mean.std(0).min() > 0
