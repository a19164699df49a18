"""The four unnormalised densities of Rezende & Mohamed (2015, arXiv 1505.05770, table 1), on the box |z_i| <= 4."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from bnnbench import random
from bnnbench.tasks.targets import Target

BOX, WALL = 4.0, 5.0  # half a side of the box, and of the square beyond which a density is 0
CELLS = 1000  # along an axis, for normalisation and draws


def energy_1(z: Tensor) -> Tensor:
    """A ring with two modes."""
    ring = ((z.norm(dim=-1) - 2) / 0.4) ** 2
    modes = torch.stack([((z[..., 0] - 2) / 0.6) ** 2, ((z[..., 0] + 2) / 0.6) ** 2])
    return -0.5 * ring + torch.logsumexp(-0.5 * modes, 0)


def energy_2(z: Tensor) -> Tensor:
    """A wave."""
    return -0.5 * ((z[..., 1] - _wave(z)) / 0.4) ** 2


def energy_3(z: Tensor) -> Tensor:
    """A wave that splits in the middle."""
    gap = 3 * torch.exp(-0.5 * ((z[..., 0] - 1) / 0.6) ** 2)
    return _two(z, gap, 0.35)


def energy_4(z: Tensor) -> Tensor:
    """A wave that splits for good."""
    return _two(z, 3 * torch.sigmoid((z[..., 0] - 1) / 0.3), 0.4)


def _wave(z: Tensor) -> Tensor:
    return torch.sin(2 * math.pi * z[..., 0] / 4)


def _two(z: Tensor, gap: Tensor, width: float) -> Tensor:
    off = z[..., 1] - _wave(z)
    return torch.logsumexp(torch.stack([-0.5 * (off / width) ** 2, -0.5 * ((off + gap) / 0.35) ** 2]), 0)


ENERGIES = {"energy-1": energy_1, "energy-2": energy_2, "energy-3": energy_3, "energy-4": energy_4}


@dataclass(frozen=True)
class Boxed(Target):
    """One of the four with a steep wall around the box, -50 d^2 at a distance d: three of them have no finite mass
    without one.

    Attributes:
        energy: its name.
    """

    energy: str

    def unnormalised(self, z: Tensor) -> Tensor:
        """log p(z) [...] at points [..., 2], up to a constant."""
        beyond = F.relu(z.abs() - BOX)
        return ENERGIES[self.energy](z) - 50 * (beyond**2).sum(-1)

    def log_density(self, x: Tensor) -> Tensor:
        return self.unnormalised(x) - _log_mass(self)

    def sample(self, key: Tensor, n: int) -> Tensor:
        """Cells of the grid by their mass, and a place in them evenly: to compare with, never to fit."""
        real = torch.get_default_dtype()
        grid, ends = _cells(self)
        at = random.uniform(random.fold_in(key, 0), (n,), torch.float64)
        place = random.uniform(random.fold_in(key, 1), (n, 2), torch.float64) - 0.5
        cell = torch.searchsorted(ends, at).clamp(max=len(ends) - 1)
        return (grid[cell] + 2 * WALL / CELLS * place).to(real)


@cache
def _cells(target: Boxed) -> tuple[Tensor, Tensor]:
    """Centres [cells, 2] of a fine grid, and the cumulated mass [cells]."""
    line = -WALL + 2 * WALL * (torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS
    grid = torch.cartesian_prod(line, line)
    return grid, target.unnormalised(grid).softmax(0).cumsum(0)


@cache
def _log_mass(target: Boxed) -> float:
    """log of the integral, by the midpoint rule."""
    grid, _ = _cells(target)
    return torch.logsumexp(target.unnormalised(grid), 0).item() + 2 * math.log(2 * WALL / CELLS)
