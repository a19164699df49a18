"""Tasks whose posterior is known: one split of small data sets, on which Hamiltonian Monte Carlo converges.

They are the tables' own tasks with their networks, but for what made chains stick there: the noise that a network
learns has a larger floor, 5 % of the target's standard deviation, without which a few rows that are fitted exactly make
valleys too narrow for any step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from bnnbench.data.arrays import Data, Split, spread
from bnnbench.nets import SmallConv
from bnnbench.tasks.base import TASKS, Task

TRAIN_ROWS, TEST_ROWS = 1500, 250
FLOOR = 0.05


@dataclass(frozen=True)
class FidelityTask(Task):
    """The first split of another data set, with at most 1,500 rows to train on and 250 to test.

    Attributes:
        image: shape (channels, height, width) that the columns are an image of, in its range; empty of a table.
        net: the plain network of images, from numbers of channels and classes.
    """

    image: tuple[int, ...] = ()
    net: Callable[[int, int], nn.Module] = SmallConv

    def read(self, root: Path | None) -> Data:
        data = super().read(root)
        return (
            data
            if not self.image
            else Data.of((data.x / data.x.max()).reshape(-1, *self.image).astype(np.float32), data.y)
        )

    def splits(self, rule: str, root: Path | None = None) -> list[Split]:
        first = super().splits(rule, root)[0]
        train, test = (
            rows[spread(len(rows), most)] for rows, most in ((first.train, TRAIN_ROWS), (first.test, TEST_ROWS))
        )
        return [Split(train, first.validation, test)]

    def network(self, rule: str, shape: Sequence[int], outputs: int) -> nn.Module:
        return self.net(shape[0], outputs) if self.image else super().network(rule, shape, outputs)


def _settings(steps_multiplier: int, max_leapfrog_steps: int) -> dict[str, dict[str, int]]:
    """Of HMC: what its chains need here."""
    return {"hmc": {"steps_multiplier": steps_multiplier, "max_leapfrog_steps": max_leapfrog_steps, "samples": 250}}


_toy = partial(FidelityTask, kind="regression", groups=("fidelity",), rules=("fixed",), hidden=(200,))
_table = partial(FidelityTask, groups=("fidelity",), rules=("10fold",), noise_floor=FLOOR)

for _name, _noise in [
    ("toy-homoscedastic", "homoscedastic"),
    ("toy-heteroscedastic", "heteroscedastic"),
    ("toy-antoran", "heteroscedastic"),
]:
    TASKS.register(_toy(f"fidelity-{_name}", source=_name, noise=_noise, tuned=_settings(20, 300)))
for _name in ("yacht", "energy", "housing", "concrete", "wine", "power"):
    TASKS.register(_table(f"fidelity-{_name}", "regression", source=_name, tuned=_settings(40, 600)))
TASKS.register(_table("fidelity-digits", "classification", source="digits", tuned=_settings(20, 300)))
TASKS.register(
    _table("fidelity-digits-conv", "classification", source="digits", image=(1, 8, 8), tuned=_settings(20, 300))
)
