"""Rank-1 networks: the objective against torch.distributions and moments by hand, draws against explicit weights."""

import math

import pytest
import torch
from helpers import make_problem, normal
from torch.distributions import Normal, kl_divergence
from torch.func import vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.methods import configure, rank_1
from bnnbench.methods.map import MAP
from bnnbench.methods.rank_1 import RankOne, divergence, moments_of
from bnnbench.model import Batch, Homoscedastic

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(20, 3, generator=GENERATOR, dtype=torch.float64)
K = 3
METHOD = RankOne(components=K, spread=0.4, sigma=0.2, prior_sd=0.3)
LAYERS = ("layers.0", "layers.1")


def problem_of(hidden=(5,)):
    return METHOD.prepare(make_problem(X, X[:, 0].sin(), Homoscedastic(), hidden=hidden, batch_size=6))


def state_of(problem, method=METHOD):
    """A start at which all components differ in everything."""
    state, generator = method.init(random.key(9), problem), torch.Generator().manual_seed(1)
    params = {k: v + 0.3 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in state.params.items()}
    return state._replace(params=params)


def weight(params, layer, k):
    return params[f"weight.{layer}"] * torch.outer(params[f"r.{layer}"][k], params[f"s.{layer}"][k])


def outputs(params, k, x):
    h = torch.relu(x @ weight(params, "layers.0", k).T + params["bias.layers.0"][k])
    return (h @ weight(params, "layers.1", k).T + params["bias.layers.1"][k])[..., 0]


def factors_of(params, k):
    """Means and standard deviations of all factors of a component, by a softplus written out."""
    names = [name for name in params if name.startswith(("r.", "s."))]
    mean = torch.cat([params[name][k] for name in names])
    return mean, torch.cat([torch.log1p(params[f"rho.{name}"][k].exp()) for name in names])


def log_prior(params):
    """Of the shared weights and the noise, and the mean of the components' biases."""
    total = normal(-1, 1).log_prob(params["log_noise"])
    for layer in LAYERS:
        w = params[f"weight.{layer}"]
        total = total + normal(0, (2 / w.shape[1]) ** 0.5).log_prob(w).sum()
        total = total + normal(0, 1).log_prob(params[f"bias.{layer}"]).sum() / K
    return total


def kl(params):
    """Mean over the components, by torch.distributions."""
    found = [kl_divergence(Normal(*factors_of(params, k)), Normal(1.0, 0.3, validate_args=False)) for k in range(K)]
    return sum(value.sum() for value in found) / K


def agrees(method):
    """Whether the parts of the method's objective are those of the oracle; where factors hardly vary, that of the data
    too, row by row."""
    problem = problem_of()
    state = state_of(problem)
    certain = {k: torch.full_like(v, -40.0) if k.startswith("rho.") else v for k, v in state.params.items()}
    fits = True
    for params in (state.params, certain):
        key = random.key(3)
        _, info = method.update(key, state._replace(params=params), problem)
        fits = fits and torch.allclose(info["kl"], kl(params) / 20)
        want = info["nll"] - log_prior(params) / 20 + method.beta * kl(params) / 20
        fits = fits and torch.allclose(info["loss"], want)
    batch, losses = problem.minibatch(key), []
    for first in range(K):
        rows = [outputs(certain, (i + first) % K, batch.x[i]) for i in range(6)]
        noise = normal(torch.stack(rows), 1e-3 + certain["log_noise"].exp())
        losses.append(-noise.log_prob(batch.y).mean())
    return fits and sum(abs(float(loss - info["nll"])) < 1e-9 for loss in losses) == 1


def test_the_objective_is_the_bound_of_the_docstring():
    assert agrees(METHOD)


def test_broken_objectives_are_caught(monkeypatch):
    """Divergences added up over the components, one that is reversed, a prior around 0, and none at all."""

    def reversed_kl(means, sd, prior_sd):
        return sum(kl_divergence(Normal(1.0, prior_sd), Normal(means[k], v)).sum() for k, v in sd.items()) / K

    broken = {
        "summed": lambda means, sd, prior_sd: K * divergence(means, sd, prior_sd),
        "reversed": reversed_kl,
        "around 0": lambda means, sd, prior_sd: divergence({k: means[k] + 1 for k in sd}, sd, prior_sd),
        "none": lambda means, sd, prior_sd: 0 * divergence(means, sd, prior_sd),
    }
    for name, function in broken.items():
        monkeypatch.setattr(rank_1, "divergence", function)
        assert not agrees(METHOD), name


def expected_nll(params, k, x, y):
    """E_q of -log N(y; r s^T W x + b, noise^2) of a linear network with one output, in closed form, [rows]."""
    mean = {f: params[f"{f}.layers.0"][k] for f in "rs"}
    variance = {f: torch.log1p(params[f"rho.{f}.layers.0"][k].exp()) ** 2 for f in "rs"}
    parts = params["weight.layers.0"][0] * x
    u, of_u = (parts * mean["s"]).sum(1), (parts**2 * variance["s"]).sum(1)
    square = (mean["r"] ** 2 + variance["r"]) * (u**2 + of_u)
    centre = y - params["bias.layers.0"][k] - mean["r"] * u
    noise = 1e-3 + params["log_noise"].exp()
    return 0.5 * math.log(2 * math.pi) + noise.log() + (centre**2 + square - (mean["r"] * u) ** 2) / (2 * noise**2)


