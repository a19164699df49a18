"""Networks converted with kind "mnf": the bound in place of the KL, and the parameters of the multipliers."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers import convert
from bnnbench.layers.bayesian import BayesianNetwork
from bnnbench.layers.mnf import multiplied_layers, with_multipliers
from bnnbench.nets import MLP, LeNet

KEY = random.key(7)
NETWORKS = {"mlp": (lambda: MLP(5, (7, 6), 2), (4, 5)), "lenet": (lambda: LeNet(1, 10), (2, 1, 32, 32))}


@pytest.fixture(params=NETWORKS)
def case(request):
    """A plain network and inputs of it."""
    make, shape = NETWORKS[request.param]
    return make(), random.normal(random.key(1), shape)


def test_without_flows_and_variance_the_kl_is_the_mean_field_one(case):
    net, x = case
    network = with_multipliers(net.double(), layers=0, variance=0.0)
    bayes = BayesianNetwork(network, prior_scale=0.7, sigma=0.2, seed=0)
    expected = sum(
        kl_divergence(Normal(mean, torch.full_like(mean, 0.14)), Normal(torch.zeros_like(mean), 0.7)).sum()
        for mean in net.parameters()
    )
    assert_close(bayes(x.double())[1], expected, rtol=1e-6, atol=0)
    assert_close(bayes.kl(), expected, rtol=1e-6, atol=0)


def test_the_kl_alone_estimates_what_a_forward_pass_does():
    """Two estimates of one bound: their means over 400 keys, 5 sigma."""
    bayes, x = convert(MLP(5, (7, 6), 2).double(), "mnf"), torch.zeros(1, 5, dtype=torch.float64)
    with torch.no_grad():
        alone, beside = (
            torch.stack([f(key) for key in random.split(random.fold_in(KEY, i), 400)])
            for i, f in enumerate([bayes.kl, lambda key: bayes(x, key)[1]])
        )
    error = math.sqrt(float(alone.var() + beside.var()) / 400)
    assert error > 0
    assert abs(alone.mean() - beside.mean()) < 5 * error


@pytest.mark.parametrize("kind", ["mnf-planar", "mnf-iaf", "mnf-spline"])
def test_multipliers_of_every_flow(kind, case):
    """Outputs of the plain network's shape that differ between draws, a KL of their own, gradients in every flow."""
    net, x = case
    bayes = convert(net, kind)
    output, kl = bayes(x, KEY)
    assert output.shape == net(x).shape
    assert (output != bayes(x, random.fold_in(KEY, 1))[0]).any()
    assert kl != convert(net, "mnf")(x, KEY)[1]
    (output.square().sum() + kl).backward()
    for layer in multiplied_layers(bayes):
        assert any(value.grad.abs().max() > 0 for value in layer.multiplier.flow.parameters())
    twin, without = convert(net, kind, sigma=0.0)(x)[0], net(x)
    assert_close(twin, without)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"flow": "maskd"}, "no flow of multipliers 'maskd'; did you mean masked"),
        ({"variance": -1.0}, "not 2 and -1"),
        ({"layers": -1}, "not -1 and 0.1"),
    ],
)
def test_multipliers_that_cannot_be_are_refused(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        with_multipliers(nn.Linear(2, 2), **wrong)


def test_a_prediction_takes_a_draw():
    with pytest.raises(UserError, match="one draw or more, not 0"):
        convert(nn.Linear(2, 2)).sample(torch.ones(1, 2), 0)


def test_the_kl_without_a_key_leaves_the_counter():
    bayes, x = convert(MLP(5, (7,), 2), "mnf"), torch.ones(3, 5)
    twin = copy.deepcopy(bayes)
    assert_close(bayes.kl(), bayes.kl(), rtol=0, atol=0)
    assert_close(bayes(x), twin(x), rtol=0, atol=0)
    assert bayes.kl() != bayes.kl(KEY)


def test_the_start_is_the_seed_s(case):
    """Of means the network's, of multipliers a draw of the seed that no two layers share."""
    net, _ = case
    state = torch.random.get_rng_state()
    one, same, other = (dict(convert(net, "mnf", seed=seed).named_parameters()) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert_close(one, same, rtol=0, atol=0)
    auxiliary = [name for name in one if "auxiliary" in name]
    assert len(auxiliary) == len(multiplied_layers(convert(net, "mnf")))
    assert all((one[name] != other[name]).any() for name in auxiliary)
    assert len({one[name].flatten()[0].item() for name in auxiliary}) == len(auxiliary)
    assert_close({name: one[f"network.{name}"].data for name, _ in net.named_parameters()},
                 {name: value.data for name, value in net.named_parameters()}, rtol=0, atol=0)  # fmt: skip


def test_gradient_flows_to_all_parameters(case):
    """Except what starts at 0 behind a layer that does: all of them move within two steps."""
    net, x = case
    bayes = convert(net, "mnf")
    before = {name: value.detach().clone() for name, value in bayes.named_parameters()}
    optimiser = torch.optim.Adam(bayes.parameters(), lr=1e-3)
    for _ in range(2):
        output, kl = bayes(x)
        optimiser.zero_grad()
        (output.square().sum() + kl).backward()
        optimiser.step()
    assert [name for name, value in bayes.named_parameters() if torch.equal(value, before[name])] == []
    assert all(value.isfinite().all() for value in bayes.parameters())


def test_the_state_goes_round(case):
    """Multipliers, scales and the counter."""
    net, x = case
    bayes = convert(net, "mnf", seed=3)
    bayes(x)
    loaded = convert(net, "mnf", seed=9)
    loaded.load_state_dict(bayes.state_dict())
    assert_close(loaded(x), bayes(x), rtol=0, atol=0)
    assert_close(loaded.sample(x, 2), bayes.sample(x, 2), rtol=0, atol=0)


def test_a_layer_called_twice_counts_once():
    """And draws twice."""
    layer = nn.Linear(4, 4)
    bayes, x = convert(nn.Sequential(layer, nn.Tanh(), layer), "mnf"), torch.ones(3, 4)
    assert len(multiplied_layers(bayes)) == 1
    assert 0 < bayes(x)[1] < 2 * convert(layer, "mnf")(x)[1]


def test_no_examples_give_no_outputs_and_a_kl(case):
    net, x = case
    outputs, kl = convert(net, "mnf")(x[:0])
    assert len(outputs) == 0
    assert torch.isfinite(kl)


def test_an_ordinary_loop_lowers_the_bound():
    """y = sin(3 x) + noise: 400 steps of Adam on 200 rows, to below half of the start's negative bound a datum."""
    x = torch.linspace(-1, 1, 200)[:, None]
    y = torch.sin(3 * x) + 0.1 * random.normal(random.key(2), (200, 1))
    net = MLP(1, (20,), 1)
    net.load_state_dict({name: random.normal(random.key_of(name), v.shape) for name, v in net.state_dict().items()})
    bayes, losses = convert(net, "mnf"), []
    optimiser = torch.optim.Adam(bayes.parameters(), lr=1e-2)
    for _ in range(400):
        output, kl = bayes(x)
        loss = -Normal(output, 0.3).log_prob(y).mean() + kl / 200
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    assert (bayes.sample(x, 100).mean(0) - y).square().mean().sqrt() < 0.3
