"""Laplace approximations against dense matrices made with `jacrev` of a network written out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import make_problem
from torch import distributions as D
from torch import nn
from torch.func import jacrev, vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers.taps import with_taps
from bnnbench.methods.gaussians import from_matrices
from bnnbench.methods.laplace import LaplaceDiag, LaplaceFull, LaplaceKron, LaplaceLast
from bnnbench.methods.map import MAP
from bnnbench.methods.optimise import AdamState, adam_init
from bnnbench.model.parameters import flatten, unflatten
from bnnbench.model import Categorical, GaussianPrior, Heteroscedastic, Homoscedastic, LaplacePrior

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(30, 2, generator=GENERATOR, dtype=torch.float64)
WEIGHT = (torch.arange(30) % 4).double()  # of the examples: 0 ... 3
LIKELIHOODS = [Heteroscedastic(), Homoscedastic(), Categorical(3)]
KRON, DIAG, FULL, LAST = LaplaceKron(), LaplaceDiag(), LaplaceFull(), LaplaceLast()
METHODS = [KRON, DIAG, FULL, LAST, LaplaceLast(structure="kronecker")]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.name}-{getattr(m, 'structure', '')}")
every_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda m: type(m).__name__)


def problem_of(likelihood, hidden=(4,), weight=WEIGHT, scale=1.0):
    y = torch.arange(30) % 3 if isinstance(likelihood, Categorical) else torch.sin(3 * X[:, 0])
    return make_problem(X, y, likelihood, GaussianPrior(scale), hidden, weight, steps=20)


def fit_of(problem, seed=0, size=1.5):
    """A state between initialisation and optimum; log_noise away from its start."""
    params = problem.init_params(random.key(seed))
    return adam_init({name: value + 0.3 if name == "log_noise" else size * value for name, value in params.items()})


# The oracle: a flat vector in the order of the parameters, log_noise left out.


def of_weights(params):
    return {name: value for name, value in params.items() if name != "log_noise"}


def network(w, x):
    """Outputs, inputs of each layer."""
    inputs, depth = [x], len(w) // 2
    for i in range(depth):
        x = x @ w[f"layers.{i}.weight"].T + w[f"layers.{i}.bias"]
        x = x.clamp(min=0) if i < depth - 1 else x
        inputs.append(x)
    return x, inputs[:-1]


def fisher(likelihood, params, out):
    """Fisher information [n, K, K] by the textbook's formulas."""
    if isinstance(likelihood, Categorical):
        p = torch.exp(out) / torch.exp(out).sum(1, keepdim=True)
        return torch.stack([torch.diag(q) - torch.outer(q, q) for q in p])
    if isinstance(likelihood, Homoscedastic):
        return (1 / (1e-3 + math.exp(params["log_noise"])) ** 2) * torch.ones(len(out), 1, 1).double()
    sd, slope = 1e-3 + torch.log1p(out[:, 1].exp()), 1 / (1 + torch.exp(-out[:, 1]))
    return torch.stack([torch.diag(torch.stack(pair)) for pair in zip(sd**-2, 2 * slope**2 / sd**2, strict=True)])


def prior_sd(params, scale=1.0):
    return flatten(
        {k: torch.full_like(v, scale * (math.sqrt(2 / v.shape[1]) if v.dim() == 2 else 1.0)) for k, v in params.items()}
    )


def jacobian(params, x):
    """[n, K, P]."""
    w = of_weights(params)
    return jacrev(lambda vector: network(unflatten(vector, w), x)[0])(flatten(w))


def ggn(problem, params, weight=WEIGHT):
    """[P, P]."""
    J = jacobian(params, X)
    F = fisher(problem.likelihood, params, network(of_weights(params), X)[0])
    return sum(weight[i] * J[i].T @ F[i] @ J[i] for i in range(len(X)))


