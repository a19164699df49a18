"""The auxiliary bound of multiplicative flows, against brute force and in its limits."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call, vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.layers import keyed
from bnnbench.layers.mnf import MNFConv2d, MNFLinear, draw_weights, multiplied_layers, with_multipliers
from bnnbench.layers.multiplier import FLOWS, Multiplier
from bnnbench.nets import LeNet

DIM, ROWS = 3, 2


def tiny(flow="masked", layers=1, variance=0.1, **more):
    """A multiplier away from its start, with M, s and the prior's scale [DIM, ROWS]."""
    multiplier = Multiplier(DIM, flow, layers, variance, **more).double()
    with torch.no_grad():
        for i, value in enumerate(multiplier.parameters()):
            value += 0.3 * random.normal(random.key_of("tiny", i), value.shape, torch.float64)
    mean = random.normal(random.key(1), (DIM, ROWS), torch.float64)
    sigma = 0.2 + random.uniform(random.key(2), (DIM, ROWS), torch.float64)
    return multiplier, mean, sigma, torch.full((DIM, ROWS), 1.3, dtype=torch.float64)


def estimate(key, multiplier, *laws):
    """The bound at one draw of z and one of W."""
    key_z, key_w = random.split(key).unbind(-2)
    z, log_q = multiplier(key_z, 1)
    return multiplier.kl(key_w, z[0], log_q[0], *laws)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("bent", [True, False])
def test_the_mean_of_the_estimate_is_a_brute_force_monte_carlo_of_the_bound(flow, bent):
    """E_q(z, W) [log q(W | z) + log q(z) - log p(W) - log r(z | W)], each term by torch.distributions."""
    multiplier, mean, sigma, scale = tiny(flow, bent=bent)
    n = 4000
    keys = random.split(random.key(3), n)
    estimates = vmap(lambda key: estimate(key, multiplier, mean, sigma, scale))(keys).detach()

    generator = torch.Generator().manual_seed(4)
    eps = torch.randn(n, DIM, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, DIM, ROWS, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        z0 = multiplier.mean + multiplier.log_scale.exp() * eps
        z, logdet = multiplier.flow(z0)
        log_q = Normal(multiplier.mean, multiplier.log_scale.exp()).log_prob(z0).sum(-1) - logdet
        moved = z[:, :, None] * mean
        w = moved + sigma * noise
        inner = Normal(moved, sigma).log_prob(w).sum((1, 2)) - Normal(torch.zeros(()), scale).log_prob(w).sum((1, 2))
        c, b1, b2 = multiplier.auxiliary.weight
        a = (c[:, None] * w).sum(1)
        a = (a.tanh() if bent else a).mean(-1, keepdim=True)
        back, logdet = multiplier.back(z)
        log_r = Normal(b1 * a, (-0.5 * b2 * a).exp()).log_prob(back).sum(-1) + logdet
        brute = inner + log_q - log_r
    error = math.sqrt((float(estimates.var()) + float(brute.var())) / n)
    assert abs(float(estimates.mean() - brute.mean())) < 4 * error


def test_without_flows_and_variance_the_bound_is_the_mean_field_kl():
    _, mean, sigma, scale = tiny()
    multiplier = Multiplier(DIM, layers=0, variance=0.0).double()
    expected = kl_divergence(Normal(mean, sigma), Normal(torch.zeros_like(mean), scale)).sum()
    assert_close(estimate(random.key(0), multiplier, mean, sigma, scale), expected)


def test_the_bound_is_the_kl_of_the_joint_where_r_is_the_posterior_of_z():
    """M = 0: W says nothing about z, and with r(z) = q(z) the terms of z cancel."""
    multiplier, mean, sigma, scale = tiny(layers=0)
    with torch.no_grad():
        multiplier.mean.zero_()
        multiplier.log_scale.zero_()
        multiplier.auxiliary.weight[1:] = 0
    expected = kl_divergence(Normal(0 * mean, sigma), Normal(0 * mean, scale)).sum()
    assert_close(estimate(random.key(5), multiplier, 0 * mean, sigma, scale), expected)


def by_name(network, value):
    return {name: torch.full_like(v, value) for name, v in network.named_parameters() if "multiplier" not in name}


@pytest.mark.parametrize(("plain", "shape"), [(nn.Linear(3, 2), (3,)), (nn.Conv2d(3, 2, 2, stride=2), (3, 5, 5))])
def test_activations_have_the_law_of_the_weights(plain, shape):
    """Means and covariances of one example's outputs, drawn by the layer and through drawn weights."""
    network = with_multipliers(nn.Sequential(plain), "planar", 1).double()
    mean = {k: v.detach() for k, v in network.named_parameters() if "multiplier" not in k}
    sigma = by_name(network, 0.3)
    n = 20_000
    x = random.normal(random.key(1), shape, torch.float64)
    with torch.no_grad(), keyed(random.key(2), sigma=sigma):
        drawn = network(x.expand(n, *shape)).reshape(n, 2, -1)[:, :, 0]
    own = {k: v for k, v in network.named_parameters() if "multiplier" in k}
    with torch.no_grad():
        weights = vmap(lambda key: draw_weights(network, own, key, mean, sigma))(random.split(random.key(3), 4000))
        through = vmap(lambda w: functional_call(network, w, (x[None],)).reshape(2, -1)[:, 0])(weights)
    assert_close(drawn.mean(0), through.mean(0), atol=5 * float(through.std()) / 60, rtol=0)
    assert_close(drawn.T.cov(), through.T.cov(), atol=0.12 * float(through.var()), rtol=0.1)


def test_the_kl_of_a_network_is_the_sum_over_its_layers():
    """Each layer tells it in the forward pass, once; without flows and variance it is the mean-field one."""
    network = with_multipliers(LeNet(1, 10), layers=0, variance=0.0).double()
    mean = {k: v.detach() for k, v in network.named_parameters() if "multiplier" not in k}
    expected = sum(kl_divergence(Normal(m, 0.3), Normal(torch.zeros_like(m), 1.1)).sum() for m in mean.values())
    x, told = torch.ones(2, 1, 32, 32, dtype=torch.float64), {}
    with keyed(random.key(0), sigma=by_name(network, 0.3), prior=by_name(network, 1.1), kl=told):
        network(x)
        assert_close(sum(told.values()), expected)
        first = dict(told)
        network(x)
    assert_close(told, first, rtol=0, atol=0)
    assert {type(layer) for layer in multiplied_layers(network)} == {MNFLinear, MNFConv2d}


def test_every_example_has_multipliers_of_its_own():
    network = with_multipliers(nn.Sequential(nn.Linear(3, 2)))
    with keyed(random.key(0), sigma=by_name(network, 0.0)):
        out = network(torch.ones(4, 3))
    assert len(set(out[:, 0].tolist())) == 4
