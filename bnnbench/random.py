"""Keyed, counter-based draws: a draw is a function of its key, never of a hidden state.

A key is an int32 tensor [..., 2]. Every draw takes the key first; leading dimensions of the key are a batch of
independent streams, and `torch.func.vmap` over keys (nested too, `randomness="error"`) is one kernel call on that
batch. No global generator is read. Numbers depend on the key, the kind of draw, the shape and the dtype alone: not
on neighbours in the batch, on vmap, on `torch.compile`, or on `compiled_kernels`.

A key may serve once per kind of draw: `split`, `fold_in`, `bits`, `uniform`, `bernoulli`, `randint`, `permutation`,
`normal` and `gamma` encrypt different counters, so draws of different kinds from one key are independent. Two draws
of one kind need two keys (`split`, `fold_in`). Draws are constants to autograd.

The generator is Threefry-2x32-20 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), in int32 with
wrap-around: Inductor's CPU code for int64 shifts and masks under vmap corrupts memory (torch 2.15).
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from bnnbench.errors import UserError

# The kind of a draw is the second word of its counters. Appended to, never renumbered: it pins the streams.
_SPLIT, _FOLD, _BITS, _UNIFORM, _BERNOULLI, _RANDINT, _PERMUTATION, _NORMAL, _NORMAL64, _GAMMA = range(2, 12)

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_BLOCK = 2**16  # counters per eager block on a CPU: its temporaries stay in the cache
_ROUNDS = 8  # proposals of the gamma's rejection sampler

_compiled = False


@contextmanager
def compiled_kernels(enabled: bool = True) -> Iterator[None]:
    """Run the draws' kernels through their own `torch.compile` (or not), also inside compiled steps.

    The numbers are the same either way; the switch is read when a draw runs, not when it is traced.
    """
    global _compiled
    before, _compiled = _compiled, enabled
    try:
        yield
    finally:
        _compiled = before


def _threefry(k0: Tensor, k1: Tensor, x0: Tensor, x1: Tensor | int) -> tuple[Tensor, Tensor]:
    """Threefry-2x32-20: encrypts the counter words (x0, x1) with the key words (k0, k1); int32, broadcasting."""
    schedule = (k0, k1, k0 ^ k1 ^ 0x1BD11BDA)
    x0, x1 = x0 + k0, k1 + x1
    for four in range(5):
        for r in _ROTATIONS[four % 2]:
            x0 = x0 + x1
            # >> keeps the sign on int32, hence the mask
            x1 = ((x1 << r) | ((x1 >> (32 - r)) & ((1 << r) - 1))) ^ x0
        x0, x1 = x0 + schedule[(four + 1) % 3], x1 + (schedule[(four + 2) % 3] + (four + 1))
    return x0, x1


def _words(rows: Tensor, start: int, stop: int, kind: int) -> tuple[Tensor, Tensor]:
    """The two words [B, stop - start] of counters (first + i, kind), start <= i < stop; rows [B, 3]: key, first."""
    count = torch.arange(start, stop, dtype=torch.int32, device=rows.device)
    return _threefry(rows[:, 0:1], rows[:, 1:2], rows[:, 2:3] + count, kind)


def _polynomial(x: Tensor, *coefficients: float) -> Tensor:
    """Horner's rule, highest power first."""
    y = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        y = y * x + c
    return y


