"""Densities for normalizing flows: three with fresh draws, four unnormalised ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bnnbench import names, random
from bnnbench.data.arrays import Data, Split
from bnnbench.model import DensityProblem, DensityTruth, EnergyProblem, Problem, Rows, Table
from bnnbench.model.density_problem import Unfitted
from bnnbench.tasks.base import TASKS, Task
from bnnbench.tasks.energies import ENERGIES, WALL, Boxed
from bnnbench.tasks.sets import TestSet
from bnnbench.tasks.targets import BLOBS, LETTERS, MOONS, Target

TRAIN, TEST = 5_000, 20_000  # draws in the table: to standardise and validate by, and to test on
GRID = 200  # points of the grid along an axis


@dataclass(frozen=True)
class DensityTask(Task):
    """A density on the plane, with the truth known everywhere.

    Attributes:
        target: the density.
        centre, half: of the square on which densities are compared by a grid.
    """

    batch_size: int = 256
    target: Target = MOONS
    centre: tuple[float, float] = (0.0, 0.0)
    half: float = WALL

    def read(self, root: Path | None) -> Data:
        del root
        x = self.target.sample(random.key_of("data", self.name), TRAIN + TEST).double()
        grid, area = self._grid()
        truth = DensityTruth(np.asarray(self._log_density(grid)), np.full(len(grid), area))
        rows = np.arange(len(x))
        return Data.of(
            np.asarray(x), np.zeros(len(x)), fixed=(rows[:TRAIN], rows[TRAIN:]), grid=np.asarray(grid), truth=truth
        )

    def present(self, root: Path | None = None) -> bool:
        return True

    def problem(self, rule: str, table: Table, rows: Rows, classes: int, steps: int) -> Problem:
        own = vars(super().problem(rule, table, rows, classes, steps))
        if isinstance(self.target, Boxed):
            return EnergyProblem(**own, log_density=self.target.unnormalised)
        return DensityProblem(**own, draw=self.target.sample)

    def network(self, rule: str, shape: Sequence[int], outputs: int) -> nn.Module:
        """The place of the flow that a method brings."""
        del rule, outputs
        return Unfitted(shape[0], sampled=self.kind == "variational")

    def test_sets(
        self, data: Data, split: Split, families: Sequence[str] = (), root: Path | None = None
    ) -> dict[str, TestSet]:
        found = super().test_sets(data, split, families, root)
        sampled = {name: found[name] for name in (names.TEST, names.TRAIN, names.VALIDATION)}
        return {name: self._with_truth(points) for name, points in sampled.items()} | {names.GRID: found[names.GRID]}

    def _with_truth(self, points: TestSet) -> TestSet:
        """A random sample with its true density."""
        log_density = np.asarray(self._log_density(torch.as_tensor(points.x)))
        return points._replace(truth=DensityTruth(log_density, np.zeros(len(points.x))))

    def _grid(self) -> tuple[Tensor, float]:
        """Midpoints [GRID^2, 2] of the square's cells, and the area of each."""
        line = self.half * ((2 * torch.arange(GRID, dtype=torch.float64) + 1) / GRID - 1)
        return torch.cartesian_prod(line + self.centre[0], line + self.centre[1]), (2 * self.half / GRID) ** 2

    def _log_density(self, x: Tensor) -> Tensor:
        return torch.cat([self.target.log_density(part) for part in x.split(5_000)])


# The last step is kept: draws are fresh at every step, so that nothing overfits, and 500 validation rows would choose a
# step by chance. Draws from an energy are not for its fit to know at all.
_LAST = {"flow": {"early_stopping": False}}

for _name, _target, _centre, _half in (
    ("moons", MOONS, (0.5, 0.25), 2.0),
    ("blobs", BLOBS, (0.0, 0.0), 8.0),
    ("letters", LETTERS, (-0.1, 1.0), 3.0),
):
    _own = {"target": _target, "centre": _centre, "half": _half, "tuned": _LAST, "version": 3}
    TASKS.register(DensityTask(_name, "density", ("density",), ("fixed",), **_own))
for _name in ENERGIES:
    _own = {"target": Boxed(_name), "tuned": _LAST, "standardised": False}  # nor units taken from draws
    TASKS.register(DensityTask(_name, "variational", ("density",), ("fixed",), **_own))