def test_the_data_term_is_an_expectation_over_factors_of_each_row_s_own():
    """4,000 draws: the mean within 5 standard errors of the closed form (once in 2 million); and their variance at one
    row, seen six times, is a sixth of that of one draw, within 30 %."""
    problem, method = problem_of(()), RankOne(components=K, spread=0.4, sigma=0.3)
    params = state_of(problem, method).params
    means, sd = moments_of(params)
    batch = problem.minibatch(random.key(3))
    keys = random.split(random.key(5), 4000)
    found = vmap(lambda key: method.nll(key, means, sd, batch, problem))(keys)
    want = sum(expected_nll(params, k, batch.x, batch.y).mean() for k in range(K)) / K
    assert abs(found.mean() - want) < 5 * found.std() / 4000**0.5
    single = RankOne(components=1, spread=0.4, sigma=0.3)
    means, sd = moments_of(state_of(problem, single).params)
    variances = []
    for rows in (1, 6):
        same = Batch(batch.x[:1].expand(rows, 3), batch.y[:1].expand(rows), torch.ones(rows).double())
        variances.append(vmap(lambda key, same=same: single.nll(key, means, sd, same, problem))(keys).var())
    assert 0.7 < variances[0] / variances[1] / 6 < 1.3


def test_the_mean_of_the_divergences_bounds_that_of_the_mixture():
    """KL((1/K) sum_k q_k || p) <= (1/K) sum_k KL(q_k || p), the former by 100,000 draws."""
    params = state_of(problem_of()).params
    parts = [Normal(*factors_of(params, k)) for k in range(K)]
    torch.manual_seed(0)
    total = 0.0
    for part in parts:
        z = part.sample((100_000,))
        mixture = torch.stack([own.log_prob(z).sum(1) for own in parts]).logsumexp(0) - math.log(K)
        total = total + (mixture - normal(1, 0.3).log_prob(z).sum(1)).mean() / K
    assert total <= divergence(*moments_of(params), 0.3)
    assert_close(divergence(*moments_of(params), 0.3), kl(params))


def test_draws_are_products_of_normals_of_one_component_each():
    """Means and variances of 30,000 draws of all weights, component by component: W E[r] E[s] and
    W^2 (E[r^2] E[s^2] - (E[r] E[s])^2); 6 sigma, by each weight's own fourth moment."""
    problem = problem_of()
    state = state_of(problem)
    posterior = METHOD.posterior(state, None, problem)
    draws = posterior.sample(random.key(2), problem, 30_000)
    assert [posterior.size(samples) for samples in (1, 4, 100)] == [K, K, 99]
    for k in range(K):
        for layer in LAYERS:
            r, s = (state.params[f"{f}.{layer}"][k] for f in "rs")
            vr, vs = (torch.log1p(state.params[f"rho.{f}.{layer}"][k].exp()) ** 2 for f in "rs")
            W, own = state.params[f"weight.{layer}"], draws[f"{layer}.weight"][k::K]
            variance = W**2 * (torch.outer(r**2 + vr, s**2 + vs) - torch.outer(r, s) ** 2)
            z = (own - W * torch.outer(r, s)) / variance.sqrt()
            assert (z.mean(0).abs() < 6 / 10_000**0.5).all()
            assert ((z**2).mean(0) - 1).abs().lt(6 * ((z**4).mean(0) - 1).sqrt() / 10_000**0.5).all()
            bias = draws[f"{layer}.bias"][k::K]
            assert_close(bias, state.params[f"bias.{layer}"][k].expand_as(bias), rtol=0, atol=0)


def test_the_predictive_is_that_of_the_drawn_networks():
    problem = problem_of()
    posterior = METHOD.posterior(state_of(problem), None, problem)
    draws = posterior.sample(random.key(2), problem, 6)
    found = posterior.predictive(random.key(2), problem, X, 7)
    for j in range(6):
        h = torch.relu(X @ draws["layers.0.weight"][j].T + draws["layers.0.bias"][j])
        assert_close(found.mean[j], (h @ draws["layers.1.weight"][j].T + draws["layers.1.bias"][j])[:, 0])


def test_the_start_is_around_the_plain_network():
    problem = problem_of()
    method = RankOne(components=200, spread=0.05, sigma=0.02)
    params, plain = method.init(random.key(9), problem).params, MAP().init(random.key(9), problem).params
    means, sd = moments_of(params)
    for layer in LAYERS:
        assert_close(params[f"weight.{layer}"], plain[f"{layer}.weight"], rtol=0, atol=0)
        for name in (f"r.{layer}", f"s.{layer}"):
            assert_close(sd[name], torch.full_like(sd[name], 0.02))
            z = (means[name] - 1) / 0.05
            assert abs(z.mean()) < 5 / z.numel() ** 0.5
            assert abs(z.std() - 1) < 5 / (2 * z.numel()) ** 0.5
    assert RankOne().num_networks == 1


@pytest.mark.parametrize("setting", ["components", "prior_sd", "sigma", "beta"])
def test_settings_out_of_range(setting):
    with pytest.raises(UserError, match=rf"^rank-1\.{setting} must"):
        configure(RankOne, {setting: "0"})
