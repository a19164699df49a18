"""Binarised MNIST for variational autoencoders, whose posterior is a flow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bnnbench import random
from bnnbench.model import AutoencoderProblem, Problem, Rows, Table
from bnnbench.model.autoencoder import CONTEXT, Autoencoder
from bnnbench.model.density import Unfitted
from bnnbench.tasks.base import TASKS, Task
from bnnbench.tasks.budget import Budget
from bnnbench.tasks.data import Data

EPOCH = 430  # updates: 55,000 rows by 128


class AutoencoderTask(Task):
    """MNIST with every pixel drawn once from a Bernoulli of its grey value (Salakhutdinov & Murray 2008)."""

    def read(self, root: Path | None) -> Data:
        data = super().read(root)
        grey, key = data.x.reshape(len(data.x), -1), random.key_of("data", self.name)
        parts = [binarised(part, random.fold_in(key, i)) for i, part in enumerate(np.array_split(grey, 10))]
        return dataclasses.replace(data, x=np.concatenate(parts))

    def problem(self, rule: str, table: Table, rows: Rows, classes: int, steps: int) -> Problem:
        return AutoencoderProblem(**vars(super().problem(rule, table, rows, classes, steps)))

    def network(self, rule: str, shape: Sequence[int], outputs: int) -> nn.Module:
        del rule, outputs
        return Autoencoder(Unfitted(AutoencoderProblem.latent, CONTEXT, drawn=True), shape[0])


def binarised(grey: np.ndarray, key: torch.Tensor) -> np.ndarray:
    """0 or 1 [N, pixels], 1 with the probability that is the grey value."""
    return (np.asarray(random.uniform(key, grey.shape)) < grey).astype(np.float32)


TASKS.register(
    AutoencoderTask(
        "mnist-vae",
        "variational",
        ("density",),
        ("official",),
        batch_size=128,
        standardised=False,
        tuned={flow: {"lr": 3e-3} for flow in ("flow-planar", "flow-radial")},  # the networks' rate, as of all flows
        source="mnist",
        budgets=(
            Budget("smoke", 10, 2, 2, False, "does everything run?", 1),
            Budget("quick", 5 * EPOCH, 50, 10, True, "5 epochs", 3),
            Budget("full", 40 * EPOCH, 500, 40, True, "40 epochs", 3),
        ),
        reference="Kingma & Welling 2014, arXiv 1312.6114; Rezende & Mohamed 2015, arXiv 1505.05770",
    )
)