def kron_ggn(problem, params, weight=WEIGHT):
    """Blocks kron(G, A) by loops over layers and examples, in the parameters' order and not scaled.

    The Jacobian with respect to a pre-activation is that with respect to the bias.
    """
    w = of_weights(params)
    out, inputs = network(w, X)
    F = fisher(problem.likelihood, params, out)
    total = torch.zeros(len(flatten(w)), len(flatten(w))).double()
    index = unflatten(torch.arange(len(flatten(w))), w)
    for layer, a in enumerate(inputs):
        name = f"layers.{layer}.bias"
        J = jacrev(lambda b, name=name: network(w | {name: b}, X)[0])(w[name])
        A = sum(weight[i] * torch.outer(v, v) for i, v in enumerate(torch.cat([a, torch.ones(30, 1).double()], 1)))
        G = sum(weight[i] * J[i].T @ F[i] @ J[i] for i in range(30)) / max(weight.sum(), 1)
        place = torch.cat([index[f"layers.{layer}.weight"], index[name][:, None]], 1).reshape(-1)
        total[place[:, None], place] = torch.kron(G, A)
    return total


def last_layer(params):
    """Which coordinates belong to the last layer."""
    w = of_weights(params)
    last = f"layers.{len(w) // 2 - 1}"
    return flatten({name: torch.full_like(value, name.startswith(last)) for name, value in w.items()}).bool()


def curvature(method, problem, params, weight=WEIGHT):
    """What stands for H in the method's posterior."""
    if isinstance(method, LaplaceKron) or getattr(method, "structure", "dense") == "kronecker":
        return kron_ggn(problem, params, weight)
    H = ggn(problem, params, weight)
    return torch.diag(H.diag()) if isinstance(method, LaplaceDiag) else H


def expected_covariance(method, problem, params, weight=WEIGHT, delta=1.0, scale=1.0):
    """T = 1; zeros for coordinates without a distribution."""
    s = prior_sd(of_weights(params), scale)
    precision = curvature(method, problem, params, weight) + torch.diag(delta / s**2)
    rows = last_layer(params) if isinstance(method, LaplaceLast) else torch.ones_like(s).bool()
    covariance = torch.zeros_like(precision)
    covariance[rows[:, None] & rows] = torch.linalg.inv(precision[rows][:, rows]).reshape(-1)
    return covariance


def covariance_of(method, state):
    """The exact covariance of the method's draws: what it makes of unit vectors in place of normals."""
    like, w = method._matrices(state), of_weights(state.params)

    def draw(z):
        change = from_matrices(state.covariance.colour(unflatten(z, like)), w)
        return flatten({name: method._sd(state, name) * value for name, value in change.items()})

    root = torch.stack([draw(z) for z in torch.eye(len(flatten(like))).double()], 1)
    return root @ root.T


# Fisher information.


def log_prob(likelihood, v, y):
    """Of outputs v[:K] and log_noise v[K], by torch.distributions."""
    if isinstance(likelihood, Categorical):
        return D.Categorical(logits=v[:3]).log_prob(y)
    noise = v[1].exp() if isinstance(likelihood, Homoscedastic) else nn.functional.softplus(v[1])
    return D.Normal(v[0], 1e-3 + noise).log_prob(y)


@every_likelihood
def test_fisher_information_is_the_expected_hessian(likelihood):
    """Of autograd. Gauss-Hermite quadrature is exact, since a Gaussian's Hessian is quadratic in y; the outputs and
    log_noise share no information."""
    nodes, weights = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(5))
    for v in torch.randn(5, 3, generator=GENERATOR, dtype=torch.float64):
        if isinstance(likelihood, Categorical):
            cases = [(v.softmax(0)[k], torch.tensor(k)) for k in range(3)]
        else:
            v = v[:2]
            sd = 1e-3 + (v[1].exp() if isinstance(likelihood, Homoscedastic) else nn.functional.softplus(v[1]))
            cases = [(p / weights.sum(), v[0] + sd * z) for p, z in zip(weights, nodes, strict=True)]
        expected = -sum(p * jacrev(jacrev(lambda u, y=y: log_prob(likelihood, u, y)))(v) for p, y in cases)
        K, params = likelihood.outputs, {"log_noise": v[-1]}
        root = likelihood.fisher_root(params, v[None, :K])
        assert root.shape == (1, K, K)
        found = torch.block_diag(root[0] @ root[0].T, *([likelihood.noise_fisher(params)] if K == 1 else []))
        assert_close(found, expected, rtol=1e-9, atol=1e-9)


