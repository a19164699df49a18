"""Cyclical stochastic gradient MCMC.

A cycle's fraction of the step, a cosine from 1 to `final_lr_fraction`, makes large steps first, which leave one mode
for another, and small ones at its end, where draws are kept (Zhang et al. 2020, arXiv 1902.03932, equation 1).

Noise of the posterior's temperature is added throughout, as in the chain that the paper's theorems are about. The
paper's algorithm 1 adds none while it explores. That cools the chain, and the small steps that follow cannot warm the
weights up again which the data leave to the prior: their relaxation takes 1 / (n s^2 h) steps or so. Such draws had
temperatures of 0.1 to 0.3 on tables, and chains that sat deep in a narrow valley when the step was raised again were
thrown out of it.
"""

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
    """SGLD whose step falls from `lr` to `lr * final_lr_fraction` in cycles; draws are kept at their ends, equally many
    of each.

    Attributes:
        cycles: number of cycles.
        explore: fraction of a cycle before draws are kept.
    """

    name = "csgmcmc"
    version = 4
    citation = "Zhang et al. 2020, arXiv 1902.03932"
    cycles: int = 4
    explore: float = 0.8
    lr: float = 3e-2
    final_lr_fraction: float = 0.01

    def check(self) -> None:
        super().check()
        positive(self, "cycles")
        fraction(self, "explore")

    def step_size(self, problem: Problem) -> Tensor:
        decay = 0.5 * (1 + torch.cos(math.pi * self.phase(problem)))
        return held(self.lr * (self.final_lr_fraction + (1 - self.final_lr_fraction) * decay))

    def phase(self, problem: Problem) -> Tensor:
        """How far the present cycle has come, in [0, 1)."""
        return torch.remainder(problem.t * self.cycles / problem.steps, 1.0)

    def schedule(self, steps: int) -> Sequence[int]:
        kept: list[int] = []
        for cycle in range(self.cycles):
            start, stop = cycle * steps // self.cycles, (cycle + 1) * steps // self.cycles
            first = start + math.ceil(float(self.explore) * (stop - start))
            kept += evenly(first, stop, self.samples // self.cycles + (cycle < self.samples % self.cycles))
        return kept or [steps - 1]
