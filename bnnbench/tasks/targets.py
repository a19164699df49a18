"""Densities on the plane, to be fitted by fresh draws from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from bnnbench import random

Path = tuple[tuple[float, float], ...]


class Target(ABC):
    """A density on the plane."""

    @abstractmethod
    def sample(self, key: Tensor, n: int) -> Tensor:
        """n draws [n, 2]."""

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) [...] at points [..., 2], normalised."""


@dataclass(frozen=True)
class Curves(Target):
    """Points spread evenly along polylines, with normal noise.

    log p(x) is exact: along a segment of length l in direction u, from a, with t = u.(x - a) and r its distance from
    the line, the density is N(r; 0, s^2) (Phi(t / s) - Phi((t - l) / s)) / l.

    Attributes:
        paths: corners of each polyline. noise: s.
    """

    paths: tuple[Path, ...]
    noise: float

    def segments(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Start [m, 2], direction [m, 2] and length [m] of all segments."""
        ends = [torch.tensor(path, dtype=like.dtype).to(like.device) for path in self.paths]
        start, change = torch.cat([e[:-1] for e in ends]), torch.cat([e[1:] - e[:-1] for e in ends])
        length = change.norm(dim=-1)
        return start, change / length[:, None], length

    def sample(self, key: Tensor, n: int) -> Tensor:
        like = torch.zeros((), dtype=torch.get_default_dtype(), device=key.device)
        start, direction, length = self.segments(like)
        ends = length.cumsum(0)
        at = random.uniform(key, (n,), like.dtype) * ends[-1]
        which = (at[:, None] >= ends[:-1]).sum(-1)
        along = at - (ends - length)[which]
        noise = self.noise * random.normal(key, (n, 2), like.dtype)
        return start[which] + along[:, None] * direction[which] + noise

    def log_density(self, x: Tensor) -> Tensor:
        start, direction, length = self.segments(x)
        away = x[..., None, :] - start
        t = (away * direction).sum(-1)
        r = away[..., 0] * direction[:, 1] - away[..., 1] * direction[:, 0]
        s = self.noise
        # differences of tails lose their digits far from the segment; log_ndtr of the nearer tail does not
        flip = t > length / 2
        near, far = torch.where(flip, length - t, t) / s, torch.where(flip, -t, t - length) / s
        log_share = torch.special.log_ndtr(near) + torch.log1p(
            -(torch.special.log_ndtr(far) - torch.special.log_ndtr(near)).exp()
        )
        log_r = -0.5 * (r / s) ** 2 - math.log(s) - 0.5 * math.log(2 * math.pi)
        # a segment is chosen with probability length / total, and its own density divides by its length
        return torch.logsumexp(log_r + log_share, -1) - length.sum().log()


@dataclass(frozen=True)
class Blobs(Target):
    """Equal normal distributions around some centres."""

    centres: Path
    scale: float

    def sample(self, key: Tensor, n: int) -> Tensor:
        real = torch.get_default_dtype()
        centres = torch.tensor(self.centres, dtype=real).to(key.device)
        which = random.randint(key, (n,), len(centres))
        return centres[which] + self.scale * random.normal(key, (n, 2), real)

    def log_density(self, x: Tensor) -> Tensor:
        centres = torch.tensor(self.centres, dtype=x.dtype).to(x.device)
        square = (((x[..., None, :] - centres) / self.scale) ** 2).sum(-1)
        constant = math.log(len(self.centres)) + math.log(2 * math.pi * self.scale**2)
        return torch.logsumexp(-0.5 * square, -1) - constant


def arc(centre: tuple[float, float], first: float, last: float, pieces: int = 64) -> Path:
    """Corners on a unit circle, from one angle to another, in radians."""
    angles = [first + (last - first) * i / pieces for i in range(pieces + 1)]
    return tuple((centre[0] + math.cos(a), centre[1] + math.sin(a)) for a in angles)


MOONS = Curves((arc((0.0, 0.0), 0.0, math.pi), arc((1.0, 0.5), math.pi, 2 * math.pi)), 0.05)
BLOBS = Blobs(((3.0, 3.0), (0.0, 0.0), (-3.0, -3.0)), 1.0)


def _letter(corners: Path, left: float) -> Path:
    return tuple((left + x, y) for x, y in corners)


_B = ((0.0, 0.0), (0.0, 2.0), (0.7, 2.0), (1.0, 1.75), (1.0, 1.25), (0.7, 1.0), (0.0, 1.0), (0.8, 1.0), (1.1, 0.75),
      (1.1, 0.25), (0.8, 0.0), (0.0, 0.0))  # fmt: skip
_N = ((0.0, 0.0), (0.0, 2.0), (1.1, 0.0), (1.1, 2.0))
LETTERS = Curves((_letter(_B, -2.5), _letter(_N, -0.7), _letter(_N, 1.1)), 0.05)