# Posteriors.


@every_method
@every_likelihood
@pytest.mark.parametrize("hidden", [(), (4,), (3, 4)], ids=str)
def test_covariance_is_the_dense_inverse(method, likelihood, hidden):
    """full: J^T F J; diag: its diagonal; last: its block; kron: kron(G, A). In weights that are not standardised."""
    problem = problem_of(likelihood, hidden)
    state = method.finish(random.key(1), fit_of(problem), problem)
    expected = expected_covariance(method, problem, state.params)
    assert_close(covariance_of(method, state), expected, rtol=1e-8, atol=1e-12)
    mean, sd = method.moments(state, None)
    assert_close(mean, fit_of(problem).params, rtol=0, atol=0)
    assert_close(flatten(of_weights(sd)), expected.diag().sqrt(), rtol=1e-8, atol=1e-12)
    if "log_noise" in sd:
        noise = math.exp(state.params["log_noise"])
        information = WEIGHT.sum() * 2 * (noise / (1e-3 + noise)) ** 2
        assert_close(sd["log_noise"], (1 + information).rsqrt())


@pytest.mark.parametrize("method", [FULL, LAST], ids=lambda m: m.name)
def test_a_dense_covariance_lies_in_memory_as_it_is_loaded(method):
    """By rows: where a library multiplies columns in another order, a loaded posterior differed in last digits."""
    problem = problem_of(LIKELIHOODS[0])
    assert method.finish(random.key(1), fit_of(problem), problem).covariance.inverse.is_contiguous()


@every_method
@every_likelihood
def test_without_data_it_is_the_prior(method, likelihood):
    problem = problem_of(likelihood, weight=0 * WEIGHT)
    state = method.finish(random.key(1), fit_of(problem), problem)
    s = torch.where(
        last_layer(state.params) | (not isinstance(method, LaplaceLast)), prior_sd(of_weights(state.params)), 0.0
    )
    assert_close(covariance_of(method, state), torch.diag(s**2))


@pytest.mark.parametrize("method", [KRON, FULL, LAST], ids=lambda m: m.name)
def test_a_linear_model_given_its_noise_is_exact(method):
    """Mean and covariance of Bayesian linear regression in closed form."""
    problem = problem_of(Homoscedastic(), hidden=())
    noise, design = 1e-3 + math.exp(-0.7), torch.cat([X, torch.ones(30, 1).double()], 1)
    covariance = torch.linalg.inv((design * WEIGHT[:, None]).T @ design / noise**2 + torch.eye(3).double())
    mean = covariance @ (design * WEIGHT[:, None]).T @ torch.sin(3 * X[:, 0]) / noise**2
    params = {"layers.0.weight": mean[None, :2], "layers.0.bias": mean[2:]}
    params |= {"log_noise": torch.tensor(-0.7, dtype=torch.float64)}

    def energy(w):
        total = problem.over_data(lambda batch: problem.mean_nll(params | w, batch) * 30)
        return total - problem.log_prior(params | w)

    gradient = torch.func.grad(energy)(of_weights(params))
    assert_close(flatten(gradient), torch.zeros(3).double(), rtol=0, atol=1e-9)  # the optimum is the posterior's mean
    state = method.finish(random.key(0), adam_init(params), problem)
    assert_close(covariance_of(method, state), covariance, rtol=1e-9, atol=1e-12)
    x = torch.tensor([[0.3, -1.0], [2.0, 5.0]]).double()
    terms = method.predict(random.key(1), state, None, problem, x, 20_000)
    at = torch.cat([x, torch.ones(2, 1).double()], 1)
    variance = (at @ covariance @ at.T).diag()
    # 6 standard errors each: four comparisons alarm once in 10^8
    assert ((terms.mean.mean(0) - at @ mean).abs() < 6 * (variance / 20_000).sqrt()).all()
    assert ((terms.mean.var(0) / variance - 1).abs() < 6 * math.sqrt(2 / 20_000)).all()


