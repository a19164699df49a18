"""What is particular to single flows."""

import math

import pytest
import torch
from flow_samples import moved, points
from torch.func import jacrev, vmap
from torch.testing import assert_close

from bnnbench import flows, random
from bnnbench.errors import UserError
from bnnbench.flows import (
    ActNorm,
    Affine,
    Autoregressive,
    Chain,
    Coupling,
    InvertibleLinear,
    Planar,
    Radial,
    RationalQuadratic,
)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("scalar", [Affine(), RationalQuadratic()])
@pytest.mark.parametrize("hidden", [(3,), (16, 16), (40, 7, 40)])
def test_autoregressive_jacobians_are_triangular_and_full(reverse, scalar, hidden):
    flow = moved(Autoregressive(6, scalar, hidden, reverse=reverse), scale=1.0)
    jacobian = vmap(jacrev(lambda x: flow(x)[0]))(points(400, 6)).abs().amax(0)
    after = jacobian.triu(1) if not reverse else jacobian.tril(-1)
    assert after.max() == 0
    rest = jacobian.tril() if not reverse else jacobian.triu()
    assert rest[0, 0] > 0
    if min(hidden) >= 5:  # enough hidden units for every dimension to reach every later one
        assert (rest > 0).sum() == 21


@pytest.mark.parametrize("scalar", [Affine(), RationalQuadratic()])
@pytest.mark.parametrize("make", [Coupling, Autoregressive])
def test_flows_start_at_the_identity(make, scalar):
    x = points(50, 4, torch.float32)
    y, logdet = make(4, scalar)(x)
    assert_close(y, x, atol=2e-6, rtol=0)
    assert_close(logdet, torch.zeros(50), atol=1e-5, rtol=0)


def test_actnorm_starts_with_mean_0_and_standard_deviation_1():
    x = points(300, 3) * torch.tensor([0.01, 1.0, 40.0]) + torch.tensor([5.0, -1.0, 100.0])
    norm = ActNorm(3).double()
    norm.fit_start(x)
    y, _ = norm(x)
    assert_close(y.mean(0), torch.zeros(3, dtype=y.dtype), atol=1e-10, rtol=0)
    assert_close(y.std(0, correction=0), torch.ones(3, dtype=y.dtype))


