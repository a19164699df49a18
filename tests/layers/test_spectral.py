"""Power iteration against singular values of explicit matrices, and random features against the exact kernel."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers.random_features import RandomFeatureLinear, with_random_features
from bnnbench.layers.spectral import bounded, linear_part, norm, power_iteration
from bnnbench.nets import MLP, LeNet

GENERATOR = torch.Generator().manual_seed(0)
LAYERS = {
    "linear": (nn.Linear(7, 5), (7,)),
    "tall": (nn.Linear(4, 9, bias=False), (4,)),
    "convolution": (nn.Conv2d(2, 3, 3, padding=1), (2, 5, 4)),
    "strided": (nn.Conv2d(2, 4, (3, 2), stride=2, padding=(1, 0)), (2, 6, 5)),
    "circular": (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular", dilation=1), (2, 4, 4)),
    "grouped": (nn.Conv2d(4, 4, 3, groups=2), (4, 4, 4)),
}


def normal(*shape):
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def explicit(layer, shape):
    """The matrix of a layer without its bias: its outputs for unit inputs, one after the other."""
    size, bias = math.prod(shape), 0 if layer.bias is None else layer(torch.zeros(1, *shape, dtype=torch.float64))
    return torch.stack([(layer(unit.reshape(1, *shape)) - bias).reshape(-1) for unit in torch.eye(size).double()], 1)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_norm_is_the_largest_singular_value_of_the_whole_map(kind):
    """From below at every iteration, and to six digits within 3,000: how many it takes is a matter of the gap between
    the singular values."""
    layer, shape = LAYERS[kind][0].double().requires_grad_(False), LAYERS[kind][1]
    generator = torch.Generator().manual_seed(1)
    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64))
    largest = torch.linalg.svdvals(explicit(layer, shape))[0]
    v, before = torch.randn((1, *shape), generator=generator, dtype=torch.float64), 0.0
    v = v / v.norm()
    for _ in range(3000):
        sigma, v = power_iteration(layer, layer.weight, v)
        assert before - 1e-12 <= sigma <= largest + 1e-12
        before = sigma
        if largest - sigma < 1e-6 * largest:
            break
    assert largest - sigma < 1e-6 * largest
    assert_close(v.norm(), torch.tensor(1.0).double())
    if kind == "convolution":
        kernel = torch.linalg.svdvals(layer.weight.flatten(1))[0]
        assert abs(kernel - largest) > 0.1, "the kernel as a matrix has another norm"


def test_weights_within_the_bound_stay_and_others_are_scaled_to_it():
    weight = normal(5, 7)
    largest = torch.linalg.svdvals(weight)[0]
    assert_close(bounded(weight, largest, 2 * largest), weight, rtol=0, atol=0)
    assert_close(torch.linalg.svdvals(bounded(weight, largest, 0.3))[0], torch.tensor(0.3).double())
    assert_close(bounded(weight, largest, 0.3) / bounded(weight, largest, 0.3)[0, 0], weight / weight[0, 0])


def test_a_map_that_is_zero_stays_finite():
    layer = nn.Linear(3, 2)
    sigma, v = power_iteration(layer, torch.zeros(2, 3), torch.ones(1, 3) / 3**0.5)
    assert sigma < 1e-6
    assert v.isfinite().all()
    assert bounded(torch.zeros(2, 3), sigma, 1.0).isfinite().all()
    assert norm(torch.zeros(3)) > 0
    assert linear_part(layer, torch.ones(2, 3))(torch.ones(1, 3)).tolist() == [[3.0, 3.0]]


@pytest.mark.parametrize("length_scale", [0.7, 2.0])
def test_products_of_features_estimate_the_exact_kernel(length_scale):
    """100,000 features of 8 points: within 6 standard errors of exp(-|h - h'|^2 / (2 l^2)), a term of the sum
    2 cos(...) cos(...) having a variance of at most 2 (once in 10^7); a factor of the length scale would be far out."""
    count, h = 100_000, normal(8, 3)
    layer = with_random_features(nn.Linear(3, 1, dtype=torch.float64), count)
    assert isinstance(layer, RandomFeatureLinear)
    buffers = layer.drawn(random.key(0), length_scale)
    phi = torch.func.functional_call(layer.features, {k.removeprefix("features."): v for k, v in buffers.items()}, (h,))
    distances = torch.stack([torch.stack([((a - b) ** 2).sum() for b in h]) for a in h])
    assert (phi @ phi.T - torch.exp(-distances / (2 * length_scale**2))).abs().max() < 6 * (2 / count) ** 0.5
    weight = normal(1, count)
    found = torch.func.functional_call(layer, buffers | {"weight": weight}, (h,))
    assert_close(found, phi @ weight.T)


def test_conversion_replaces_the_last_layer_alone():
    for network, last, rest in ((MLP(3, (7, 6), 2), "layers.2", 4), (LeNet(1, 10), "classifier.4", 8)):
        converted = with_random_features(network, 11)
        assert isinstance(converted.get_submodule(last), RandomFeatureLinear)
        names = [name for name in dict(network.named_parameters()) if not name.startswith(last)]
        assert list(dict(converted.named_parameters())) == [*names, f"{last}.weight"]
        assert len(names) == rest
        assert set(dict(converted.named_buffers())) == {f"{last}.features.frequencies", f"{last}.features.phases"}
        assert type(network.get_submodule(last)) is nn.Linear, "the network itself is not changed"
    with pytest.raises(UserError, match=r"The last layer '1' \(Conv2d\) is no nn.Linear"):
        with_random_features(nn.Sequential(nn.Linear(2, 2), nn.Conv2d(1, 1, 1)), 5)
