"""Convolutional layers that draw: the law of their outputs, whatever the stride, padding, dilation and groups."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.layers import keyed, with_dropout, with_flipout, with_local_noise, with_sampled_weights
from bnnbench.nets import LeNet

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(2, 4, 7, 6, generator=GENERATOR, dtype=torch.float64)
DRAWS = 20_000
CONVERSIONS = {"sampled": with_sampled_weights, "local": with_local_noise, "flipout": with_flipout}
GEOMETRIES = {
    "plain": {},
    "no-bias": {"bias": False},
    "stride": {"stride": (2, 1), "padding": 1},
    "dilation": {"dilation": 2, "padding": "same"},
    "groups": {"groups": 2},
    "depthwise": {"groups": 4, "stride": 3},
    "reflect": {"padding": (1, 2), "padding_mode": "reflect"},
    "circular": {"padding": 1, "padding_mode": "circular", "groups": 2, "stride": 2},
}
every_conversion = pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


@pytest.fixture(autouse=True)
def _fresh_generator():
    """A test's numbers do not depend on the tests before it."""
    GENERATOR.manual_seed(1)


def conv(geometry=None):
    layer = nn.Conv2d(4, 4, 3, **(geometry or {})).double()
    for value in layer.parameters():
        value.data = torch.randn(value.shape, generator=GENERATOR, dtype=torch.float64)
    return layer.requires_grad_(False)


def scales(network):
    """A standard deviation between 0.2 and 1.2 of each parameter."""
    return {
        name: 0.2 + torch.rand(value.shape, generator=GENERATOR, dtype=torch.float64)
        for name, value in network.named_parameters()
    }


def outputs(network, sigma, x, draws=DRAWS):
    """[draws, B, channels, H, W]."""

    def one(key):
        with keyed(key, sigma=sigma):
            return network(x)

    keys = random.split(random.key(1), draws)
    return vmap(one, randomness="error", chunk_size=1000)(keys)


def brute_force(layer, sigma, x, draws=DRAWS):
    """The same from weights that torch's own generator draws."""
    params = {
        name: value + sigma[name] * torch.randn(draws, *value.shape, generator=GENERATOR, dtype=torch.float64)
        for name, value in layer.named_parameters()
    }
    return vmap(lambda p: functional_call(layer, p, (x,)), chunk_size=1000)(params)


def z_of_means(a, b):
    """Two-sample z statistics of the means, elementwise."""
    return (a.mean(0) - b.mean(0)) / ((a.var(0) + b.var(0)) / DRAWS).sqrt()


@every_conversion
@every_geometry
def test_mean_and_variance_are_those_of_sampled_weights(geometry, convert):
    """Of every output, against a brute-force Monte Carlo over weights. |z| < 5: one comparison alarms once in
    1.7 million, of up to 500 here; the seeds are fixed."""
    layer = conv(geometry)
    sigma = scales(layer)
    ours, theirs = outputs(convert(layer), sigma, X), brute_force(layer, sigma, X)
    assert z_of_means(ours, theirs).abs().max() < 5
    mean = theirs.mean(0)
    assert z_of_means((ours - mean) ** 2, (theirs - mean) ** 2).abs().max() < 5


@pytest.mark.parametrize("convert", [with_sampled_weights, with_flipout])
def test_places_of_one_image_covary_as_under_sampled_weights(convert):
    """The products of the first place's deviation with all others; |z| < 5."""
    layer = conv({"groups": 2})
    sigma = scales(layer)
    mean = layer(X)[0].flatten()
    ours, theirs = (
        draws[:, 0].flatten(1) - mean for draws in (outputs(convert(layer), sigma, X), brute_force(layer, sigma, X))
    )
    assert z_of_means(ours[:, :1] * ours, theirs[:, :1] * theirs).abs().max() < 5
    same_channel = torch.corrcoef(theirs[:, :20].T)[0, 1:]
    assert same_channel.max() > 0.2  # there is something to compare


def test_examples_share_sampled_weights_and_do_not_covary_otherwise():
    """Two copies of an image: equal outputs, or independent signs or noise, hence no correlation (5 sigma)."""
    layer, x = conv(), X[:1].expand(2, -1, -1, -1)
    sigma = scales(layer)
    out = {name: outputs(convert(layer), sigma, x) - layer(x) for name, convert in CONVERSIONS.items()}
    assert_close(out["sampled"][:, 0], out["sampled"][:, 1], rtol=0, atol=1e-12)
    for name in ("local", "flipout"):
        first, second = out[name].flatten(2).unbind(1)
        correlation = (first * second).mean(0) / (first.std(0) * second.std(0))
        # under flipout a product of two such normals has a kurtosis up to 9, hence a variance up to 3
        assert correlation.abs().max() < 5 * (3 / DRAWS) ** 0.5


@every_conversion
@every_geometry
def test_without_scales_or_with_zeros_it_is_the_plain_layer(geometry, convert):
    layer = conv(geometry)
    converted = convert(layer)
    assert_close(converted(X), layer(X), rtol=0, atol=0)
    assert_close(converted(X[0]), layer(X[0]), rtol=0, atol=0)
    zero = {name: torch.zeros_like(value) for name, value in layer.named_parameters()}
    assert_close(outputs(converted, zero, X, 3), layer(X).expand(3, *layer(X).shape), rtol=0, atol=1e-12)


@every_conversion
@every_geometry
def test_vmap_over_keys_is_a_loop(geometry, convert):
    layer = conv(geometry)
    converted, sigma = convert(layer), scales(layer)
    together = outputs(converted, sigma, X, 3)
    for key, out in zip(random.split(random.key(1), 3), together, strict=True):
        with keyed(key, sigma=sigma):
            assert_close(converted(X), out, rtol=1e-12, atol=1e-12)
    with keyed(random.key(1), sigma=sigma):
        assert converted(X[0]).shape == layer(X[0]).shape  # an image without a batch


def test_conversions_keep_names_and_the_network():
    network = LeNet(1, 10)
    for convert in [*CONVERSIONS.values(), with_dropout]:
        converted = convert(network)
        assert list(converted.state_dict()) == list(network.state_dict())
        assert_close(dict(converted.state_dict()), dict(network.state_dict()), rtol=0, atol=0)
    holders = {type(layer) for layer in network.modules() if list(layer.parameters(recurse=False))}
    assert holders == {nn.Conv2d, nn.Linear}


def test_dropout_stands_before_all_but_the_first_layer():
    network = LeNet(1, 10)
    converted = with_dropout(network)
    kinds = [type(layer).__name__ for layer in converted.modules() if list(layer.parameters(recurse=False))]
    assert kinds == ["Conv2d", "DropoutConv2d", *["DropoutLinear"] * 3]
    x = torch.randn(3, 1, 32, 32, generator=GENERATOR)
    with keyed(random.key(0), rate=0.0):
        assert_close(converted(x), network(x))


@pytest.mark.parametrize("shared", [True, False])
def test_a_shared_mask_has_the_shape_of_an_example(shared):
    """Two copies of an image give the same outputs under a shared mask, and others else."""
    converted = with_dropout(nn.Sequential(nn.Identity(), conv(), conv()))
    with keyed(random.key(0), rate=0.5, shared=shared):
        first, second = converted(X[:1].expand(2, -1, -1, -1))
    assert torch.allclose(first, second) == shared
