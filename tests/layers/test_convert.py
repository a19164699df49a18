"""Any plain network made Bayesian: its law, its KL, its keys, and that an ordinary training loop fits it."""

import copy
import io
import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call, grad, vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers import convert, keyed
from bnnbench.layers.bayesian import KINDS
from bnnbench.model.priors import GaussianPrior
from bnnbench.nets import MLP, LeNet

GENERATOR = torch.Generator().manual_seed(0)
KEY = random.key(7)
BASIC = [kind for kind in KINDS if not kind.startswith("mnf-")]  # of the others, see test_convert_mnf
every_kind = pytest.mark.parametrize("kind", BASIC)
every_kind_compiled = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "local" else [pytest.mark.slow]) for kind in BASIC]
)
every_gaussian_kind = pytest.mark.parametrize("kind", [kind for kind in BASIC if kind != "mnf"])


@pytest.fixture(autouse=True)
def _fresh_generator():
    """A test's numbers do not depend on the tests before it."""
    GENERATOR.manual_seed(1)


class Odd(nn.Module):
    """A user's own: stride, dilation, groups, no bias here and there, a residual sum, a normalisation, a dropout."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(8, 8, 3, padding=2, dilation=2, padding_mode="circular", bias=False)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.norm = nn.GroupNorm(2, 8, affine=False)
        self.head = nn.ModuleDict({"out": nn.Linear(8, 4, bias=False)})

    def forward(self, x):
        x = torch.tanh(self.stem(x))
        x = x + self.norm(self.grouped(self.wide(x).relu()))
        return self.head["out"](x.mean((-2, -1)))


NETWORKS = {
    "mlp": (lambda: MLP(5, (7, 6), 2), (4, 5)),
    "linear": (lambda: nn.Linear(5, 2), (4, 5)),
    "lenet": (lambda: LeNet(1, 10), (2, 1, 32, 32)),
    "odd": (Odd, (3, 3, 9, 8)),
}


@pytest.fixture(params=NETWORKS)
def case(request):
    """A plain network and inputs of it."""
    make, shape = NETWORKS[request.param]
    return make(), torch.randn(shape, generator=GENERATOR)


@every_kind
def test_zero_variance_is_the_plain_twin(case, kind):
    net, x = case
    before = copy.deepcopy(net.state_dict())
    bayes = convert(net, kind, sigma=0.0)
    output, kl = bayes(x)
    assert_close(output, net(x), rtol=0, atol=1e-6)
    assert kl == math.inf
    kl.backward()
    assert all(mean.grad.isfinite().all() and rho.grad is None for _, mean, rho in bayes.distributions())
    assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert (convert(net, kind)(x)[0] - net(x)).abs().max() > 1e-3


@every_gaussian_kind
def test_little_variance_is_nearly_the_plain_twin(case, kind):
    net, x = case
    nearly, _ = convert(net, kind, sigma=1e-9)(x)
    assert_close(nearly, net(x), rtol=0, atol=1e-5)  # the local variance is raised by 1e-12


@pytest.mark.parametrize("prior_scale", [None, 0.3])
def test_kl_is_that_of_torch(case, prior_scale):
    """Summed over all parameters; sigma starts at its share of the prior's scale, which is that of the tasks here."""
    net, x = case
    bayes = convert(net.double(), sigma=0.2, prior_scale=prior_scale)
    x, names, scales = x.double(), dict(net.named_parameters()), bayes.scales()
    assert list(scales) == list(names)
    s = {
        n: GaussianPrior().scale_of(v) if prior_scale is None else torch.tensor(0.3).double() for n, v in names.items()
    }
    for name, value in scales.items():
        assert_close(value, (0.2 * s[name]).expand_as(value).detach(), rtol=1e-6, atol=0, check_dtype=False)
    with torch.no_grad():
        for _, _, rho in bayes.distributions():
            rho += 0.5 * torch.randn(rho.shape, generator=GENERATOR).to(rho)
    expected = sum(
        kl_divergence(Normal(names[name], value), Normal(torch.zeros_like(s[name]), s[name])).sum()
        for name, value in bayes.scales().items()
    )
    for kl in (bayes(x)[1], bayes.kl()):
        assert kl.shape == ()
        assert_close(kl, expected, rtol=1e-6, atol=0, check_dtype=False)


