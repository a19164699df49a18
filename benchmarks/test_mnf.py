"""Multiplicative normalizing flows: one training step of 10 networks 13-50-2, batch 32, two masked flows a layer.

    pytest benchmarks/test_mnf.py --benchmark-enable --benchmark-columns=min,median

The loop is what a user of `convert` writes: one module and one fused Adam per fold, stepped one after the other. Its
draws run through their compiled kernels too; else it is plain torch. The target is a ratio of the medians of 15.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from stepping import Steps
from test_engine import BATCH, COLUMNS, ROWS, Synthetic, table

from bnnbench import random
from bnnbench.engine.cell import Cell
from bnnbench.layers import convert
from bnnbench.methods import METHODS
from bnnbench.model.predictive import normal_log_density
from bnnbench.nets import MLP
from bnnbench.tasks.budget import BUDGETS

FOLDS, HIDDEN, ROUND = 10, (50,), 5


class Packed(Steps):
    """The engine's compiled step, called ROUND times."""

    def __init__(self) -> None:
        task = Synthetic("synthetic", "regression", ("benchmark",), ("10fold",), hidden=HIDDEN)
        cells = [Cell(task, METHODS.get("mnf")(), "10fold", i, 0, BUDGETS["full"]) for i in range(FOLDS)]
        super().__init__(cells, torch.device("cpu"), ROUND)


class Loop:
    """One converted module and one Adam per fold, ROUND steps."""

    def __init__(self) -> None:
        self.x, self.y = (torch.as_tensor(a, dtype=torch.float32) for a in table())
        self.nets = [convert(MLP(COLUMNS, HIDDEN, 2), "mnf", seed=seed) for seed in range(FOLDS)]
        self.optimisers = [torch.optim.Adam(net.parameters(), lr=1e-3, fused=True) for net in self.nets]

    def __call__(self) -> None:
        for _ in range(ROUND):
            for net, optimiser in zip(self.nets, self.optimisers, strict=True):
                rows = torch.randint(ROWS, (BATCH,))
                optimiser.zero_grad()
                with random.compiled_kernels():
                    out, kl = net(self.x[rows])
                nll = -normal_log_density(self.y[rows], out[:, 0], 1e-3 + F.softplus(out[:, 1])).mean()
                (nll + kl / ROWS).backward()
                optimiser.step()


@pytest.mark.parametrize("way", [Loop, Packed])
def test_ten_folds(benchmark, way):
    benchmark.group = f"mnf 1x50: {ROUND} steps of 10 folds"
    benchmark.pedantic(way(), rounds=12, iterations=1, warmup_rounds=2)
