"""Keyed draws: known answers, distributions, independence, and the same numbers by every route.

Statistical tests reject at P_VALUE each, about 60 p-values in all: a right generator fails one with probability
below 1e-4 when keys or streams are changed. The keys are fixed, so that what passed once keeps passing.
"""

import itertools
import math
import shutil

import numpy as np
import pytest
import torch
from scipy import stats
from torch.fx.experimental.proxy_tensor import make_fx

from bnnbench import random
from bnnbench.random import distributions, operator, pytorch, threefry

P_VALUE = 1e-6
N = 200_000
KEY = random.key_of("test", 0)
GOLDEN = {
    "key_of": [100543424, 55627887],
    "split": [[1305490232, -968338550], [1496288085, 291515691]],
    "fold_in": [1921608813, 955517620],
    "bits": [-1618527093, 531876175, 440009772],
    "uniform": [0.240040421, 0.878303111, 0.843685389],
    "uniform64": [0.24004045384887918, 0.8783031185792138],
    "normal": [-0.328642339, 0.527181208, 0.539706767, -0.746005177],
    "normal64": [-1.6096546886293854, -0.6987498515614706, -0.3605742537474822],
    "bernoulli": [0, 1, 1, 1, 0, 0, 1, 0],
    "randint": [733, 801, 15, 756, 583],
    "permutation": [3, 7, 6, 1, 2, 4, 0, 5],
    "gamma": [1.16468024, 0.189854965, 0.383307904],
}

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler")


def reference_threefry(key, counter):
    """Threefry-2x32-20 on Python integers, after the paper's figure."""
    k = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (c + w & 0xFFFFFFFF for c, w in zip(counter, key, strict=True))
    for i in range(20):
        r = (13, 15, 26, 6, 17, 29, 16, 24)[i % 8]
        x = x + y & 0xFFFFFFFF
        y = (y << r | y >> 32 - r) & 0xFFFFFFFF ^ x
        if i % 4 == 3:
            s = i // 4 + 1
            x, y = x + k[s % 3] & 0xFFFFFFFF, y + k[(s + 1) % 3] + s & 0xFFFFFFFF
    return x, y


def unsigned(tensor):
    return tensor.numpy().view(np.uint32).tolist()


def signed(*words):
    return torch.from_numpy(np.array(words, dtype=np.uint32).view(np.int32))


