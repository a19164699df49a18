"""Binarised MNIST for variational autoencoders, whose posterior is a flow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from bnnbench import random
from bnnbench.data.arrays import Data, Split
from bnnbench.data.splits import splits
from bnnbench.model import AutoencoderProblem, Problem, Rows, Table
from bnnbench.model.autoencoder import CONTEXT, Autoencoder, binarised
from bnnbench.model.density_problem import Unfitted
from bnnbench.tasks.base import TASKS, Task
from bnnbench.tasks.budget import Budget
from bnnbench.tasks.sets import TestSet

EPOCH = 430  # updates: 55,000 rows by 128


class AutoencoderTask(Task):
    """MNIST with every pixel drawn from a Bernoulli of its grey value (Salakhutdinov & Murray 2008): once for all where
    images are held out or scored, again at every step where they are trained on."""

    def read(self, root: Path | None) -> Data:
        data = super().read(root)
        grey, key = data.x.reshape(len(data.x), -1), random.key_of("data", self.name)
        parts = torch.as_tensor(grey).tensor_split(10)
        drawn = torch.cat([binarised(random.fold_in(key, i), part) for i, part in enumerate(parts)]).numpy()
        (split,) = splits(self.source, data, self.rules[0])
        drawn[split.train] = grey[split.train]
        return dataclasses.replace(data, x=drawn)

    def test_sets(
        self, data: Data, split: Split, families: Sequence[str] = (), root: Path | None = None
    ) -> dict[str, TestSet]:
        found = super().test_sets(data, split, families, root)
        train = binarised(random.key_of("data", self.name), torch.as_tensor(found["train"].x)).numpy()
        return found | {"train": found["train"]._replace(x=train)}

    def problem(self, rule: str, table: Table, rows: Rows, classes: int, steps: int) -> Problem:
        return AutoencoderProblem(**vars(super().problem(rule, table, rows, classes, steps)))

    def network(self, rule: str, shape: Sequence[int], outputs: int) -> nn.Module:
        del rule, outputs
        return Autoencoder(Unfitted(AutoencoderProblem.latent, CONTEXT, sampled=True), shape[0])


TASKS.register(
    AutoencoderTask(
        "mnist-vae",
        "variational",
        ("density",),
        ("official",),
        batch_size=128,
        standardised=False,
        # the networks' rate, as of all flows, and hidden units for the relations of 40 latents with each other
        tuned={flow: {"lr": 3e-3} for flow in ("flow-planar", "flow-radial")} | {"flow-iaf": {"width": 256}},
        source="mnist",
        budgets=(
            Budget("smoke", 10, 2, 2, "does everything run?", 1),
            Budget("quick", 5 * EPOCH, 50, 10, "5 epochs", 3),
            Budget("full", 200 * EPOCH, 500, 40, "200 epochs", 3),
            Budget("long", 800 * EPOCH, 500, 40, "800 epochs", 3),
        ),
        version=4,
        citation="Kingma & Welling 2014, arXiv 1312.6114; Rezende & Mohamed 2015, arXiv 1505.05770",
    )
)