def _normals(rows: Tensor, start: int, stop: int, kind: int) -> tuple[Tensor, Tensor]:
    """Box-Muller in float32 from the same words (a, b): r (±cos θ, sin θ), r² = -2 log u, θ in [-π/2, π/2).

    u = |a + 1/2| / 2^31 lies in (0, 1], with float32's full resolution near 0: |r| reaches 6.6. The sign of a is
    left over and says on which side of the circle the point lies. Logarithm, sine and cosine are polynomials
    (errors below 2e-7), since those of the libraries differ between eager and compiled, vector and scalar code.
    """
    a, b = _words(rows, start, stop, kind)
    u = (a.to(torch.float32) + 0.5).abs()
    exponent = (u.view(torch.int32) - 0x3F3504F3) >> 23  # u = 2^exponent (1 + m), 1 + m in [√½, √2)
    m = (u.view(torch.int32) - (exponent << 23)).view(torch.float32) - 1
    log = _polynomial(  # (log(1 + m) - m) / m² (Cephes, logf)
        m, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1, -0.5,
    )  # fmt: skip
    r2 = (31 - exponent) * (2 * math.log(2)) - 2 * (m * m * log + m)
    radius = r2.double().sqrt().float()  # rounds correctly everywhere; eager float32 square roots (MKL) do not
    t = b.to(torch.float32) * 2**-31  # θ = π t / 2
    t2 = t * t  # minimax polynomials in t²
    sine = t * _polynomial(t2, 0.000150820561, -0.00467222789, 0.079688482, -0.645963371, 1.57079625)
    cosine = _polynomial(t2, 0.000858190644, -0.0208106283, 0.253650755, -1.23369825, 0.99999994)
    return torch.where(a < 0, -radius, radius) * cosine, radius * sine


# Two functions, not one with a flag: Dynamo caches its graphs by code object and searches them at every call.
def _joined_words(rows: Tensor, half: int, kind: int) -> Tensor:
    return torch.cat(_words(rows, 0, half, kind), -1)


def _joined_normals(rows: Tensor, half: int, kind: int) -> Tensor:
    return torch.cat(_normals(rows, 0, half, kind), -1)


@functools.cache
def _compiled_kernel(normal: bool, batched: bool, device: torch.device, threads: int) -> Callable[..., Tensor]:
    """The compiled kernel, after one large draw: Inductor decides on threads by the sizes that it meets first.

    The other arguments are what graphs are specialised on. Compiled here and not on import, which would load Dynamo.
    """
    kernel = torch.compile(_joined_normals if normal else _joined_words, dynamic=True, fullgraph=True)
    kernel(torch.zeros(1 + batched, 3, dtype=torch.int32, device=device), 2**16, _NORMAL)
    return kernel


