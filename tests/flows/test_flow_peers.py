"""Our flows against those of zuko, nflows and normflows, at equal parameters: values and log-determinants."""

import math

import pytest
import torch
import torch.nn.functional as F
from flow_samples import moved, points
from torch import nn
from torch.testing import assert_close

from bnnbench.flows import (
    ActNorm,
    Affine,
    Autoregressive,
    Coupling,
    InvertibleLinear,
    Planar,
    Radial,
    RationalQuadratic,
    Shift,
)

DIM, WIDTH, BINS, BOUND = 5, 16, 4, 3.0
ONE = math.log(math.expm1(1 - 1e-3))  # softplus(ONE) + 1e-3 = 1

both_ways = pytest.mark.parametrize("backwards", [False, True])


def assert_agree(own, peer, dim=DIM):
    """Equal values and log-determinants, far enough out for splines to meet their tails."""
    x = points(200, dim)
    with torch.no_grad():
        for a, b in zip(own(x), peer(x), strict=True):
            assert_close(a, b, atol=1e-10, rtol=1e-10)


def with_network_of(own, peer, slope_shift=0.0):
    """The peer with our network's weights, biases and masks.

    The peers keep all parameters of a dimension together, we keep one parameter of all dimensions together. To the
    biases of a spline's slopes goes `slope_shift`.
    """
    peer, network = peer.double(), own.conditioner
    linears = [module for module in peer.modules() if hasattr(module, "weight")]

    def regrouped(value):
        return value.unflatten(0, (network.parameters_each, network.outputs)).transpose(0, 1).flatten(0, 1)

    with torch.no_grad():
        for layer, linear in zip(network.layers, linears, strict=True):
            order = regrouped if linear is linears[-1] else torch.Tensor.clone
            linear.weight.copy_(order(layer.weight))
            linear.bias.copy_(order(layer.bias))
            if layer.mask is not None:
                linear.mask.copy_(order(layer.mask))
        linears[-1].bias.view(network.outputs, -1)[:, 2 * BINS :] += slope_shift
    return peer


def coupled(scalar, backwards=False):
    """Our coupling, and 1 for each dimension that it transforms."""
    own = moved(Coupling(DIM, scalar, (WIDTH, WIDTH), swap=backwards))
    first, second = own.sizes
    return own, torch.tensor([int(backwards)] * first + [int(not backwards)] * second)


def zuko_spline(widths, heights, slopes):
    """zuko's spline with our knots: it bounds its parameters softly and has exponentials for slopes."""
    from zuko.transforms import MonotonicRQSTransform

    limit = -math.log(1e-3)
    wanted = F.softplus(slopes + math.log(math.expm1(1))).log()
    widths, heights = (value / (1 - 2 * value.abs() / limit) for value in (widths, heights))
    return MonotonicRQSTransform(widths, heights, wanted / (1 - wanted.abs() / limit), bound=BOUND)


def zuko_shift(shift):
    """zuko's additive transform, which is not at its top level."""
    from zuko.transforms import AdditiveTransform

    return AdditiveTransform(shift)


SCALARS = {
    "affine": (Affine(), {}),
    "shift": (Shift(), {"univariate": zuko_shift, "shapes": [()]}),
    # zuko's bins have no smallest size
    "spline": (
        RationalQuadratic(BINS, BOUND, smallest=0.0),
        {"univariate": zuko_spline, "shapes": [(BINS,), (BINS,), (BINS - 1,)]},
    ),
}


@both_ways
@pytest.mark.parametrize("scalar", SCALARS)
def test_zuko_s_couplings(scalar, backwards):
    zuko = pytest.importorskip("zuko")
    ours, theirs = SCALARS[scalar]
    own, transformed = coupled(ours, backwards)
    peer = zuko.flows.GeneralCouplingTransform(DIM, mask=transformed == 0, hidden_features=(WIDTH, WIDTH), **theirs)
    assert_agree(own, with_network_of(own, peer)().call_and_ladj)


@both_ways
@pytest.mark.parametrize("scalar", SCALARS)
def test_zuko_s_autoregressive_flows(scalar, backwards):
    zuko = pytest.importorskip("zuko")
    ours, theirs = SCALARS[scalar]
    own = moved(Autoregressive(DIM, ours, (WIDTH, WIDTH), reverse=backwards))
    order = torch.arange(DIM).flip(0) if backwards else torch.arange(DIM)
    peer = zuko.flows.MaskedAutoregressiveTransform(DIM, order=order, hidden_features=(WIDTH, WIDTH), **theirs)
    assert_agree(own, with_network_of(own, peer)().call_and_ladj)


