"""Layers with rank-1 factors of each example, against explicit weights one example after the other."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers import keyed
from bnnbench.layers.rank_one import Factors, product, with_factors

GENERATOR = torch.Generator().manual_seed(0)
B = 5
CONVOLUTIONS = [
    {},
    {"stride": (2, 1), "padding": (1, 2)},
    {"dilation": 2, "padding": 2, "padding_mode": "circular"},
    {"padding": "same", "bias": False},
]


def normal(*shape):
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def factors(out, inputs, bias=True):
    return Factors(normal(B, out), normal(B, inputs), normal(B, out) if bias else None)


@pytest.mark.parametrize("between", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_that_of_explicit_weights(between, bias):
    layer, x = nn.Linear(4, 6, bias, dtype=torch.float64), normal(B, *between, 4)
    converted, own = with_factors(layer), factors(6, 4, bias)
    with keyed(random.key(0), factors={"": own}):
        found = converted(x)
    for i in range(B):
        weight = layer.weight * torch.outer(own.r[i], own.s[i])
        want = torch.einsum("...i,oi->...o", x[i], weight) + (own.bias[i] if bias else 0)
        assert_close(found[i], want)
        assert_close(product(layer.weight, own.r[i], own.s[i]), weight)


@pytest.mark.parametrize("settings", CONVOLUTIONS, ids=str)
def test_a_convolution_is_that_of_explicit_weights(settings):
    size = 3 if settings.get("padding") == "same" else 2
    layer, x = nn.Conv2d(3, 4, (3, size), dtype=torch.float64, **settings), normal(B, 3, 7, 6)
    bias = layer.bias is not None
    converted, own = with_factors(layer), factors(4, 3, bias)
    with keyed(random.key(0), factors={"": own}):
        found = converted(x)
    for i in range(B):
        plain = nn.Conv2d(3, 4, (3, size), dtype=torch.float64, **settings)
        with torch.no_grad():
            plain.weight.copy_(layer.weight * own.r[i][:, None, None, None] * own.s[i][:, None, None])
            if bias:
                plain.bias.copy_(own.bias[i])
        assert_close(found[i : i + 1], plain(x[i : i + 1]))
        assert_close(product(layer.weight, own.r[i], own.s[i]), plain.weight)


def test_without_factors_it_is_the_plain_network():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).double()
    converted, x = with_factors(network), normal(B, 1, 6, 6)
    assert list(converted.state_dict()) == list(network.state_dict())
    assert_close(converted(x), network(x), rtol=0, atol=0)
    with keyed(random.key(0)):
        assert_close(converted(x), network(x), rtol=0, atol=0)
    assert type(network[0]) is nn.Conv2d, "the network itself is not changed"


def test_a_layer_that_is_called_twice_has_one_weight():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, dtype=torch.float64)

        def forward(self, x):
            return self.layer(self.layer(x).tanh())

    network, own, x = Twice(), factors(4, 4), normal(B, 4)
    with keyed(random.key(0), factors={"layer": own}):
        found = with_factors(network)(x)
    for i in range(B):
        weight = network.layer.weight * torch.outer(own.r[i], own.s[i])
        once = F.linear(x[i], weight, own.bias[i]).tanh()
        assert_close(found[i], F.linear(once, weight, own.bias[i]))


def test_layers_that_have_no_factors():
    with pytest.raises(UserError, match=r"The convolution '0' has groups=2.*take groups=1"):
        with_factors(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)))
    with pytest.raises(UserError, match=r"The layer '1' \(LayerNorm\)"):
        with_factors(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
