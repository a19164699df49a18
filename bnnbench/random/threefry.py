"""The generator in PyTorch: the words of Threefry-2x32-20 and the normals made of them.

It is what `threefry.c` must equal to the bit, what CUDA runs, and what a CPU runs without a C compiler. In int32 with
wrap-around: Inductor's CPU code for int64 shifts and masks under vmap corrupts memory (torch 2.15).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(k0: Tensor, k1: Tensor, x0: Tensor, x1: Tensor | int) -> tuple[Tensor, Tensor]:
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


def words(rows: Tensor, start: int, stop: int, kind: int) -> tuple[Tensor, Tensor]:
    """The two words [B, stop - start] of counters (first + i, kind), start <= i < stop; rows [B, 3]: key, first."""
    count = torch.arange(start, stop, dtype=torch.int32, device=rows.device)
    return threefry(rows[:, 0:1], rows[:, 1:2], rows[:, 2:3] + count, kind)


def _polynomial(x: Tensor, *coefficients: float) -> Tensor:
    """Horner's rule, highest power first."""
    y = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        y = y * x + c
    return y


def normals(rows: Tensor, start: int, stop: int, kind: int) -> tuple[Tensor, Tensor]:
    """Box-Muller in float32 from the same words (a, b): r (±cos θ, sin θ), r² = -2 log u, θ in [-π/2, π/2).

    u = |a + 1/2| / 2^31 lies in (0, 1], with float32's full resolution near 0: |r| reaches 6.6. The sign of a is
    left over and says on which side of the circle the point lies. Logarithm, sine and cosine are polynomials
    (errors below 2e-7), since those of the libraries differ between eager and compiled, vector and scalar code.
    """
    a, b = words(rows, start, stop, kind)
    u = (a.to(torch.float32) + 0.5).abs()
    exponent = (u.view(torch.int32) - 0x3F3504F3) >> 23  # u = 2^exponent (1 + m), 1 + m in [√½, √2)
    m = (u.view(torch.int32) - (exponent << 23)).view(torch.float32) - 1
    log = _polynomial(  # (log(1 + m) - m) / m² (Cephes, logf)
        m, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1, -0.5,
    )  # fmt: skip
    r2 = (31 - exponent).to(torch.float32) * (2 * math.log(2)) - 2 * (m * m * log + m)
    radius = r2.double().sqrt().float()  # rounds correctly everywhere; eager float32 square roots (MKL) do not
    t = b.to(torch.float32) * 2**-31  # θ = π t / 2
    t2 = t * t  # minimax polynomials in t²
    sine = t * _polynomial(t2, 0.000150820561, -0.00467222789, 0.079688482, -0.645963371, 1.57079625)
    cosine = _polynomial(t2, 0.000858190644, -0.0208106283, 0.253650755, -1.23369825, 0.99999994)
    return torch.where(a < 0, -radius, radius) * cosine, radius * sine