class Network(nn.Sequential):
    """Conditioner of nflows and normflows, which divide a spline's parameters by the root of `hidden_features`."""

    hidden_features = 1

    def __init__(self, inputs, outputs):
        super().__init__(
            nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs)
        )

    def forward(self, x, context=None):
        return super().forward(x)


SPLINE = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}


@both_ways
@pytest.mark.parametrize(
    ("library", "module", "name"),
    [
        ("nflows", "nflows.transforms", "PiecewiseRationalQuadraticCouplingTransform"),
        ("normflows", "normflows.flows.neural_spline.coupling", "PiecewiseRationalQuadraticCoupling"),
    ],
)
def test_spline_couplings_of_nflows_and_normflows(library, module, name, backwards):
    pytest.importorskip(library)
    own, transformed = coupled(RationalQuadratic(BINS, BOUND), backwards)
    peer = getattr(pytest.importorskip(module), name)(transformed, Network, **SPLINE)
    assert_agree(own, with_network_of(own, peer, ONE))


def test_nflows_autoregressive_spline():
    transforms = pytest.importorskip("nflows.transforms")
    own = moved(Autoregressive(DIM, RationalQuadratic(BINS, BOUND), (WIDTH, WIDTH)))
    peer = transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
        DIM, WIDTH, num_blocks=1, use_residual_blocks=False, **SPLINE
    )
    assert_agree(own, with_network_of(own, peer, ONE))


@both_ways
def test_nflows_additive_coupling(backwards):
    transforms = pytest.importorskip("nflows.transforms")
    own, transformed = coupled(Shift(), backwards)
    assert_agree(own, with_network_of(own, transforms.AdditiveCouplingTransform(transformed, Network)))


def test_nflows_actnorm():
    """At equal parameters; its data-dependent start divides by the other standard deviation."""
    transforms = pytest.importorskip("nflows.transforms")
    own, peer = moved(ActNorm(DIM)), transforms.ActNorm(DIM).double()
    with torch.no_grad():
        peer.log_scale.copy_(own.log_scale)
        peer.shift.copy_(own.shift)
    peer.initialized.fill_(True)
    assert_agree(own, peer)


def test_nflows_lu_matrix():
    """Its diagonal is a softplus, always positive, and its permutation another transform."""
    transforms = pytest.importorskip("nflows.transforms")
    own, peer = moved(InvertibleLinear(DIM)), transforms.LULinear(DIM, eps=0.0).double()
    own.sign.fill_(1.0)
    places = own.permutation.argmax(1)  # row i of P x is x at the place of its 1
    assert places.tolist() != list(range(DIM))
    with torch.no_grad():
        peer.bias.zero_()
        peer.lower_entries.copy_(own.lower[peer.lower_indices[0], peer.lower_indices[1]])
        peer.upper_entries.copy_(own.upper[peer.upper_indices[0], peer.upper_indices[1]])
        peer.unconstrained_upper_diag.copy_(own.log_scale.exp().expm1().log())
    assert_agree(own, transforms.CompositeTransform([peer, transforms.Permutation(places)]))


def test_normflows_affine_coupling():
    """In halves of equal size, its logarithm of the scale unbounded."""
    normflows = pytest.importorskip("normflows")
    own = moved(Coupling(4, Affine(bound=math.inf), (WIDTH, WIDTH)))
    assert_agree(own, with_network_of(own, normflows.flows.AffineCouplingBlock(Network(2, 4))), dim=4)


def test_normflows_planar_flow():
    normflows = pytest.importorskip("normflows")
    own = moved(Planar(DIM))
    w, u = own.weight.detach()
    u = u + math.log(math.e - 1) * w / w.square().sum()  # no layer at all is u = 0 to ours, but not to theirs
    assert_agree(own, normflows.flows.Planar((DIM,), u=u[None], w=w[None], b=own.bias.detach()))


def test_normflows_radial_flow():
    """Its alpha is the modulus of a number, ours a softplus."""
    normflows = pytest.importorskip("normflows")
    own = moved(Radial(DIM))
    peer = normflows.flows.Radial((DIM,), z_0=own.weight.detach()).double()
    with torch.no_grad():
        peer.alpha.copy_(F.softplus(own.bias[:1]))
        peer.beta.copy_(own.bias[1:])
    assert_agree(own, peer)