@every_gaussian_kind
def test_gradient_flows_to_all_means_and_rhos(case, kind):
    net, x = case
    bayes = convert(net, kind)
    bayes(x)[0].square().sum().backward()
    from_output = {name: value.grad.clone() for name, value in bayes.named_parameters()}
    assert len(from_output) == 2 * len(list(net.parameters()))
    bayes.kl().backward()
    for name, value in bayes.named_parameters():
        assert value.grad.isfinite().all()
        assert (from_output[name] != 0).any()
        assert (value.grad != from_output[name]).any()


@every_kind
def test_same_key_same_numbers_and_the_counter_repeats(case, kind):
    net, x = case
    state = torch.random.get_rng_state()
    bayes = convert(net, kind, seed=3)
    first, second = bayes(x)[0], bayes(x)[0]
    assert (first != second).any()
    assert_close(bayes(x, KEY)[0], bayes(x, KEY)[0], rtol=0, atol=0)
    assert (bayes(x, KEY)[0] != bayes(x, random.key(8))[0]).any()
    again = convert(net, kind, seed=3)
    assert_close(torch.stack([again(x)[0], again(x)[0]]), torch.stack([first, second]), rtol=0, atol=0)
    assert (convert(net, kind, seed=4)(x)[0] != first).any()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_state_dict_deepcopy_and_dtype_go_round():
    """The counter goes along: the sequence of draws continues where it was."""
    x = torch.randn(4, 5, generator=GENERATOR)
    bayes = convert(MLP(5, (7,), 2), seed=3)
    bayes(x)
    file = io.BytesIO()
    torch.save(bayes.state_dict(), file)
    file.seek(0)
    loaded = convert(MLP(5, (7,), 2), seed=9)
    loaded.load_state_dict(torch.load(file))
    copied = copy.deepcopy(bayes)
    expected = bayes(x)
    for other in (loaded, copied):
        assert_close(other(x), expected, rtol=0, atol=0)
    output, kl = bayes.double()(x.double())
    assert output.dtype == kl.dtype == torch.float64
    assert bayes.key.dtype == torch.int32
    assert_close(bayes.float()(x, KEY), copied(x, KEY), rtol=0, atol=0)
    assert {value.device.type for value in bayes.to("meta").state_dict().values()} == {"meta"}


@every_kind
def test_vmap_over_keys_is_a_loop(case, kind):
    net, x = case
    bayes = convert(net.double(), kind)
    x, keys = x.double(), random.split(KEY, 3)
    params = {name: value.detach() for name, value in bayes.named_parameters()}

    def run(p, key):
        return functional_call(bayes, p, (x, key))

    output, kl = vmap(run, (None, 0), randomness="error")(params, keys)
    for i, key in enumerate(keys):
        assert_close(output[i], bayes(x, key)[0], rtol=1e-9, atol=1e-9)
        assert_close(kl[i], bayes(x, key)[1])
    assert_close(bayes.sample(x, 3, KEY), output, rtol=1e-9, atol=1e-9)
    gradient = vmap(grad(lambda p, key: run(p, key)[0].sum()), (None, 0), randomness="error")(params, keys)
    assert all(value.isfinite().all() for value in gradient.values())


@every_kind_compiled
def test_compiled_is_eager(kind):
    net = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    bayes, x = convert(net, kind), torch.randn(2, 1, 6, 6, generator=GENERATOR)
    twin, compiled = copy.deepcopy(bayes), torch.compile(bayes, fullgraph=True)
    for _ in range(2):
        assert_close(compiled(x), twin(x), rtol=1e-5, atol=1e-5)


@every_gaussian_kind
def test_samples_have_the_spread_of_sampled_weights(kind):
    """Of a linear network all kinds give one law: mean and variance over 2000 draws, 5 sigma."""
    net, x = nn.Linear(5, 2), torch.randn(3, 5, generator=GENERATOR)
    bayes = convert(net, kind, sigma=1.0)
    scales = {name: value.detach() for name, value in bayes.scales().items()}
    variance = x**2 @ (scales["weight"] ** 2).T + scales["bias"] ** 2
    samples = bayes.sample(x, 2000)
    assert not samples.requires_grad
    z = (samples - net(x).detach()) / variance.sqrt()
    assert z.mean(0).abs().max() < 5 / math.sqrt(2000)
    assert (z.var(0) - 1).abs().max() < 5 * math.sqrt(2 / 2000)