@every_method
def test_samples_have_the_covariance(method):
    """Whitened by the exact covariance: 20,000 draws of at most 18 numbers; 6 sigma, 189 comparisons alarm once in
    2 million. log_noise is independent of the weights."""
    problem = problem_of(Homoscedastic())
    state = method.finish(random.key(1), fit_of(problem), problem)
    draws = method.weights(random.key(2), state, None, problem, 20_000)
    mean, sd = method.moments(state, None)
    flat = vmap(flatten)(of_weights(draws)) - flatten(of_weights(mean))
    rows = last_layer(mean) | (not isinstance(method, LaplaceLast))
    assert (flat[:, ~rows] == 0).all()
    factor = torch.linalg.cholesky(expected_covariance(method, problem, mean)[rows][:, rows])
    z = torch.linalg.solve_triangular(factor, flat[:, rows].T, upper=False)
    z = torch.cat([z, ((draws["log_noise"] - mean["log_noise"]) / sd["log_noise"])[None]])
    assert (z.mean(1).abs() < 6 / math.sqrt(20_000)).all()
    assert ((z @ z.T / 20_000 - torch.eye(len(z))).abs() < 6 * math.sqrt(2 / 20_000)).all()


# Predictives.


@every_method
@every_likelihood
def test_linearised_terms_are_those_of_the_jacobian(method, likelihood):
    """f_map + J (w_s - w_map), with the very samples of `weights`; rows of any order are of the same functions."""
    problem = problem_of(likelihood)
    state = method.finish(random.key(1), fit_of(problem), problem)
    draws = method.weights(random.key(2), state, None, problem, 5)
    change = vmap(flatten)(of_weights(draws)) - flatten(of_weights(state.params))
    out = network(of_weights(state.params), X)[0] + torch.einsum("nkp,sp->snk", jacobian(state.params, X), change)
    terms = method.predict(random.key(2), state, None, problem, X, 5)
    if isinstance(likelihood, Categorical):
        assert_close(terms.log_probs, out.log_softmax(2))
    else:
        noise = out[..., 1].exp().log1p() if out.shape[2] == 2 else draws["log_noise"].exp()[:, None].expand(5, 30)
        assert_close(terms.mean, out[..., 0])
        assert_close(terms.scale, 1e-3 + noise)
    flipped = method.predict(random.key(2), state, None, problem, X.flip(0)[:7], 5)
    assert_close(flipped[0], terms[0].flip(1)[:, :7])


@every_likelihood
def test_sampled_terms_are_the_network_s(likelihood):
    problem, method = problem_of(likelihood), LaplaceKron(predictive="sampled")
    state = method.finish(random.key(1), fit_of(problem), problem)
    draws = method.weights(random.key(2), state, None, problem, 5)
    terms = method.predict(random.key(2), state, None, problem, X, 5)
    assert_close(terms, problem.predict(draws, X), rtol=0, atol=0)
    linear = KRON.predict(random.key(2), state, None, problem, X, 5)
    assert not torch.allclose(terms[0], linear[0])


@every_method
@pytest.mark.parametrize("predictive", ["linearised", "sampled"])
def test_prediction_is_differentiable_in_the_inputs(method, predictive):
    method, problem = replace(method, predictive=predictive), problem_of(Heteroscedastic())
    state = method.finish(random.key(1), fit_of(problem), problem)

    def total(x):
        terms = method.predict(random.key(2), state, None, problem, x, 3)
        return terms.mean.square().sum() + terms.scale.sum()

    step = 1e-6 * torch.eye(60).double()[7].reshape(30, 2)
    numeric = (total(X + step) - total(X - step)) / 2e-6
    assert_close(torch.func.grad(total)(X)[3, 1], numeric, rtol=1e-5, atol=1e-7)