def test_actnorm_shifts_a_column_without_variance():
    norm = ActNorm(2)
    norm.fit_start(torch.tensor([[1.0, 3.0], [2.0, 3.0]]))
    assert_close(norm(torch.tensor([[1.5, 3.0]]))[0], torch.zeros(1, 2))
    norm.fit_start(torch.stack([torch.linspace(0, 3, 1000), torch.full((1000,), 5.1)], 1))  # whose mean is rounded
    assert_close(norm(torch.tensor([[1.5, 5.2]]))[0], torch.tensor([[0.0, 0.1]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", [flows.planar, flows.iaf])
def test_flows_from_noise_to_data_are_normalised_layer_by_layer(family):
    flow, x = moved(flows.normalised(family(3, layers=2))), points(400, 3) + 2
    flow.fit_start(x)
    for layer in flow.layers:
        x, _ = layer(x)
        if isinstance(layer, ActNorm):
            assert_close(x.mean(0), torch.zeros(3, dtype=x.dtype), atol=1e-9, rtol=0)
            assert_close(x.std(0, correction=0), torch.ones(3, dtype=x.dtype))


def test_an_actnorm_that_cannot_start_from_data_says_so():
    with pytest.raises(UserError, match="ActNorm within an Inverse"):
        flows.Flow(flows.Inverse(flows.glow(2, layers=1).bijection)).fit_start(points(9, 2, torch.float32))


def test_every_actnorm_of_a_chain_starts_where_its_own_inputs_are_normalised():
    flow = moved(flows.glow(3, layers=3, hidden=(8,)))
    x = points(400, 3) + 2
    flow.fit_start(x)
    assert isinstance(flow.bijection, Chain)
    for part in flow.bijection.parts:
        x, _ = part(x)
        if isinstance(part, ActNorm):
            assert_close(x.mean(0), torch.zeros(3, dtype=x.dtype), atol=1e-9, rtol=0)
            assert_close(x.std(0, correction=0), torch.ones(3, dtype=x.dtype))


def test_the_spline_s_knots_are_where_the_paper_puts_them():
    """One number through a spline of 3 bins, against the equations of Durkan et al. written down once more."""
    scalar = RationalQuadratic(3, bound=2.0)
    theta = [0.7, -0.4, 0.1, 0.3, 0.5, -1.0, 0.2, -0.6]

    def shares(raw):
        total = sum(math.exp(v) for v in raw)
        return [1e-3 + (1 - 3e-3) * math.exp(v) / total for v in raw]

    edges = [[-2.0], [-2.0]]
    for axis, raw in enumerate((theta[:3], theta[3:6])):
        for share in shares(raw):
            edges[axis].append(edges[axis][-1] + 4 * share)
    offset = math.log(math.exp(1 - 1e-3) - 1)
    slopes = [1.0, *(1e-3 + math.log1p(math.exp(v + offset)) for v in theta[6:]), 1.0]
    for x in (-1.9, -0.3, 0.0, 0.8, 1.99):
        k = max(i for i in range(3) if x >= edges[0][i])
        w, h = edges[0][k + 1] - edges[0][k], edges[1][k + 1] - edges[1][k]
        s, xi = h / w, (x - edges[0][k]) / w
        y = edges[1][k] + h * (s * xi**2 + slopes[k] * xi * (1 - xi)) / (
            s + (slopes[k + 1] + slopes[k] - 2 * s) * xi * (1 - xi)
        )
        given = [torch.tensor([v], dtype=torch.float64) for v in theta]
        found, _ = scalar.forward(torch.tensor([x], dtype=torch.float64), given)
        assert_close(found, torch.tensor([y], dtype=torch.float64))


def test_a_spline_is_the_identity_outside_of_its_interval():
    x = torch.tensor([[-50.0, 7.0], [6.0, -5.1]])
    y, logdet = moved(Autoregressive(2, RationalQuadratic(bound=5.0)), torch.float32)(x)
    assert torch.equal(y, x)
    assert torch.equal(logdet, torch.zeros(2))


@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0])
def test_a_spline_far_from_the_identity_inverts_itself_in_single_precision(scale):
    scalar, x = RationalQuadratic(), points(100_000, 1, torch.float32)
    theta = list(points(100_000, scalar.parameters, torch.float32, scale, seed=1)[..., None].unbind(1))
    y, log_slope = scalar.forward(x, theta)
    back, other = scalar.inverse(y, theta)
    error = ((back - x).abs() * log_slope.exp().clamp(max=1.0) / x.abs().clamp(min=1.0)).max()
    assert error < 1e-5
    assert torch.isfinite(other).all()


def test_the_inverse_of_a_wild_spline_has_the_inverse_slope():
    scalar, x = RationalQuadratic(), points(10_000, 1)
    theta = list(points(10_000, scalar.parameters, scale=2.0, seed=1)[..., None].unbind(1))
    y, log_slope = scalar.forward(x, theta)
    y.requires_grad_()
    (found,) = torch.autograd.grad(scalar.inverse(y, theta)[0].sum(), y)
    assert_close(found, (-log_slope).exp(), rtol=1e-6, atol=1e-9)


def test_far_inputs_and_wild_parameters_give_finite_numbers():
    for name in ("realnvp", "spline_coupling", "maf", "spline_autoregressive"):
        flow = moved(getattr(flows, name)(2, layers=2), torch.float32, scale=3.0)
        x = points(100, 2, torch.float32, scale=100.0).requires_grad_()
        value = flow.log_prob(x)
        gradients = torch.autograd.grad(value.clamp(min=-1e30).mean(), [x, *flow.parameters()])
        assert not value.isnan().any()
        assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("make", [Planar, Radial])
def test_planar_and_radial_layers_stay_invertible_for_any_parameters(make):
    x = points(500, 3, scale=5.0)
    for seed in range(5):
        flow = moved(make(3), scale=3.0, seed=seed)
        y, logdet = flow(x)
        back, other = flow.inverse(y)
        # an error e of y is an error of |(dy/dx)^-1| e in x, and of its curvature times that in the log-determinant
        slope = torch.linalg.svdvals(vmap(jacrev(lambda one, f=flow: f(one)[0]))(x)).amin(-1).clamp(max=1.0)
        assert ((back - x).abs().amax(-1) * slope).max() < 1e-10
        assert ((other + logdet).abs() * slope**2).max() < 1e-8


def test_a_planar_layer_that_almost_folds_space_is_right_in_single_precision():
    """w.u = -18: the slope at the fold is softplus(-18 + log(e - 1)) = (e - 1) e^-18, which 1 + w.u_hat rounds to 0."""
    flow = Planar(2)
    flow.load_state_dict({"weight": torch.tensor([[3.0, 3.0], [-3.0, -3.0]]), "bias": torch.zeros(1)})
    x = torch.zeros(1, 2, requires_grad=True)
    y, logdet = flow(x)
    assert_close(logdet, torch.tensor([math.log(math.e - 1) - 18]))
    gradients = torch.autograd.grad(logdet.sum() + y.sum(), [x, *flow.parameters()])
    assert all(torch.isfinite(g).all() for g in gradients)
    y, logdet = flow.double()(x.double())
    assert_close(flow.inverse(y)[1], -logdet, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("raw", "far"), [((0.0, 0.0), 1e8), ((-5.0, -5.0), 1e6), ((-14.0, -14.0), 1e4), ((2.0, -18.0), 0.0)]
)
def test_radial_layers_have_numbers_and_gradients_at_their_ends(raw, far):
    flow = Radial(2)
    flow.load_state_dict({"weight": torch.zeros(1, 2), "bias": torch.tensor(raw)})
    for way in (flow.forward, flow.inverse):
        y = torch.full((1, 2), far, requires_grad=True)
        value, logdet = way(y)
        gradients = torch.autograd.grad(logdet.sum() + value.sum(), [y, *flow.parameters()])
        assert all(torch.isfinite(number).all() for number in (value, logdet, *gradients))


def test_the_invertible_matrix_starts_at_a_rotation():
    flow = InvertibleLinear(5).double()
    matrix = flow(torch.eye(5, dtype=torch.float64))[0].mT
    assert_close(matrix @ matrix.mT, torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)


def test_an_invertible_matrix_loads_into_one_of_another_seed():
    flow, other = InvertibleLinear(5), InvertibleLinear(5, seed=1)
    x = points(9, 5, torch.float32)
    assert not torch.allclose(other(x)[0], flow(x)[0])
    other.load_state_dict(flow.state_dict())
    assert torch.equal(other(x)[0], flow(x)[0])


def test_a_flow_without_parameters_gives_draws():
    assert flows.Flow(flows.Reverse(2)).sample(random.key(0), 3).shape == (3, 2)


def test_an_autoregressive_flow_of_one_dimension_has_a_density():
    flow = flows.Flow(moved(Autoregressive(1, RationalQuadratic()), scale=0.3))
    side = torch.linspace(-9, 9, 200001, dtype=torch.float64)
    mass = flow.log_prob(side[:, None]).detach().exp().sum() * (side[1] - side[0])
    assert abs(float(mass) - 1) < 1e-3


@pytest.mark.parametrize(
    "family",
    ["nice", "realnvp", "maf", "iaf", "spline_coupling", "spline_autoregressive", "glow", "planar", "radial"],
)
def test_a_family_fits_a_shifted_gaussian(family):
    """Twenty seconds of ordinary torch code: the log-density of held-out rows approaches the truth."""
    flow = getattr(flows, family)(2, layers=4)
    centre, scale = torch.tensor([1.0, -0.5]), torch.tensor([0.8, 1.2])
    draw = lambda seed: centre + scale * random.normal(random.key(seed), (256, 2))  # noqa: E731
    optimiser = torch.optim.Adam(flow.parameters(), 1e-2)
    start = -flow.log_prob(draw(1)).mean().item()
    for step in range(60):
        optimiser.zero_grad()
        loss = -flow.log_prob(draw(step + 2)).mean()
        loss.backward()
        optimiser.step()
    entropy = math.log(0.8 * 1.2) + 1 + math.log(2 * math.pi)
    end = -flow.log_prob(draw(1)).mean().item()
    assert end < start or end < entropy + 0.1
    assert end < entropy + 0.5
