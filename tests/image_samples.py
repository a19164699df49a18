"""Tiny image tasks: 200 pictures whose class is where their bright spot lies, for small smooth networks and LeNet."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial

import numpy as np
import torch
from helpers import CPU, make_pack
from torch import nn

from bnnbench.data.arrays import Data
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import Pack
from bnnbench.methods import METHODS, Method
from bnnbench.nets import MLP, LeNet
from bnnbench.tasks.budget import Budget
from bnnbench.tasks.images import ImageTask
from bnnbench.tasks.shifts import DIGITS

SMALL = {
    "swag": {"samples": 5, "rank": 3},
    "hmc": {"steps_multiplier": 1, "num_chains": 2},
    "mc-dropout": {"rate": 0.3},
}
BUDGET = Budget("smoke", 12, 5, 4, "", pruning=True)


@lru_cache
def pictures(side: int) -> Data:
    """200 images of ten classes, 160 of them to train on; pixels in [0, 1], some of them exactly 0 or 1."""
    rng = np.random.default_rng(side)
    y = rng.permutation(np.repeat(np.arange(10), 20))
    x = 0.5 * rng.random((200, 1, side, side))
    x[:, :, 0] = 0.0
    cell = side // 4
    for image, label in zip(x, y, strict=True):
        row, column = cell * (1 + label // 4), cell * (label % 4)
        image[0, row : row + cell, column : column + cell] = 1.0
    return Data.of(x.astype(np.float32), y, fixed=(np.arange(160), np.arange(160, 200)))


def smooth_conv(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 6), nn.Tanh(), nn.Linear(6, classes)
    )


def small_mlp(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), MLP(channels * 784, (8,), classes))


LIKE = {
    "kind": "classification", "groups": ("tiny",), "rules": ("official",), "batch_size": 16, "budgets": (BUDGET,),
    "test_set_families": tuple(family for family in DIGITS if not family.data_sets),
}  # fmt: skip
ANY_SIZE = tuple(family for family in LIKE["test_set_families"] if family.name != "mnist-c")
CONV = ImageTask("tiny-conv", loader=partial(pictures, 8), net=smooth_conv, **LIKE | {"test_set_families": ANY_SIZE})
PLAIN = ImageTask("tiny-mlp", loader=partial(pictures, 28), net=small_mlp, **LIKE)
PADDED = ImageTask("tiny-lenet", loader=partial(pictures, 28), net=LeNet, pad=True, **LIKE)


def configured(name: str) -> Method:
    return METHODS.get(name)(**SMALL.get(name, {}))


def image_cells(
    method: Method | str, seeds: Iterable[int] = (0,), task: ImageTask = CONV, budget: Budget = BUDGET
) -> list[Cell]:
    method = configured(method) if isinstance(method, str) else method
    return [
        Cell(task, method, "official", 0, seed, budget, None, tuple(family.name for family in task.test_set_families))
        for seed in seeds
    ]


def image_pack(
    method: Method | str, seeds: Iterable[int] = (0,), task: ImageTask = CONV, dtype: torch.dtype = torch.float64
) -> Pack:
    return make_pack(image_cells(method, seeds, task), dtype)


__all__ = ["BUDGET", "CONV", "CPU", "PADDED", "PLAIN", "configured", "image_cells", "image_pack", "pictures"]