@pytest.mark.parametrize(
    ("key", "counter", "answer"),
    [  # the known-answer tests of Random123
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_known_answers(key, counter, answer):
    assert reference_threefry(key, counter) == answer
    words = threefry.threefry(*signed(*key).split(1), *signed(*counter).split(1))
    assert tuple(unsigned(torch.cat(words))) == answer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_counters_of_a_draw(size):
    key, half = unsigned(KEY), max(2, math.ceil(size / 2))
    words = [reference_threefry(key, (i, operator.BITS)) for i in range(half)]
    assert (
        unsigned(random.bits(KEY, (size,)))
        == [a for a, _ in words][:size] + [b for _, b in words][: max(0, size - half)]
    )
    assert [tuple(k) for k in unsigned(random.split(KEY, 5).contiguous())] == [
        reference_threefry(key, (i, operator.SPLIT)) for i in range(5)
    ]


@pytest.mark.parametrize("data", [0, 1, 7, 2**31 - 1, 2**32 - 1, -1])
def test_fold_in_encrypts_its_data(data):
    answer = reference_threefry(unsigned(KEY), (data % 2**32, operator.FOLD))
    assert tuple(unsigned(random.fold_in(KEY, data))) == answer
    assert tuple(unsigned(random.fold_in(KEY, torch.tensor(data)))) == answer


def test_fold_in_broadcasts_and_checks():
    keys, data = random.split(KEY, 3), torch.arange(4)
    table = random.fold_in(keys[:, None], data)
    assert table.shape == (3, 4, 2)
    assert torch.equal(table[2, 3], random.fold_in(keys[2], 3))
    assert torch.equal(random.fold_in(keys, 3), table[:, 3])
    with pytest.raises(ValueError, match="32-bit"):
        random.fold_in(KEY, 2**32)


def test_golden_values():
    """These pin the streams: a change here changes every stored result."""
    assert unsigned(random.key(-2)) == [2**32 - 2, 2**32 - 1]
    assert unsigned(random.key(5 + (3 << 32))) == [5, 3]
    assert unsigned(random.key_of("housing", "10fold", 3)) == GOLDEN["key_of"]
    draws = {
        "split": random.split(KEY, 2),
        "fold_in": random.fold_in(KEY, 12),
        "bits": random.bits(KEY, (3,)),
        "uniform": random.uniform(KEY, (3,)),
        "uniform64": random.uniform(KEY, (2,), torch.float64),
        "normal": random.normal(KEY, (4,)),
        "normal64": random.normal(KEY, (3,), torch.float64),
        "bernoulli": random.bernoulli(KEY, 0.4, (8,)).int(),
        "randint": random.randint(KEY, (5,), 1000),
        "permutation": random.permutation(KEY, 8),
        "gamma": random.gamma(KEY, 0.7, (3,)),
    }
    for name, draw in draws.items():
        np.testing.assert_allclose(draw.double(), GOLDEN[name], rtol=1e-6, err_msg=name)
    assert torch.equal(draws["normal"], torch.tensor(GOLDEN["normal"], dtype=torch.float32))


def test_key_of_tells_parts_apart():
    keys = [random.key_of(*p) for p in (("ab", "c"), ("a", "bc"), ("a", "b", "c"), ("1",), (1,), ())]
    assert len({tuple(k.tolist()) for k in keys}) == len(keys)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_distribution(dtype):
    x = random.normal(KEY, (N,), dtype).double().numpy()
    assert stats.kstest(x, "norm").pvalue > P_VALUE
    z = [x.mean(), (x**2).mean() - 1, (x**3).mean(), (x**4).mean() - 3] / np.sqrt(np.array([1, 2, 15, 96]) / N)
    assert np.all(np.abs(z) < stats.norm.isf(P_VALUE / 2))
    tail = [int((np.abs(x) > t).sum()) for t in (3, 4)]
    assert all(stats.binomtest(k, N, 2 * stats.norm.sf(t)).pvalue > P_VALUE for k, t in zip(tail, (3, 4), strict=True))


def test_normal_is_box_muller_of_its_words():
    rows = torch.nn.functional.pad(KEY[None], (0, 1))
    a, b = (w.float().double() for w in threefry.words(rows, 0, N, operator.NORMAL))
    u = (a.float() + 0.5).abs().double() / 2**31  # u is rounded in float32, the rest not
    radius, angle = (-2 * u.log()).sqrt(), b * math.pi / 2**32
    expected = torch.cat([torch.where(a < 0, -radius, radius) * angle.cos(), radius * angle.sin()], -1)
    assert (random.normal(KEY, (2 * N,)) - expected[0]).abs().max() < 1e-6  # |x| < 6.7: 2 ulp there


def test_normal_at_extreme_words(monkeypatch):
    edges = torch.tensor([[-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1]], dtype=torch.int32)
    monkeypatch.setattr(threefry, "words", lambda *_: (edges, edges.flip(-1)))
    x, y = threefry.normals(edges, 0, 6, 0)
    assert torch.stack([x, y]).isfinite().all()
    assert (x**2 + y**2).max().sqrt() > 6.5
    torch.testing.assert_close((x**2 + y**2)[0, 3], torch.tensor(64 * math.log(2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_distribution(dtype):
    x = random.uniform(KEY, (N,), dtype)
    assert x.dtype == dtype
    assert 0 <= x.min() < x.max() < 1
    assert stats.kstest(x.double().numpy(), "uniform").pvalue > P_VALUE
    low = (x.double() * 2**24 % 16 if dtype == torch.float32 else x * 2**53 % 16).int()
    assert stats.chisquare(torch.bincount(low, minlength=16).numpy()).pvalue > P_VALUE


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 1.5, 4.0, 300.0])
def test_gamma_distribution(alpha):
    x = random.gamma(KEY, alpha, (N,), torch.float64).numpy()
    assert stats.kstest(x, stats.gamma(alpha).cdf).pvalue > P_VALUE
    assert stats.norm.sf(abs(x.mean() - alpha) / math.sqrt(alpha / N)) > P_VALUE


def test_gamma_refuses_less_than_one_in_twenty():
    """The bound behind the residual probability: alpha = 1 is the worst case of alpha >= 1."""

    def accepted(d):
        x = np.linspace(-1 / math.sqrt(1 / (9 * d)) + 1e-9, 12, 400_001)
        v = (1 + x / math.sqrt(9 * d)) ** 3
        return np.trapezoid(stats.norm.pdf(x) * np.exp(np.minimum(0, x * x / 2 + d * (1 - v + np.log(v)))), x)

    acceptance = [accepted(a - 1 / 3) for a in (1, 1.1, 1.5, 3, 100)]
    assert acceptance[0] == min(acceptance) > 0.95


@pytest.mark.parametrize("p", [0.0, 1e-3, 0.3, 0.5, 0.95, 1.0])
def test_bernoulli_distribution(p):
    hits = int(random.bernoulli(KEY, p, (N,)).sum())
    assert stats.binomtest(hits, N, p).pvalue > P_VALUE
    per_element = random.bernoulli(KEY, torch.tensor([0.0, p, 1.0]), (N // 4, 3)).double().mean(0)
    assert per_element[0] == 0
    assert per_element[2] == 1


@pytest.mark.parametrize("high", [1, 2, 7, 455, 60_000])
def test_randint_distribution(high):
    x = random.randint(KEY, (N,), high)
    assert x.dtype == torch.int64
    assert 0 <= x.min() <= x.max() < high
    assert torch.equal(x, random.randint(KEY, (N,), torch.tensor(high)))
    width = max(1, high // 400)  # divides `high`
    if high > 1:
        assert stats.chisquare(torch.bincount(x // width, minlength=high // width).numpy()).pvalue > P_VALUE


def test_randint_stays_below_high(monkeypatch):
    monkeypatch.setattr(distributions, "draw", lambda *_: torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32))
    for high in (1, 2, 3, 2**31, 2**32, 2**52 + 1):
        low, top = random.randint(KEY, (2,), high).tolist()
        assert low == 0
        assert high - 1 - high // 2**32 - 1 <= top <= high - 1


def test_permutation_distribution():
    orders = random.permutation(random.split(KEY, 24_000), 4)
    code = (orders * torch.tensor([64, 16, 4, 1])).sum(-1)
    values, counts = code.unique(return_counts=True)
    assert len(values) == 24
    assert stats.chisquare(counts.numpy()).pvalue > P_VALUE
    assert torch.equal(random.permutation(KEY, 10_000).sort().values, torch.arange(10_000))


def test_kinds_and_keys_are_independent():
    """Words at equal places of draws of all kinds, of split keys and of steps are uncorrelated and do not repeat."""
    steps = random.fold_in(KEY, torch.arange(3))
    streams = [operator.draw(KEY, (N,), kind) for kind in range(2, 12) if kind != operator.NORMAL]
    streams += [random.bits(k, (N,)) for k in (*random.split(KEY, 3), *steps, random.key(0), random.key(1))]
    words = torch.stack(streams)
    unit = words.double() / 2**31 * math.sqrt(3)  # unit variance
    correlation = (unit @ unit.T / N).fill_diagonal_(0)
    pairs = math.comb(len(words), 2)
    assert correlation.abs().max() * math.sqrt(N) < stats.norm.isf(P_VALUE / pairs / 2)
    equal = sum(int((a == b).sum()) for a, b in itertools.combinations(words, 2))
    assert stats.poisson.sf(equal - 1, pairs * N / 2**32) > P_VALUE
    x, y = random.normal(steps[0], (N,)), random.normal(steps[1], (N,))
    assert abs(float((x * y).mean())) * math.sqrt(N) < stats.norm.isf(P_VALUE / 2)


def every_draw(key, step, p, high):
    """One draw of each kind from one key; the last three are rounded by the libraries' functions."""
    key = random.fold_in(key, step)
    return (
        random.split(key, 3),
        random.bits(key, (2, 3)),
        random.bits(key, ()),
        random.uniform(key, (5,)),
        random.uniform(key, (5,), torch.float64),
        random.bernoulli(key, p, (9,)),
        random.randint(key, (4,), high),
        random.permutation(key, 6),
        random.normal(key, (3, 7)),
        random.normal(key, (5,), torch.float64),
        random.gamma(key, p, (4,)),
        random.gamma(key, p, (4,), torch.float64),
    )


EXACT = 9
B = 6
ARGUMENTS = (random.split(KEY, B), torch.arange(B), torch.linspace(0.2, 2, B), torch.arange(B) * 10 + 3)


@pytest.fixture(scope="module")
def one_by_one():
    return [torch.stack(d) for d in zip(*(every_draw(*a) for a in zip(*ARGUMENTS, strict=True)), strict=True)]


def assert_same(draws, expected):
    for i, (draw, value) in enumerate(zip(draws, expected, strict=True)):
        if i < EXACT:
            assert draw.dtype == value.dtype
            assert torch.equal(draw, value), i
        else:
            torch.testing.assert_close(draw, value, rtol=3e-7 if draw.dtype == torch.float32 else 1e-13, atol=1e-300)


def vmapped(function, **options):
    return torch.func.vmap(function, randomness="error", **options)


def test_same_numbers_under_vmap(one_by_one):
    assert_same(vmapped(every_draw)(*ARGUMENTS), one_by_one)
    nested = vmapped(vmapped(every_draw))(*(a.unflatten(0, (2, 3)) for a in ARGUMENTS))
    assert_same([d.flatten(0, 1) for d in nested], one_by_one)
    last = vmapped(every_draw, in_dims=(1, 0, 0, 0))(ARGUMENTS[0].T, *ARGUMENTS[1:])
    assert_same(last, one_by_one)


def test_same_numbers_where_only_the_key_or_only_the_rest_is_batched():
    keys, *rest = ARGUMENTS
    some = [r[2] for r in rest]
    alone = [torch.stack(d) for d in zip(*(every_draw(k, *some) for k in keys), strict=True)]
    assert_same(vmapped(every_draw, in_dims=(0, None, None, None))(keys, *some), alone)
    alone = [torch.stack(d) for d in zip(*(every_draw(keys[0], *r) for r in zip(*rest, strict=True)), strict=True)]
    assert_same(vmapped(every_draw, in_dims=(None, 0, 0, 0))(keys[0], *rest), alone)


def test_leading_dimensions_are_a_batch():
    keys = random.split(KEY, 6).view(2, 3, 2)
    for draw in (random.normal, random.bits, random.uniform):
        batch = draw(keys, (5, 3))
        assert batch.shape == (2, 3, 5, 3)
        assert batch.is_contiguous()
        assert torch.equal(batch[1, 2], draw(keys[1, 2], (5, 3)))


@pytest.mark.slow
@needs_compiler
def test_same_numbers_compiled(one_by_one):
    step = torch.compile(vmapped(every_draw), fullgraph=True)
    assert_same(step(*ARGUMENTS), one_by_one)


def test_same_numbers_traced(one_by_one):
    """A graph of plain operations, in which draws are nodes of their own."""
    graph = make_fx(vmapped(every_draw))(*ARGUMENTS)
    assert sum(node.target is operator.draw for node in graph.graph.nodes) > len(one_by_one)
    assert_same(graph(*ARGUMENTS), one_by_one)
    keys, *rest = ARGUMENTS
    assert_same([d.flip(0) for d in graph(keys.flip(0), *(r.flip(0) for r in rest))], one_by_one)


@needs_compiler
@pytest.mark.slow
def test_kernels_of_a_gpu_give_the_same_numbers():
    """Inductor's, here made for the CPU; one key is a graph of its own."""
    keys = random.split(KEY, 3)
    for normal, count, half in itertools.product((False, True), (1, 3), (2, 17, 75_001)):
        kernel = pytorch.compiled_kernel(normal, count > 1, keys.device)
        rows = torch.nn.functional.pad(keys[:count], (0, 1))
        assert torch.equal(kernel(rows, half, 4), pytorch.drawn(keys[:count], 2 * half, 4, normal))


def test_neighbours_change_nothing():
    keys = random.split(KEY, 3)
    whole = random.normal(keys, (1001,))
    others = random.normal(torch.stack([random.key(1), keys[1], random.key(2), keys[0]]), (1001,))
    assert torch.equal(others[1::2], whole[[1, 0]])


def test_blocks_change_nothing(monkeypatch):
    keys = random.split(KEY, 3)
    whole = pytorch.drawn(keys, 1001, 9, normal=True)
    monkeypatch.setattr(pytorch, "_BLOCK", 64)
    assert torch.equal(pytorch.drawn(keys, 1001, 9, normal=True), whole)


def test_draws_are_constants_to_autograd():
    def loss(w, key, alpha):
        return (w * random.normal(key, (4,))).sum() + random.gamma(key, alpha, (4,)).sum()

    gradient, of_alpha = torch.func.grad(loss, argnums=(0, 2))(torch.ones(4), KEY, torch.tensor(2.0))
    assert torch.equal(gradient, random.normal(KEY, (4,)))
    assert of_alpha == 0
    batched = vmapped(torch.func.grad(loss), in_dims=(None, 0, None))(torch.ones(4), ARGUMENTS[0], torch.tensor(2.0))
    assert torch.equal(batched, random.normal(ARGUMENTS[0], (4,)))


def test_edges():
    assert random.normal(KEY, (0, 3)).shape == (0, 3)
    assert random.normal(KEY[None][:0], (3,)).shape == (0, 3)
    assert random.normal(KEY, ()).shape == ()
    assert random.permutation(KEY, 0).shape == (0,)
    assert random.split(KEY, 1).shape == (1, 2)
    assert random.normal(KEY, (3,), torch.bfloat16).dtype == torch.bfloat16
    assert random.gamma(KEY, 1e-3, (1000,)).isfinite().all()


def test_global_generator_is_not_touched():
    state = torch.get_rng_state()
    every_draw(*(a[0] for a in ARGUMENTS))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    x = random.normal(KEY, (9,))
    torch.manual_seed(2)
    assert torch.equal(random.normal(KEY, (9,)), x)
    torch.set_rng_state(state)


def test_switch_restores_itself():
    with random.compiled_kernels():
        with random.compiled_kernels(False):
            assert not pytorch._compiled
        with pytest.raises(RuntimeError), random.compiled_kernels():
            raise RuntimeError
        assert pytorch._compiled
    assert not pytorch._compiled


def test_operator_registration():
    torch.library.opcheck(operator.draw, (ARGUMENTS[0], [3, 5], operator.BITS))
    torch.library.opcheck(operator.draw, (ARGUMENTS[0], [3, 5], operator.NORMAL))