def _draw(key: Tensor, shape: Sequence[int], kind: int) -> Tensor:
    """Draws [..., *shape] from keys [..., 2], or [..., 3] with the first counter: float32 normals or int32 words.

    Counter i gives elements i and i + half of the flattened draw, half = max(2, ceil(n / 2)). (At least 2, since
    graphs are specialised on sizes 0 and 1.)
    """
    size, normal = math.prod(shape), kind == _NORMAL
    half = max(2, (size + 1) // 2)
    rows = key.reshape(-1, key.shape[-1])
    if rows.shape[1] == 2:
        rows = torch.nn.functional.pad(rows, (0, 1))
    count = len(rows)
    if _compiled and count:
        with torch.no_grad():  # one grad mode, one graph
            out = _compiled_kernel(normal, count > 1, key.device, torch.get_num_threads())(rows, half, kind)
    else:
        kernel = _normals if normal else _words
        out = rows.new_empty(count, 2, half, dtype=torch.float32 if normal else torch.int32)
        step = half if rows.is_cuda else max(2, _BLOCK // max(1, count))
        for start in range(0, half, step):
            stop = min(start + step, half)
            out[:, 0, start:stop], out[:, 1, start:stop] = kernel(rows, start, stop, kind)
        out = out.view(count, 2 * half)
    if size < 2 * half:
        out = out[:, :size].contiguous()
    return out.view((*key.shape[:-1], *shape))


def _draw_fake(key: Tensor, shape: Sequence[int], kind: int) -> Tensor:
    return key.new_empty((*key.shape[:-1], *shape), dtype=torch.float32 if kind == _NORMAL else torch.int32)


def _draw_vmap(info, in_dims, key: Tensor, shape: Sequence[int], kind: int) -> tuple[Tensor, int]:
    return _op(key.movedim(in_dims[0], 0), shape, kind), 0


# What torch.library.custom_op does, less the wrapper that costs 6 us a call.
torch.library.define(
    "bnnbench::draw", "(Tensor key, SymInt[] shape, int kind) -> Tensor", tags=torch.Tag.pt2_compliant_tag
)
torch.library.impl("bnnbench::draw", "default", _draw)
torch.library.register_fake("bnnbench::draw", _draw_fake)
torch.library.register_vmap("bnnbench::draw", _draw_vmap)
_op = torch.ops.bnnbench.draw.default


def checked_seed(seed: int) -> int:
    """A seed as an integer of Python.

    Raises:
        UserError: it is no whole number.
    """
    try:
        return operator.index(seed)
    except TypeError:
        raise UserError(f"A seed is a whole number, not {seed!r}.") from None


def key(seed: int, device: torch.device | str | None = None) -> Tensor:
    """The key [2] of an integer: its two low 32-bit words."""
    seed = checked_seed(seed)
    return _from_words(seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF, device)


def key_of(*parts: str | int, device: torch.device | str | None = None) -> Tensor:
    """The key [2] of a tuple of strings and integers, e.g. (task, split, seed): the head of its JSON's sha256."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return _from_words(int.from_bytes(digest[:4]), int.from_bytes(digest[4:8]), device)


def is_key(value: object) -> bool:
    """Whether this can be a key, or a batch of keys [..., 2]: an int32 tensor of that shape."""
    return isinstance(value, Tensor) and value.dtype == torch.int32 and value.shape[-1:] == (2,)


def _signed(word: int) -> int:
    """The int32 with the bits of an unsigned 32-bit word."""
    return word - 2**32 if word >= 2**31 else word


def _from_words(first: int, second: int, device: torch.device | str | None) -> Tensor:
    return torch.tensor([_signed(first), _signed(second)], dtype=torch.int32, device=device)


@dataclass(frozen=True)
class Span:
    """The keys `start` to `stop - 1` among the `total` of a split: a few of a prediction's samples at a time."""

    start: int
    stop: int
    total: int

    def __len__(self) -> int:
        return self.stop - self.start


def split(key: Tensor, n: int | Span = 2) -> Tensor:
    """n independent keys [..., n, 2], or the part of them that a span names."""
    if isinstance(n, Span):
        return split(key, n.total)[..., n.start : n.stop, :]
    return _op(key, (2, n), _SPLIT).transpose(-1, -2)


def fold_in(key: Tensor, data: int | Tensor) -> Tensor:
    """The key of (key, data), e.g. of a training step: distinct data give independent keys.

    Args:
        key: [..., 2].
        data: an integer in [-2^31, 2^32), or a tensor of such [...] that broadcasts against the keys; only its low
            32 bits count. `fold_in(key, torch.arange(n))` gives n keys [n, 2].
    """
    if isinstance(data, int):
        if not -(2**31) <= data < 2**32:
            raise ValueError(f"fold_in takes 32-bit integers, not {data}; chain two calls for more.")
        first = key.new_full((*key.shape[:-1], 1), _signed(data))
    else:
        first = data.to(device=key.device, dtype=torch.int32)[..., None]
        key = key.expand(torch.broadcast_shapes(key.shape, (*data.shape, 2)))
        first = first.expand(*key.shape[:-1], 1)
    return _op(torch.cat([key, first], -1), (2, 2), _FOLD)[..., 0]


def bits(key: Tensor, shape: Sequence[int]) -> Tensor:
    """int32 words [..., *shape], uniform over all 2^32."""
    return _op(key, shape, _BITS)


def _unit(key: Tensor, shape: Sequence[int], kind: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Multiples of 2^-24 (float64: 2^-53) in [0, 1). Every operation is exact, so compilers cannot change a bit."""
    if dtype != torch.float64:
        return ((_op(key, shape, kind) >> 8).to(torch.float32) * 2**-24 + 0.5).to(dtype)
    high, low = _op(key, (2, *shape), kind).unbind(key.dim() - 1)
    return ((high >> 5).double() * 2**26 + ((low >> 6) & (2**26 - 1)).double()) * 2**-53 + 0.5


def uniform(key: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform on [0, 1) [..., *shape], in steps of 2^-24 (float64: 2^-53). Narrower dtypes may round up to 1."""
    return _unit(key, shape, _UNIFORM, dtype)


def bernoulli(key: Tensor, p: float | Tensor, shape: Sequence[int]) -> Tensor:
    """bool [..., *shape], true with probability p (rounded up to a multiple of 2^-24); p broadcasts against it."""
    return _unit(key, shape, _BERNOULLI) < p


def randint(key: Tensor, shape: Sequence[int], high: int | Tensor) -> Tensor:
    """int64 [..., *shape] in [0, high): floor(u high / 2^32), u a 32-bit word.

    A value's probability differs from 1/high by less than 2^-32. `high` may be a tensor that broadcasts against the
    draw; high = 0 gives 0. In float64 u high / 2^32 <= (1 - 2^-32) high never rounds up to high.
    """
    scale = (high.double() if isinstance(high, Tensor) else float(high)) * 2**-32
    return ((_op(key, shape, _RANDINT).double() + 2**31) * scale).long()


def permutation(key: Tensor, n: int) -> Tensor:
    """A random order int64 [..., n] of 0 ... n-1: sorts 53-bit numbers, two equal with probability < n²/2^54."""
    return _unit(key, (n,), _PERMUTATION, torch.float64).argsort(dim=-1, stable=True)


def normal(key: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normals [..., *shape] by Box-Muller, up to 6.6 (float64: 8.5) in size.

    float32 (and narrower, rounded from it) is the same to the bit in compiled and eager code on a CPU; float64, a
    stream of its own, differs by units in the last place.
    """
    if dtype != torch.float64:
        return _op(key, shape, _NORMAL).to(dtype)
    half = (math.prod(shape) + 1) // 2
    u, t = _unit(key, (2, half), _NORMAL64, dtype).unbind(key.dim() - 1)
    radius, angle = (-2 * torch.log1p(-u)).sqrt(), 2 * math.pi * t
    pairs = torch.cat([radius * angle.cos(), radius * angle.sin()], -1)
    return pairs[..., : math.prod(shape)].reshape(*key.shape[:-1], *shape)


def gamma(key: Tensor, alpha: float | Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Gamma(alpha, 1) [..., *shape]; alpha > 0 broadcasts against the draw (Marsaglia & Tsang 2000).

    Proposals d v, v = (1 + x / sqrt(9 d))³, x normal, d = alpha - 1/3; the first of 8 that is accepted counts. For
    alpha >= 1 a proposal is refused with probability < 0.05, so all are with < 4e-11 (then the last one stands).
    alpha < 1: Gamma(alpha + 1) u^(1/alpha). Computed in float64; compiled and eager may differ in the last place.
    """
    normals, uniforms, boosts = _op(key, (2, 3), _GAMMA).transpose(-1, -2).unbind(-2)
    alpha = torch.as_tensor(alpha, dtype=torch.float64, device=key.device).detach()
    d = torch.where(alpha < 1, alpha + 1, alpha) - 1 / 3
    proposals, first = (_ROUNDS, *shape), key.dim() - 1
    x = normal(normals, proposals, torch.float64).movedim(first, 0)
    log_u = torch.log1p(-uniform(uniforms, proposals, torch.float64).movedim(first, 0))
    v = ((1 + x / (9 * d).sqrt()) ** 3).clamp(min=1e-300)  # a refused v <= 0 needs a logarithm, too
    accepted = log_u < x * x / 2 + d * (1 - v + v.log())
    chosen = v[-1]
    for i in reversed(range(_ROUNDS - 1)):
        chosen = torch.where(accepted[i], v[i], chosen)
    boost = torch.where(alpha < 1, (torch.log1p(-uniform(boosts, shape, torch.float64)) / alpha).exp(), 1)
    return (d * chosen * boost).to(dtype)