# Hyperparameters.


@every_method
@every_likelihood
def test_marginal_likelihood_picks_the_precision(method, likelihood):
    """The best of the grid by log N(u; 0, I / delta) - log det(H + delta I) / 2 of dense matrices, not at its ends."""
    problem, method = problem_of(likelihood), replace(method, precision="marglik")
    state = method.finish(random.key(1), fit_of(problem, size=0.6), problem)
    w, s = flatten(of_weights(state.params)), prior_sd(of_weights(state.params))
    rows = last_layer(state.params) | (not isinstance(method, LaplaceLast))
    H = (torch.outer(s, s) * curvature(method, problem, state.params))[rows][:, rows]
    u, identity, evidence = (w / s)[rows], torch.eye(len(H)).double(), {}
    for delta in [10 ** (-4 + 8 * i / 60) for i in range(61)]:
        prior = D.Normal(torch.zeros_like(u), torch.full_like(u, delta**-0.5)).log_prob(u).sum()
        evidence[delta] = float(prior - torch.linalg.slogdet(H + delta * identity)[1] / 2)
    delta = max(evidence, key=lambda d: evidence[d])
    assert 1e-4 < delta < 1e4
    assert delta != pytest.approx(1.0)
    expected = expected_covariance(method, problem, state.params, delta=delta)
    assert_close(covariance_of(method, state), expected, rtol=1e-8, atol=1e-12)


@every_method
def test_a_number_is_the_precision(method):
    """delta multiplies the precision of the prior, at the same MAP."""
    problem, method = problem_of(Heteroscedastic()), replace(method, precision="30")
    state = method.finish(random.key(1), fit_of(problem), problem)
    expected = expected_covariance(method, problem, state.params, delta=30.0)
    assert_close(covariance_of(method, state), expected, rtol=1e-8, atol=1e-12)
    assert_close(state.params, fit_of(problem).params, rtol=0, atol=0)


@every_method
def test_temperature_and_prior_scale(method):
    problem = problem_of(Homoscedastic())
    state = method.finish(random.key(1), fit_of(problem), problem)
    cold = replace(method, temperature=0.25)
    assert_close(
        covariance_of(cold, cold.finish(random.key(1), fit_of(problem), problem)), covariance_of(method, state) / 4
    )
    means, sds = cold.moments(state, None)
    assert_close(sds, {name: value / 2 for name, value in method.moments(state, None)[1].items()})
    draws, halves = (m.weights(random.key(3), state, None, problem, 2) for m in (method, cold))
    assert_close(halves, {name: (value + means[name]) / 2 for name, value in draws.items()})
    wide = replace(method, prior_scale=3.0)
    found = covariance_of(wide, wide.finish(random.key(1), fit_of(problem), problem))
    assert_close(found, expected_covariance(method, problem, state.params, scale=3.0), rtol=1e-8, atol=1e-12)


@every_likelihood
def test_trains_to_the_optimum_of_map(likelihood):
    """The same to the bit; with a prior's scale, that of the problem under this prior."""

    def trained(method, problem):
        state = method.init(random.key(0), problem)
        for t in range(20):
            now = replace(problem, t=torch.tensor(float(t), dtype=torch.float64))
            state, _ = method.update(random.fold_in(random.key(1), t), state, now)
        assert isinstance(state, AdamState)
        return state

    problem = problem_of(likelihood)
    assert_close(trained(KRON, problem), trained(MAP(), problem), rtol=0, atol=0)
    wide = trained(MAP(), problem_of(likelihood, scale=2.0))
    assert_close(trained(LaplaceKron(prior_scale=2.0), problem), wide, rtol=0, atol=0)
    terms = KRON.predict(random.key(3), wide, None, problem, X, 5)
    assert_close(terms, MAP().predict(random.key(3), wide, None, problem, X, 5), rtol=0, atol=0)
    assert KRON.moments(wide, None) is None


