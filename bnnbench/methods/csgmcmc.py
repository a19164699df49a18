"""Cyclical stochastic gradient MCMC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bnnbench.methods.base import METHODS, evenly, fraction, positive
from bnnbench.methods.optimise import held
from bnnbench.methods.sgld import SGLD
from bnnbench.model import Problem


@METHODS.register
@dataclass(frozen=True)
class CyclicalSGMCMC(SGLD):
    """SGLD in cycles: the step falls from `lr` to 0 by a cosine and is raised again, to find another mode.

    In the first `explore` of a cycle no noise is added; draws are kept from the rest, equally many of each cycle.

    Attributes:
        cycles: number of cycles.
        explore: share of a cycle before sampling begins.
    """

    name = "csgmcmc"
    version = 2
    reference = "Zhang et al. 2020, arXiv 1902.03932"
    cycles: int = 4
    explore: float = 0.6
    lr: float = 1e-2
    floor: float = 0.01

    def check(self) -> None:
        super().check()
        positive(self, "cycles")
        fraction(self, "explore")

    def step_size(self, problem: Problem) -> Tensor:
        decay = 0.5 * (1 + torch.cos(math.pi * self._phase(problem)))
        return held(self.lr * (self.floor + (1 - self.floor) * decay))

    def heat(self, problem: Problem) -> Tensor:
        return torch.where(self._phase(problem) < self.explore, 0.0, super().heat(problem))

    def _phase(self, problem: Problem) -> Tensor:
        """How far the present cycle has come, in [0, 1)."""
        return torch.remainder(problem.t * self.cycles / problem.steps, 1.0)

    def schedule(self, steps: int) -> Sequence[int]:
        kept: list[int] = []
        for cycle in range(self.cycles):
            start, stop = cycle * steps // self.cycles, (cycle + 1) * steps // self.cycles
            first = start + math.ceil((float(self.explore) + 0.5 * (1 - float(self.explore))) * (stop - start))
            kept += evenly(first, stop, self.samples // self.cycles + (cycle < self.samples % self.cycles))
        return kept or [steps - 1]