@every_kind
def test_an_ordinary_loop_learns_the_digits(kind):
    """300 steps of Adam, no engine. Chance is 0.1."""
    digits = load_digits()
    x = torch.as_tensor(digits.data / 16).float()
    y = torch.as_tensor(digits.target)
    train, test = slice(0, 1400), slice(1400, None)
    net = MLP(64, (50,), 10)
    net.load_state_dict({n: torch.randn(v.shape, generator=GENERATOR) * 0.1 for n, v in net.state_dict().items()})
    bayes = convert(net, kind)
    optimiser = torch.optim.Adam(bayes.parameters(), lr=1e-2)
    losses = []
    for step in range(300):
        rows = random.randint(random.fold_in(KEY, step), (100,), 1400)
        output, kl = bayes(x[train][rows])
        loss = nn.functional.cross_entropy(output, y[train][rows]) + kl / 1400
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    probabilities = bayes.sample(x[test], 20).softmax(-1).mean(0)
    assert (probabilities.argmax(-1) == y[test]).float().mean() > 0.8


def test_a_convolutional_network_learns_where_the_bar_stands():
    """Upright or lying bars on noise, 32 x 32: LeNet with local reparametrisation, 60 steps. Chance is 0.5."""
    x = 0.3 * torch.randn(200, 1, 32, 32, generator=GENERATOR)
    y = torch.arange(200) % 2
    places = torch.randint(4, 28, (200,), generator=GENERATOR)
    for image, label, place in zip(x, y, places, strict=True):
        image[0][:, place] += label
        image[0][place] += 1 - label
    bayes = convert(LeNet(1, 2), sigma=0.02)
    optimiser = torch.optim.Adam(bayes.parameters(), lr=2e-3)
    for _ in range(60):
        output, kl = bayes(x[:120])
        optimiser.zero_grad()
        (nn.functional.cross_entropy(output, y[:120]) + kl / 120_000).backward()
        optimiser.step()
    probabilities = bayes.sample(x[120:], 10).softmax(-1).mean(0)
    assert (probabilities.argmax(-1) == y[120:]).float().mean() > 0.9


def test_dropout_of_the_network_draws_from_the_key():
    x = torch.ones(50, 40)
    bayes = convert(nn.Sequential(nn.Dropout(0.3), nn.Linear(40, 40)))
    state = torch.random.get_rng_state()
    assert_close(bayes(x, KEY)[0], bayes(x, KEY)[0], rtol=0, atol=0)
    with keyed(KEY):
        out = bayes.network[0](x)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert_close(out.unique(), torch.tensor([0, 1 / 0.7]))
    assert abs((out == 0).float().mean() - 0.3) < 5 * math.sqrt(0.21 / 2000)
    assert torch.equal(bayes.eval().network[0](x), x)


def test_modes_are_kept():
    assert not convert(nn.Linear(2, 1).eval()).training
    net = nn.Sequential(nn.Dropout(), nn.Linear(2, 1))
    net[0].eval()
    assert [module.training for module in convert(net).network] == [False, True]


def tied():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False)),
            r"'1' \(BatchNorm2d.*`eval\(\)`",
        ),
        (lambda: nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), r"'1' \(LayerNorm\).*elementwise_affine=False"),
        (lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.Linear(2, 3)), r"'0' \(Conv1d\).*nn.Linear or nn.Conv2d"),
        (lambda: nn.MultiheadAttention(4, 2), r"The network \(MultiheadAttention\) holds parameters"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), r"'0' \(LazyLinear\).*call the network"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)), "holds parameters of its own"),
        (lambda: nn.Sequential(nn.ReLU()), "no nn.Linear or nn.Conv2d"),
        (tied, "'0.weight' and '1.weight' are one tensor"),
    ],
)
def test_what_cannot_be_converted_is_told_with_the_remedy(make, sentence):
    with pytest.raises(UserError, match=sentence):
        convert(make())


def test_numbers_and_kinds_are_checked():
    net = nn.Linear(2, 1)
    with pytest.raises(UserError, match=r"'flip_out'; did you mean flipout\?"):
        convert(net, "flip_out")
    for wrong in ({"sigma": -0.1}, {"sigma": math.nan}, {"prior_scale": 0.0}, {"prior_scale": math.inf}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            convert(net, **wrong)
