"""Linear layers that draw for every example: the law of their activations, and the conversion of a network."""

import math

import pytest
import torch
from scipy import stats
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers import keyed, with_flipout, with_local_noise

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(4, 3, generator=GENERATOR, dtype=torch.float64)
DRAWS = 40_000
CONVERSIONS = {"local": with_local_noise, "flipout": with_flipout}
every_conversion = pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)


def linear(inputs=3, outputs=2, bias=True):
    layer = nn.Linear(inputs, outputs, bias=bias).double()
    for value in layer.parameters():
        value.data = torch.randn(value.shape, generator=GENERATOR, dtype=torch.float64)
    return layer


def scales(network):
    """A standard deviation between 0.2 and 1.2 of each parameter."""
    return {
        name: 0.2 + torch.rand(value.shape, generator=GENERATOR, dtype=torch.float64)
        for name, value in network.named_parameters()
    }


def outputs(network, sigma, x, draws=DRAWS):
    """[draws, rows, units]."""
    params = {name: value.detach() for name, value in network.named_parameters()}

    def one(key):
        with keyed(key, sigma=sigma):
            return functional_call(network, params, (x,))

    return vmap(one, randomness="error")(random.split(random.key(1), draws))


@every_conversion
@pytest.mark.parametrize("bias", [True, False])
def test_activations_have_the_law_of_sampled_weights(convert, bias):
    """Of x (mu + sigma eps): a row's mean and variance, and no covariance between rows or units, which a perturbation
    shared by the rows would have. 6 sigma: 8 + 64 comparisons alarm once in 10^7. Each is normal (Kolmogorov-Smirnov,
    a false alarm in 10^4)."""
    layer = linear(bias=bias)
    sigma = scales(layer)
    mean = X @ layer.weight.data.T + (layer.bias.data if bias else 0)
    variance = X**2 @ (sigma["weight"] ** 2).T + (sigma["bias"] ** 2 if bias else 0)
    out = outputs(convert(layer), sigma, X)
    z = ((out - mean) / variance.sqrt()).reshape(DRAWS, 8)
    assert (z.mean(0).abs() < 6 / math.sqrt(DRAWS)).all()
    # A product of two normals has kurtosis up to 9, and the square of one a variance of 2.
    assert ((z.T @ z / DRAWS - torch.eye(8)).abs() < 6 * math.sqrt(3 / DRAWS)).all()
    levels = [stats.kstest(column, "norm").pvalue for column in z.T.numpy()]
    assert min(levels) > 1e-4 / 8


def test_rows_of_local_noise_are_independent():
    """Their sizes, too, are uncorrelated, where flipout's are not: 6 sigma, once in 10^8."""
    layer, x = linear(), X[:1].expand(2, 3)
    sizes = {}
    for name, convert in CONVERSIONS.items():
        out = outputs(convert(layer), scales(layer), x)[..., 0]
        sizes[name] = torch.corrcoef((out - out.mean(0)).abs().T)[0, 1]
    assert abs(sizes["local"]) < 6 / math.sqrt(DRAWS)
    assert sizes["flipout"] > 0.05


def test_flipout_shares_one_perturbation():
    """At the input e_j all rows change by +- (sigma eps)_kj or, with a bias, by +- (sigma eps)_kj +- (sigma_b eps_b)_k,
    the same two numbers for all rows; both signs of both occur among 200 rows (missing once in 10^17)."""
    for bias in (False, True):
        layer = linear(bias=bias)
        x = torch.eye(3).double()[1].expand(200, 3)
        change = outputs(with_flipout(layer), scales(layer), x, 1)[0] - layer(x).detach()
        for column in change.T:
            found = sorted({round(float(value), 10) for value in column})
            assert len(found) == (4 if bias else 2)
            assert_close(found, [-value for value in reversed(found)])
        sums = (change[:, 0] * change[:, 1]).sign()
        assert sums.unique().numel() == 2  # units have signs of their own


@every_conversion
@pytest.mark.parametrize("bias", [True, False])
def test_gradient_at_a_row_of_zeros_is_finite(convert, bias):
    network = convert(linear(bias=bias))
    params = {name: value.detach() for name, value in network.named_parameters()}
    x = torch.stack([torch.zeros(3).double(), X[0]])

    def total(sigma, x):
        with keyed(random.key(3), sigma=sigma):
            return functional_call(network, params, (x,)).square().sum()

    for gradient in grad(total, (0, 1))(scales(network), x):
        leaves = gradient.values() if isinstance(gradient, dict) else [gradient]
        assert all(leaf.isfinite().all() for leaf in leaves)
        assert any((leaf != 0).any() for leaf in leaves)


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(linear(3, 4), nn.ReLU(), linear(4, 2))
        self.head = linear(2, 2)

    def forward(self, x):
        return self.head(self.body(x))


@every_conversion
def test_conversion_keeps_names_and_the_network(convert):
    network = Nested()
    before = network(X)
    converted = convert(network)
    assert [name for name, _ in converted.named_parameters()] == [name for name, _ in network.named_parameters()]
    assert_close(dict(converted.named_parameters()), dict(network.named_parameters()), rtol=0, atol=0)
    assert type(network.head) is nn.Linear
    assert_close(network(X), before, rtol=0, atol=0)
    zero = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    assert_close(outputs(converted, zero, X, 1)[0], before.detach(), rtol=0, atol=1e-4)


@every_conversion
def test_layers_read_their_own_scales_and_draw_their_own_noise(convert):
    """With one layer noisy at a time, the output varies with the scale of that layer's name; two layers that are the
    same but for their names draw different noise."""
    network = convert(Nested())
    zero = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    out = outputs(network, zero | {"head.bias": torch.tensor([0.5, 2.0]).double()}, X, 4000)
    spread = out.std(0) / torch.tensor([0.5, 2.0])
    assert ((spread - 1).abs() < 6 / math.sqrt(2 * 4000)).all()

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = linear()
            self.b = linear()

        def forward(self, x):
            return self.a(x), self.b(x)

    pair = Pair()
    pair.b.load_state_dict(pair.a.state_dict())
    sigma = scales(pair.a)
    sigma = {f"{side}.{name}": value for side in "ab" for name, value in sigma.items()}
    a, b = outputs(convert(pair), sigma, X, 4000)
    for row in range(4):
        assert abs(torch.corrcoef(torch.stack([a[:, row, 0], b[:, row, 0]]))[0, 1]) < 6 / math.sqrt(4000)


@every_conversion
def test_layers_without_a_version_raise(convert):
    with pytest.raises(UserError, match=r"layer '0' \(Conv1d\) has no version that draws its weights"):
        convert(nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)))


@every_conversion
def test_without_scales_the_parameters_are_the_weights(convert):
    network = linear()
    torch.testing.assert_close(convert(network)(X), network(X), rtol=0, atol=0)
