"""Where the noise of a converted network comes from: weights read by name, draws of its own, processes, threads."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.func import vmap
from torch.testing import assert_close
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import checkpoint

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers import convert

GENERATOR = torch.Generator().manual_seed(0)
KEY = random.key(7)
X = torch.randn(5, 3, generator=GENERATOR)
KINDS = ["sampled", "local", "flipout", "mnf"]
every_kind = pytest.mark.parametrize("kind", KINDS)


class Reads(nn.Module):
    """A layer that is called, or whose weights are read by name."""

    def __init__(self, called):
        super().__init__()
        self.enc, self.called = nn.Linear(3, 2), called

    def forward(self, x):
        x = x.to(self.enc.weight.dtype)
        return self.enc(x) if self.called else F.linear(x, self.enc.weight, self.enc.bias)


class ReadsConv(Reads):
    def __init__(self, called):
        super().__init__(called)
        self.enc = nn.Conv2d(1, 2, 1)

    def forward(self, x):
        x = x[..., None, None, None][..., 0].reshape(-1, 1, 1, 3)
        out = self.enc(x) if self.called else F.conv2d(x, self.enc.weight, self.enc.bias)
        return out.flatten(1)


@every_kind
@pytest.mark.parametrize("network", [Reads, ReadsConv])
def test_a_weight_that_is_read_has_the_law_of_one_that_is_called(kind, network):
    """Mean and variance of every output over 2000 draws of each way, 5.5 sigma."""
    made = {called: convert(network(called).double(), kind, sigma=0.5) for called in (False, True)}
    made[False].load_state_dict(made[True].state_dict())
    x, keys = X.double(), random.split(KEY, 4000)
    outs = {}
    for called, own in ((False, keys[:2000]), (True, keys[2000:])):
        with torch.no_grad():
            outs[called] = vmap(lambda key, net=made[called]: net(x, key=key)[0])(own)
    read, other = outs[False], outs[True]
    assert (read.std(0) > 0.01).all()
    error = (read.var(0) + other.var(0)).div(2000).sqrt()
    assert ((read.mean(0) - other.mean(0)).abs() < 5.5 * error).all()
    square, square_other = (read - read.mean(0)).square(), (other - other.mean(0)).square()
    error = (square.var(0) + square_other.var(0)).div(2000).sqrt()
    assert ((square.mean(0) - square_other.mean(0)).abs() < 5.5 * error).all()
    if not kind.startswith("mnf"):
        assert_close(made[False](x)[1], made[True](x)[1], rtol=0, atol=0)


def test_what_is_read_twice_is_one_draw_and_outside_of_a_pass_the_mean():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc = nn.Linear(3, 2)

        def forward(self, x):
            return torch.stack([self.enc.weight, self.enc.weight + 0 * x.sum()])

    net = Twice()
    for kind in KINDS:
        bayes = convert(net, kind)
        first, second = bayes(X)[0]
        assert_close(first, second, rtol=0, atol=0)
        assert (first != bayes(X)[0][0]).any()
        first.sum().backward()
        assert bayes.network.enc.weight.grad.abs().min() > 0
        assert bayes.network.enc.weight_rho.grad.abs().min() > 0
        assert_close(bayes.network.enc.weight.data, net.enc.weight.data, rtol=0, atol=0)


@every_kind
def test_the_order_of_registration_does_not_matter(kind):
    """A weight that was taken out and put back, as by `remove_parametrizations`, stands behind the bias."""
    net = nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(3, 2))
    expected = convert(net, kind)(X)
    for layer in (net[1], net[3]):
        weight = layer.weight
        del layer.weight
        layer.weight = weight
    assert_close(convert(net, kind)(X), expected, rtol=0, atol=0)


def test_a_transformer_s_fast_path_draws():
    """Which hands weights to one fused function, without gradients and in eval mode: as spread as the slow one."""
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    bayes, x = convert(net, layers=["linear1", "linear2"], sigma=0.5), torch.randn(1, 3, 8, generator=GENERATOR)
    fast = bayes.sample(x, 60)
    slow = torch.stack([bayes(x)[0].detach() for _ in range(60)])
    assert 0.7 < fast.std(0).mean() / slow.std(0).mean() < 1.4


class Own(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.a, self.draw = nn.Linear(3, 3), draw

    def forward(self, x):
        return self.draw(self.a(x), self.training)


OWN_DRAWS = {
    "F.dropout": lambda h, training: F.dropout(h, 0.5, training),
    "F.alpha_dropout": lambda h, training: F.alpha_dropout(h, 0.5, training),
    "rand_like": lambda h, training: h + torch.rand_like(h),
    "bernoulli_": lambda h, training: h * torch.empty_like(h).bernoulli_(0.5),
    "distributions": lambda h, training: torch.distributions.Normal(h, 1.0).rsample(),
    "attention": lambda h, training: F.scaled_dot_product_attention(h[None], h[None], h[None], dropout_p=0.5),
}


@pytest.mark.parametrize("draw", OWN_DRAWS.values(), ids=OWN_DRAWS)
def test_the_network_s_own_draws_are_the_key_s(draw):
    bayes = convert(Own(draw), sigma=1e-9)
    state = torch.get_rng_state()
    assert_close(bayes(X, key=KEY)[0], bayes(X, key=KEY)[0], rtol=0, atol=0)
    assert (bayes(X, key=KEY)[0] - bayes(X, key=random.key(8))[0]).abs().max() > 1e-3
    assert (bayes(X)[0] - bayes(X)[0]).abs().max() > 1e-3
    one, other = bayes.sample(X, 2)
    assert (one - other).abs().max() > 1e-3
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_of_layers_of_torch_are_the_key_s():
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout1d(), nn.AlphaDropout(), nn.RReLU(0.1, 0.9), nn.Linear(8, 2))
    bayes = convert(net, sigma=1e-9)
    state = torch.get_rng_state()
    assert_close(bayes(X, key=KEY)[0], bayes(X, key=KEY)[0], rtol=0, atol=0)
    assert (bayes(X, key=KEY)[0] - bayes(X, key=random.key(8))[0]).abs().max() > 1e-3
    assert_close(bayes.eval()(X)[0], net.eval()(X), rtol=0, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), state)


def test_own_draws_are_not_those_of_the_user_s_seed():
    for seed in range(3):
        torch.manual_seed(seed)
        mine = torch.rand(5, 3)
        bayes = convert(Own(lambda h, training: 0 * h + torch.rand(5, 3)))
        assert (bayes(X, key=random.key(seed))[0] - mine).abs().min() > 1e-7


def test_generators_stand_where_they_were_after_an_error():
    def fails(h, training):
        raise RuntimeError(f"drawn: {torch.rand(())}")

    bayes, state = convert(Own(fails)), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="drawn"):
        bayes(X)
    assert torch.equal(torch.get_rng_state(), state)


def test_own_draws_where_no_key_reaches_them_are_refused():
    bayes = convert(Own(OWN_DRAWS["F.dropout"]))
    keys = random.split(KEY, 2)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(lambda key: bayes(X, key=key)[0])(keys)
    state = torch.get_rng_state()
    with pytest.raises(UserError, match=r"under a transform of `torch.func`.*next_key"):
        vmap(lambda key: bayes(X, key=key)[0], randomness="different")(keys)
    assert torch.equal(torch.get_rng_state(), state)
    assert vmap(lambda key: bayes.eval()(X, key=key)[0])(keys).shape == (2, 5, 3)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of Dynamo's own, where a graph begins inside the network
def test_own_draws_and_compilation():
    """One graph has no key for them; several, with the draws outside of graphs, give what eager code gives."""
    bayes = convert(Own(OWN_DRAWS["F.dropout"]))
    with pytest.raises(torch._dynamo.exc.Unsupported, match="in a compiled graph, where no key reaches it"):
        torch.compile(bayes, backend="eager", fullgraph=True)(X, key=KEY)
    torch._dynamo.reset()
    assert_close(torch.compile(bayes, backend="eager")(X, key=KEY), bayes(X, key=KEY), rtol=0, atol=0)
    torch._dynamo.reset()
    bayes.eval()
    compiled = torch.compile(bayes, backend="eager", fullgraph=True)
    assert_close(compiled(X, key=KEY), bayes(X, key=KEY), rtol=0, atol=0)
    torch._dynamo.reset()


def test_processes_draw_noise_of_their_own():
    """Of one key and one counter; a given key alone decides, and a single process draws as if there were no group."""
    x = torch.ones(4, 3)
    alone, outs, given, kls = convert(nn.Linear(3, 2), "mnf")(x)[0], [], [], []
    for size, rank in ((1, 0), (2, 0), (2, 1)):
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)
        try:
            torch.manual_seed(0)
            bayes = convert(nn.Linear(3, 2), "mnf", sigma=1.0)
            outs.append(bayes(x)[0])
            given.append(bayes(x, key=KEY)[0])
            kls.append(bayes.kl())
        finally:
            dist.destroy_process_group()
    torch.manual_seed(0)
    bayes = convert(nn.Linear(3, 2), "mnf", sigma=1.0)
    assert alone.shape == outs[0].shape
    assert_close(outs[0], bayes(x)[0], rtol=0, atol=0)
    assert all((outs[i] != outs[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))
    assert kls[1] != kls[2]
    assert_close(given[1], given[2], rtol=0, atol=0)


def test_replicas_of_one_process_are_refused():
    with pytest.raises(UserError, match="DistributedDataParallel"):
        convert(nn.Linear(3, 2))._replicate_for_data_parallel()


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_layer_is_refused(reentrant):
    """Its second forward pass, in the backward pass, would be that of the means."""
    layer = nn.Linear(3, 3)

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=reentrant)

    x = X.clone().requires_grad_()
    output, _ = convert(Checkpointed())(x)
    with pytest.raises(UserError, match="'layer' is called in a backward pass, as by gradient checkpointing"):
        output.sum().backward()


def test_threads_do_not_mix_their_draws():
    """Neither keys nor scales nor generators: twelve calls of two networks in four threads are those one by one."""
    draw = OWN_DRAWS["F.dropout"]
    nets = [convert(nn.Sequential(Own(draw), Own(draw), nn.Linear(3, 3)), sigma=s) for s in (0.01, 1.0)]
    jobs = [(net, random.fold_in(KEY, i)) for i in range(6) for net in nets]
    expected = [net(X, key=key)[0] for net, key in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda job: job[0](X, key=job[1])[0], jobs))
    assert_close(found, expected, rtol=0, atol=0)


HALVES = [torch.float16, torch.bfloat16]


@every_kind
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("late", [True, False])
def test_half_precision(kind, dtype, late):
    """Inputs whose squares overflow, rows of zeros, gradients; converted before or after `.to`."""
    net = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2))
    bayes = convert(net, kind).to(dtype) if late else convert(net.to(dtype), kind)
    x = torch.tensor([[300.0] * 4, [0.0] * 4], dtype=dtype)
    output, kl = bayes(x)
    assert output.dtype == dtype
    assert kl.dtype == torch.float32
    assert output.isfinite().all()
    (output.float().square().sum() + kl).backward()
    assert all(value.grad.isfinite().all() for value in bayes.parameters())
    multipliers = {value.dtype for name, value in bayes.named_parameters() if "multiplier" in name}
    assert multipliers <= {torch.float32}


@pytest.mark.parametrize("kind", ["sampled", "local", "flipout"])
@pytest.mark.parametrize("dtype", HALVES)
def test_noise_in_half_precision_has_its_variance(kind, dtype):
    """sigma^2 x^2 over 2000 outputs, 5 sigma and the rounding; sigma^2 below the smallest number of float16."""
    net = nn.Linear(64, 2000, bias=False).to(dtype)
    net.weight.data.zero_()
    bayes = convert(net, kind, sigma=1e-3)
    x = torch.full((1, 64), 300.0, dtype=dtype)
    expected = 1e-3 * math.sqrt(2 / 64) * 300 * 8
    found = bayes(x)[0].double().std()
    assert abs(found / expected - 1) < 5 / math.sqrt(4000) + 0.02


@pytest.mark.parametrize("dtype", HALVES)
def test_the_kl_in_half_precision_is_that_of_its_numbers(dtype):
    """Above the largest number of float16, and from variances below its smallest."""
    net = nn.Linear(1000, 40).to(dtype)
    bayes = convert(net, sigma=1e-3)
    wide = convert(net.double(), sigma=1e-3)
    with torch.no_grad():
        for name, value in bayes.named_parameters():
            wide.get_parameter(name).copy_(value)
    kl = bayes(torch.ones(1, 1000, dtype=dtype))[1]
    assert kl > 2e5
    assert_close(kl.double(), wide.kl(), rtol=1e-5, atol=0)


@every_kind
def test_autocast_keeps_variances_in_single_precision(kind):
    bayes, x = convert(nn.Linear(64, 2), kind), torch.full((2, 64), 300.0)
    with torch.autocast("cpu", torch.float16):
        output, kl = bayes(x, key=KEY)
        single = bayes.kl(KEY)
    assert output.dtype == torch.float16
    assert output.isfinite().all()
    plain, _ = bayes(x, key=KEY)
    assert_close(output.float(), plain, rtol=1e-2, atol=0.3)
    assert_close(single, bayes.kl(KEY), rtol=1e-5, atol=0)
    assert kl.isfinite()
