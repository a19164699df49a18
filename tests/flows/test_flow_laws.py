"""What holds of every bijection: it inverts, its log-determinant is autograd's, it works under vmap and compile."""

import io

import pytest
import torch
from flow_samples import ALL, BIJECTIONS, WITHOUT_CONTEXT, moved, points
from torch.func import functional_call, jacrev, stack_module_state, vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.flows import Chain, Flow

every = pytest.mark.parametrize("name", ALL)


def jacobian(f, x):
    return vmap(jacrev(lambda one: f(one[None])[0][0]))(x)


@every
@pytest.mark.parametrize("dim", [2, 5])
def test_both_directions_invert_each_other_in_double_precision(name, dim):
    flow = moved(ALL[name](dim))
    x = points(200, dim)
    y, logdet = flow(x)
    back, inverse_logdet = flow.inverse(y)
    assert_close(back, x, atol=1e-10, rtol=0)
    assert_close(inverse_logdet, -logdet, atol=1e-9, rtol=0)
    assert_close(flow(flow.inverse(x)[0])[0], x, atol=1e-10, rtol=0)


@every
def test_the_round_trip_in_single_precision_is_off_by_rounding_over_the_local_slope(name):
    flow = moved(ALL[name](3), torch.float32)
    x = points(200, 3, torch.float32)
    back = flow.inverse(flow(x)[0])[0]
    double = moved(ALL[name](3))
    # an error e of y is an error of |(dy/dx)^-1| e in x
    slope = torch.linalg.svdvals(jacobian(double, x.double())).amin(-1).clamp(max=1.0)
    size = x.abs().amax(-1).clamp(min=1.0)
    assert ((back - x).abs().amax(-1).double() * slope / size).max() < 1e-5


@every
@pytest.mark.parametrize("dim", [2, 4])
def test_the_log_determinant_is_that_of_the_jacobian(name, dim):
    flow = moved(ALL[name](dim))
    x = points(20, dim)
    _, logdet = flow(x)
    assert logdet.shape == (20,)
    assert_close(logdet, torch.linalg.slogdet(jacobian(flow, x)).logabsdet, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", BIJECTIONS)
def test_a_context_conditions_the_map_and_its_inverse(name):
    flow = moved(BIJECTIONS[name](3, 2))
    x, context = points(50, 3), points(50, 2, seed=1)
    y, logdet = flow(x, context)
    back, inverse_logdet = flow.inverse(y, context)
    assert_close(back, x, atol=1e-10, rtol=0)
    assert_close(inverse_logdet, -logdet, atol=1e-9, rtol=0)
    assert not torch.allclose(flow(x, context + 1)[0], y)
    one, _ = flow(x, context[0])  # one context for all
    assert_close(one[0], y[0])


@every
def test_the_density_integrates_to_one_in_two_dimensions(name):
    flow = Flow(moved(ALL[name](2)))
    side = torch.linspace(-12, 12, 481, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        mass = flow.log_prob(grid).exp().sum() * (side[1] - side[0]) ** 2
    assert abs(float(mass) - 1) < 3e-3


@every
def test_gradients_reach_every_parameter(name):
    flow = moved(ALL[name](3))
    if not list(flow.parameters()):
        pytest.skip("nothing to learn")
    y, logdet = flow(points(64, 3))
    gradients = torch.autograd.grad((y**3).sum() + (logdet * y[:, 0]).sum(), list(flow.parameters()))
    assert all(torch.isfinite(g).all() and g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize("name", [name for name in ALL if name != "spline-flow"])  # a chain of what is tested here
def test_the_inverse_has_the_gradients_of_the_implicit_function_theorem(name):
    flow = moved(ALL[name](2))
    y = points(4, 2).requires_grad_()
    parameters = tuple(p for p in flow.parameters())

    def inverse(y, *values):
        named = dict(zip((n for n, _ in flow.named_parameters()), values, strict=True))
        return functional_call(_Backwards(flow), {f"flow.{n}": v for n, v in named.items()}, (y,))

    assert torch.autograd.gradcheck(inverse, (y, *parameters), eps=1e-6, atol=1e-5)


class _Backwards(torch.nn.Module):
    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, y):
        return self.flow.inverse(y)


@every
def test_vmap_over_parameters_is_a_loop(name):
    flows = [moved(ALL[name](3), seed=seed) for seed in range(3)]
    x = points(10, 3)
    params, buffers = stack_module_state(flows)

    def one(params, buffers):
        return functional_call(flows[0], (params, buffers), (x,))

    if not params:
        pytest.skip("nothing to stack")
    y, logdet = vmap(one, randomness="error")(params, buffers)
    for i, flow in enumerate(flows):
        assert_close(y[i], flow(x)[0])
        assert_close(logdet[i], flow(x)[1])
    rows, _ = vmap(flows[0], randomness="error")(x)  # events alone, too
    assert_close(rows, flows[0](x)[0])


@pytest.mark.parametrize(
    ("name", "backend"),
    [("spline-coupling", "aot_eager"), ("planar", "aot_eager")]
    + [pytest.param(name, "aot_eager", marks=pytest.mark.slow) for name in ALL]
    + [pytest.param(name, "inductor", marks=pytest.mark.slow) for name in ("spline-coupling", "maf", "planar")],
)
def test_compiled_code_gives_the_same_numbers_and_gradients(name, backend):
    """One graph, forward and backward; code is generated for a few, which takes seconds each."""
    flow, x = moved(ALL[name](3)), points(10, 3)

    def loss(x):
        y, logdet = flow(x)
        return (y**2).sum() + logdet.sum()

    torch._dynamo.reset()  # many flows through one function would reach the recompile limit
    x.requires_grad_()
    expected = torch.autograd.grad(loss(x), [x, *flow.parameters()])
    value = torch.compile(loss, fullgraph=True, backend=backend)(x)
    assert_close(value, loss(x))
    for a, b in zip(torch.autograd.grad(value, [x, *flow.parameters()]), expected, strict=True):
        assert_close(a, b)


@every
def test_a_saved_flow_loads_into_a_new_one(name):
    flow = moved(ALL[name](4))
    file = io.BytesIO()
    torch.save(flow.state_dict(), file)
    file.seek(0)
    other = ALL[name](4).double()
    other.load_state_dict(torch.load(file, weights_only=True))
    x = points(5, 4)
    assert_close(other(x)[0], flow(x)[0], atol=0, rtol=0)


@every
def test_a_flow_is_made_without_the_global_generator(name):
    before = torch.random.get_rng_state()
    first, second = ALL[name](4), ALL[name](4)
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_chain_is_one_after_the_other():
    parts = [moved(ALL[name](3), seed=i) for i, name in enumerate(("maf", "planar", "realnvp"))]
    x = points(10, 3)
    y, total = x, 0.0
    for part in parts:
        y, logdet = part(y)
        total = total + logdet
    found, logdet = Chain(parts)(x)
    assert_close(found, y)
    assert_close(logdet, total)


def test_a_chain_takes_one_dimension():
    with pytest.raises(UserError, match=r"share one dimension.*\[2, 3\]"):
        Chain([WITHOUT_CONTEXT["radial"](2), WITHOUT_CONTEXT["radial"](3)])


def test_draws_depend_on_their_key_alone_and_have_the_flow_s_density():
    flow = Flow(moved(ALL["spline-flow"](2)))
    x, log_prob = flow.sample_and_log_prob(random.key(3), 1000)
    assert torch.equal(flow.sample(random.key(3), 1000), x)
    assert_close(log_prob, flow.log_prob(x), atol=1e-8, rtol=0)
