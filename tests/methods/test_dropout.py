"""Keyed dropout, and Monte Carlo dropout by it."""

import math

import pytest
import torch
from helpers import make_problem, normal
from torch.testing import assert_close

from bnnbench import random
from bnnbench.layers import dropped, keyed, next_key, with_dropout
from bnnbench.layers.dropout import dropout
from bnnbench.methods.map import MAP
from bnnbench.methods.mc_dropout import MCDropout
from bnnbench.model import GaussianPrior, Homoscedastic, LaplacePrior
from bnnbench.nets import MLP, LeNet

X = torch.randn(25, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_masks(rate):
    """Kept with probability 1 - rate and scaled by 1 / (1 - rate); rows and units independent. 5 sigma."""
    with keyed(random.key(0), rate=rate):
        out = dropout(torch.ones(400, 300))
        again = dropout(torch.ones(400, 300))
    kept = out > 0
    assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - rate)))
    sd = math.sqrt(rate * (1 - rate))
    assert abs(kept.float().mean() - (1 - rate)) < 5 * sd / math.sqrt(120_000)
    z = (kept.float() - (1 - rate)) / sd
    for other in (z.roll(1, 0), z.roll(1, 1), (again > 0).float().sub(1 - rate) / sd):
        assert abs((z * other).mean()) < 5 / math.sqrt(120_000)


def test_a_shared_mask_serves_all_rows():
    with keyed(random.key(0), rate=0.5, shared=True):
        out = dropout(torch.ones(40, 30))
    assert (out == out[0]).all()
    assert 0 < (out[0] > 0).sum() < 30


def test_the_j_th_call_draws_from_its_own_key():
    key = random.key(4)
    with keyed(key):
        first, second = next_key(), next_key()
        with keyed(random.key(9)):
            next_key()
        third = next_key()
    assert_close(torch.stack([first, second, third]), random.fold_in(key, torch.arange(1, 4)))


def test_without_a_key_it_says_what_to_do():
    with pytest.raises(RuntimeError, match="with keyed"):
        dropout(X)
    with pytest.raises(ZeroDivisionError), keyed(random.key(0), rate=0.1):
        1 / 0  # noqa: B018 - leaves the block by an exception
    with pytest.raises(RuntimeError, match="with keyed"):
        next_key()


def test_conversion_keeps_the_network_and_its_names():
    network = MLP(3, (7, 6), 2)
    converted = with_dropout(network)
    assert list(converted.state_dict()) == list(network.state_dict())
    assert_close(dict(converted.state_dict()), dict(network.state_dict()))
    assert [type(layer).__name__ for layer in converted.layers] == ["Linear", "DropoutLinear", "DropoutLinear"]
    assert {type(layer) for layer in network.layers} == {torch.nn.Linear}
    with torch.no_grad():
        converted.layers[0].weight.zero_()
    assert network.layers[0].weight.abs().sum() > 0
    again = MLP(3, (7, 6), 2)
    again.load_state_dict(network.state_dict())
    with keyed(random.key(0), rate=0.0):
        assert_close(with_dropout(again)(X), network(X))


def test_rate_zero_is_map():
    problem = make_problem(X, X[:, 0])
    method, twin = MCDropout(rate=0.0, lr=3e-3), MAP(lr=3e-3)
    ours = method.prepare(problem)
    state, other = method.init(random.key(0), ours), twin.init(random.key(0), problem)
    for t in range(5):
        state, info = method.update(random.key(t), state, ours)
        other, info_map = twin.update(random.key(t), other, problem)
        assert_close((state, info), (other, info_map))
    mixture = method.posterior(state, None, ours).predictive(random.key(1), ours, X, 4)
    single = twin.posterior(other, None, problem).predictive(random.key(1), problem, X, 1)
    assert_close(mixture.mean, single.mean.expand(4, -1))


def test_a_sample_is_one_function():
    """One mask per sample for all rows: with one hidden layer each component is the network with some units off."""
    problem = make_problem(X, X[:, 0], hidden=(4,))
    method = MCDropout(rate=0.5)
    state, converted = method.init(random.key(0), problem), method.prepare(problem)
    p = state.params
    posterior = method.posterior(state, None, converted)
    mixture = posterior.predictive(random.key(2), converted, X, 50).mean
    hidden = (X @ p["layers.0.weight"].T + p["layers.0.bias"]).relu()
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 2.0])] * 4)
    possible = (hidden * masks[:, None]) @ p["layers.1.weight"][0] + p["layers.1.bias"][0]
    distance = (mixture[:, None] - possible).abs().amax(-1)
    assert (distance.min(1).values < 1e-5).all()
    assert len(distance.argmin(1).unique()) > 8  # of 16; 50 draws miss half of them once in 10^13
    reversed_rows = posterior.predictive(random.key(2), converted, X.flip(0), 50).mean
    assert_close(reversed_rows, mixture.flip(1))


