"""Distributions of draws: words, uniforms, truth values, integers, orders, normals, gammas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bnnbench.random.operator import BERNOULLI, BITS, GAMMA, NORMAL, NORMAL64, PERMUTATION, RANDINT, UNIFORM, draw

_ROUNDS = 8  # proposals of the gamma's rejection sampler


def bits(key: Tensor, shape: Sequence[int]) -> Tensor:
    """int32 words [..., *shape], uniform over all 2^32."""
    return draw(key, shape, BITS)


def _unit(key: Tensor, shape: Sequence[int], kind: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Multiples of 2^-24 (float64: 2^-53) in [0, 1). Every operation is exact, so compilers cannot change a bit."""
    if dtype != torch.float64:
        return ((draw(key, shape, kind) >> 8).to(torch.float32) * 2**-24 + 0.5).to(dtype)
    high, low = draw(key, (2, *shape), kind).unbind(key.dim() - 1)
    return ((high >> 5).double() * 2**26 + ((low >> 6) & (2**26 - 1)).double()) * 2**-53 + 0.5


def uniform(key: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform on [0, 1) [..., *shape], in steps of 2^-24 (float64: 2^-53). Narrower dtypes may round up to 1."""
    return _unit(key, shape, UNIFORM, dtype)


def bernoulli(key: Tensor, p: float | Tensor, shape: Sequence[int]) -> Tensor:
    """bool [..., *shape], true with probability p (rounded up to a multiple of 2^-24); p broadcasts against it."""
    return _unit(key, shape, BERNOULLI) < p


def randint(key: Tensor, shape: Sequence[int], high: int | Tensor) -> Tensor:
    """int64 [..., *shape] in [0, high): floor(u high / 2^32), u a 32-bit word.

    A value's probability differs from 1/high by less than 2^-32. `high` may be a tensor that broadcasts against the
    draw; high = 0 gives 0. In float64 u high / 2^32 <= (1 - 2^-32) high never rounds up to high.
    """
    scale = (high.double() if isinstance(high, Tensor) else float(high)) * 2**-32
    return ((draw(key, shape, RANDINT).double() + 2**31) * scale).long()


def permutation(key: Tensor, n: int) -> Tensor:
    """A random order int64 [..., n] of 0 ... n-1: sorts 53-bit numbers, two equal with probability < n²/2^54."""
    return _unit(key, (n,), PERMUTATION, torch.float64).argsort(dim=-1, stable=True)


def normal(key: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normals [..., *shape] by Box-Muller, up to 6.6 (float64: 8.5) in size.

    float32 (and narrower, rounded from it) is the same to the bit in compiled and eager code on a CPU; float64, a
    stream of its own, differs by units in the last place.
    """
    if dtype != torch.float64:
        return draw(key, shape, NORMAL).to(dtype)
    half = (math.prod(shape) + 1) // 2
    u, t = _unit(key, (2, half), NORMAL64, dtype).unbind(key.dim() - 1)
    radius, angle = (-2 * torch.log1p(-u)).sqrt(), 2 * math.pi * t
    pairs = torch.cat([radius * angle.cos(), radius * angle.sin()], -1)
    return pairs[..., : math.prod(shape)].reshape(*key.shape[:-1], *shape)


def gamma(key: Tensor, alpha: float | Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Gamma(alpha, 1) [..., *shape]; alpha > 0 broadcasts against the draw (Marsaglia & Tsang 2000).

    Proposals d v, v = (1 + x / sqrt(9 d))³, x normal, d = alpha - 1/3; the first of 8 that is accepted counts. For
    alpha >= 1 a proposal is refused with probability < 0.05, so all are with < 4e-11 (then the last one stands).
    alpha < 1: Gamma(alpha + 1) u^(1/alpha). Computed in float64; compiled and eager may differ in the last place.
    """
    normals, uniforms, boosts = draw(key, (2, 3), GAMMA).transpose(-1, -2).unbind(-2)
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
