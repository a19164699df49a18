"""Convolutional networks: their sizes, their outputs, and replicas of them under vmap."""

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.nets import AlexNet, Conv3FC3, LeNet, initialise

# Parameters for (channels, classes); those for ten classes are the sizes of Shridhar et al. 2019.
SIZES = {
    LeNet: {(1, 10): 61_706, (3, 10): 62_006, (1, 100): 61_706 + 90 * 85, (3, 100): 62_006 + 90 * 85},
    AlexNet: {(1, 10): 2_160_458, (3, 10): 2_175_946, (1, 100): 2_160_458 + 90 * 129, (3, 100): 2_175_946 + 90 * 129},
    Conv3FC3: {
        (1, 10): 1_781_034, (3, 10): 1_782_634, (1, 100): 1_781_034 + 90 * 1001, (3, 100): 1_782_634 + 90 * 1001,
    },
}  # fmt: skip
CASES = [
    pytest.param(net, *case, count, id=f"{net.__name__}-{case}") for net in SIZES for case, count in SIZES[net].items()
]
GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("net", "channels", "classes", "count"), CASES)
def test_size_and_shape(net, channels, classes, count):
    network = net(channels, classes)
    assert sum(value.numel() for value in network.parameters()) == count
    assert network(torch.randn(2, channels, 32, 32, generator=GENERATOR)).shape == (2, classes)


@pytest.mark.parametrize("net", SIZES)
def test_vmap_over_replicas_is_a_loop(net):
    networks = [net(3, 10).double() for _ in range(2)]
    for i, network in enumerate(networks):
        network.load_state_dict(initialise(network, random.key(i)))
    x = torch.randn(2, 3, 32, 32, generator=GENERATOR, dtype=torch.float64)
    params, _ = stack_module_state(networks)
    together = vmap(lambda p: functional_call(networks[0], p, (x,)), randomness="error")(params)
    assert_close(together, torch.stack([network(x) for network in networks]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("net", SIZES)
def test_every_parameter_has_a_gradient(net):
    network = net(1, 10)
    network.load_state_dict(initialise(network, random.key(0)))
    network(torch.randn(4, 1, 32, 32, generator=GENERATOR)).square().sum().backward()
    assert all((value.grad != 0).any() for value in network.parameters())