def masked_log_prior(method, params, kind):
    """E log p(w) over all masks of the inputs of the second layer, whose weights are W m / keep; torch's densities."""

    def density(value, scale):
        if kind is LaplacePrior:
            return torch.distributions.Laplace(0.0, torch.as_tensor(scale), validate_args=False).log_prob(value).sum()
        return normal(0.0, scale).log_prob(value).sum()

    own, keep = 0.0, 1 - method.rate
    for name, value in params.items():
        scale = 1.5 * ((2 / value.shape[1]) ** 0.5 if value.dim() == 2 else 1.0)
        if name == "log_noise":
            own = own + normal(-1.0, 1.0).log_prob(value)
        elif name == "layers.1.weight":
            masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
            chance = (keep**masks * (1 - keep) ** (1 - masks)).prod(1)
            own = own + sum(c * density(value * m / keep, scale) for c, m in zip(chance, masks, strict=True))
        else:
            own = own + density(value, scale)
    return own


def assert_prior_is_that_of_the_masked_weights(method, kind):
    """Without data the loss is -E log p(w) but for a constant, so that two networks differ by the same."""
    problem = make_problem(
        X.double(), X[:, 0].double(), Homoscedastic(), kind(scale=1.5), (3,), torch.zeros(25).double()
    )
    problem = method.target(method.prepare(problem))
    losses, expected = [], []
    for seed in range(2):
        state = method.init(random.key(seed), problem)
        params = {name: value + 0.3 for name, value in state.params.items()}
        losses.append(method.update(random.key(7), state._replace(params=params), problem)[1]["loss"])
        expected.append(-masked_log_prior(method, params, kind))
    assert_close(losses[0] - losses[1], expected[0] - expected[1])


@pytest.mark.parametrize("kind", [GaussianPrior, LaplacePrior])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.6])
def test_the_prior_is_that_of_the_masked_weights(kind, rate):
    assert_prior_is_that_of_the_masked_weights(MCDropout(rate=rate), kind)


class Unscaled(MCDropout):
    """L2 without the keep factor."""

    def log_prior(self, params, problem):
        return problem.log_prior(params)


class Multiplied(MCDropout):
    """The keep factor of M where the weights are W = keep M."""

    def log_prior(self, params, problem):
        keep = 1 - self.rate
        own = {name: value * keep**0.5 if name == "layers.1.weight" else value for name, value in params.items()}
        return problem.log_prior(own)


class Everywhere(MCDropout):
    """The keep factor also of the layer whose inputs are never dropped, and of biases."""

    def log_prior(self, params, problem):
        keep = 1 - self.rate
        own = {name: value if name == "log_noise" else value / keep**0.5 for name, value in params.items()}
        return problem.log_prior(own)


@pytest.mark.parametrize("broken", [Unscaled, Multiplied, Everywhere])
def test_another_keep_factor_is_caught(broken):
    with pytest.raises(AssertionError, match="not close"):
        assert_prior_is_that_of_the_masked_weights(broken(rate=0.1), GaussianPrior)


def test_which_weights_are_dropped():
    assert dropped(MLP(3, (4,), 1)) == frozenset()
    assert dropped(with_dropout(MLP(3, (), 1))) == frozenset()
    assert dropped(with_dropout(MLP(3, (7, 6), 2))) == {"layers.1.weight", "layers.2.weight"}
    network = LeNet(1, 10)
    matrices = [name for name, value in network.named_parameters() if value.dim() > 1]
    assert dropped(with_dropout(network)) == set(matrices[1:])


def test_a_single_layer_is_trained_as_by_map():
    problem = make_problem(X, X[:, 0], hidden=())
    method = MCDropout(rate=0.5)
    state, _ = method.update(random.key(1), method.init(random.key(0), problem), method.prepare(problem))
    other, _ = MAP(lr=method.lr).update(random.key(1), MAP().init(random.key(0), problem), problem)
    assert_close(state, other, rtol=0, atol=0)