@every_method
@pytest.mark.parametrize("precision", ["task", "marglik"])
def test_replicas_together_equal_each_alone(method, precision):
    """One of three is NaN and stays NaN, alone."""
    method, problem = replace(method, precision=precision), problem_of(Heteroscedastic())
    params = [fit_of(problem, seed).params for seed in range(3)]
    params[2] = {name: value * torch.nan for name, value in params[2].items()}
    weights = torch.stack([WEIGHT, WEIGHT.flip(0), WEIGHT])

    def both(w, weight):
        part = replace(problem, rows=problem.rows._replace(weight=weight, total=weight.sum()))
        state = method.finish(random.key(1), adam_init(w), part)
        return covariance_of(method, state), method.predict(random.key(1), state, None, part, X[:3], 2)

    stacked = {name: torch.stack([p[name] for p in params]) for name in params[0]}
    together = vmap(both, randomness="error")(stacked, weights)
    for r in (0, 1):
        alone = both(params[r], weights[r])
        assert_close(together[0][r], alone[0], rtol=1e-9, atol=1e-12)
        assert_close(tuple(v[r] for v in together[1]), tuple(alone[1]), rtol=1e-9, atol=1e-12)
    assert together[1].mean[2].isnan().all()


# Errors.


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"predictive": "linear"}, "linearised or sampled"), ({"precision": "x"}, "task or marglik or a positive number"),
     ({"precision": "-1"}, "a positive number"), ({"precision": "nan"}, "a positive number"),
     ({"precision": "a positive number"}, "not 'a positive number'"),
     ({"temperature": 0.0}, "temperature must be positive"), ({"prior_scale": -1.0}, "prior_scale must be positive")],
)  # fmt: skip
def test_bad_settings(settings, words):
    with pytest.raises(UserError, match=words):
        LaplaceDiag(**settings).check()


def test_only_gaussian_priors():
    with pytest.raises(UserError, match="laplace-kron needs a Gaussian prior, and this task has a LaplacePrior"):
        KRON.prepare(problem_of(Heteroscedastic()).with_prior(LaplacePrior()))


def test_only_linear_and_convolutional_layers():
    network = nn.Sequential(nn.LayerNorm(2), nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"The layer '0' \(LayerNorm\) holds parameters"):
        LAST.prepare(problem_of(Heteroscedastic()).with_network(network))


def test_a_layer_that_is_called_twice():
    layer = nn.Linear(2, 2).double()
    problem = problem_of(Heteroscedastic()).with_network(nn.Sequential(layer, nn.ReLU(), layer))
    with pytest.raises(UserError, match="'0' is called more than once"):
        KRON.finish(random.key(0), fit_of(problem), problem)


@pytest.mark.parametrize(
    ("method", "hidden", "words"),
    [(FULL, (100, 100, 100), "20,702 would need 17 GB; use laplace-kron"),
     (LAST, (8000,), "16,002 would need 10 GB; use laplace-last.structure=kronecker")],
    ids=["full", "last"],
)  # fmt: skip
def test_dense_curvature_has_a_limit(method, hidden, words):
    with pytest.raises(UserError, match=f"A dense curvature holds at most 15,000 parameters: {words}"):
        method.prepare(problem_of(Heteroscedastic(), hidden=hidden))
    LaplaceLast(structure="kronecker").prepare(problem_of(Heteroscedastic(), hidden=hidden))


def test_taps_leave_the_network_as_it_is():
    network = problem_of(Heteroscedastic()).network
    converted = with_taps(network)
    assert [type(layer) for layer in network.layers] == [nn.Linear, nn.Linear]
    assert_close(converted(X), network(X), rtol=0, atol=0)
    assert [name for name, _ in converted.named_parameters()] == [name for name, _ in network.named_parameters()]
