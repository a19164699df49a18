"""The engine against a plain loop over modules: one training step of R networks, batch 32, 13 inputs.

    pytest benchmarks/test_engine.py --benchmark-enable --benchmark-group-by=group --benchmark-columns=min,median

The loop is what a user would write: one `nn.Module` and one fused Adam per fold, minibatches gathered by index from
tensors in memory. What counts are ratios of the medians within a group.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stepping import Steps
from torch import nn

from bnnbench.data.arrays import Data, Split
from bnnbench.engine.cell import Cell
from bnnbench.methods import METHODS
from bnnbench.tasks import Task
from bnnbench.tasks.budget import BUDGETS

BATCH, ROWS, COLUMNS, ROUND = 32, 506, 13, 50
NETS = {"1x50": (50,), "2x100": (100, 100)}


def table() -> tuple[np.ndarray, np.ndarray]:
    """Synthetic data of the size of housing."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, COLUMNS))
    return x, np.sin(x[:, 0]) + 0.1 * generator.normal(size=ROWS)


class Synthetic(Task):
    """The table as a task of any number of folds."""

    def data(self, root=None):
        return Data(*table(), checksum="synthetic")

    def splits(self, rule, root=None):
        order = np.random.default_rng(1).permutation(ROWS)
        folds = [np.roll(order, 11 * i) for i in range(40)]
        return [Split(fold[92:], fold[51:92], fold[:51]) for fold in folds]


class Packed(Steps):
    """The engine's compiled step, called ROUND times."""

    def __init__(self, method: str, hidden: tuple[int, ...], replicas: int) -> None:
        task = Synthetic("synthetic", "regression", ("benchmark",), ("10fold",), hidden=hidden)
        cells = [Cell(task, METHODS.get(method)(), "10fold", i, 0, BUDGETS["full"]) for i in range(replicas)]
        super().__init__(cells, torch.device("cpu"), ROUND)


class BayesLinear(nn.Module):
    """Linear layer with a factorised Gaussian over its weights, as in every Bayes by Backprop repository."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.empty(outputs, inputs + 1).uniform_(-0.1, 0.1))
        self.rho = nn.Parameter(torch.full((outputs, inputs + 1), -3.0))
        self.prior = math.sqrt(2 / inputs)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sigma = F.softplus(self.rho)
        weight = self.mean + sigma * torch.randn_like(sigma)
        ratio = sigma / self.prior
        kl = (0.5 * (ratio**2 + (self.mean / self.prior) ** 2 - 1) - ratio.log()).sum()
        return F.linear(x, weight[:, :-1], weight[:, -1]), kl


class Loop:
    """One module and one fused Adam per fold, stepped one after the other, ROUND times."""

    def __init__(self, method: str, hidden: tuple[int, ...], replicas: int) -> None:
        layer = nn.Linear if method == "map" else BayesLinear
        widths = [COLUMNS, *hidden, 2]
        x, y = (torch.as_tensor(a, dtype=torch.float32) for a in table())
        self.x, self.y, self.bayes = x, y, method != "map"
        pairs = list(itertools.pairwise(widths))
        self.nets = [nn.ModuleList(layer(i, o) for i, o in pairs) for _ in range(replicas)]
        self.optimisers = [torch.optim.Adam(net.parameters(), lr=1e-3, fused=True) for net in self.nets]

    def loss(self, net: nn.ModuleList, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for i, layer in enumerate(net):
            if self.bayes:
                x, kl = layer(x)
                total = total + kl
            else:
                x = layer(x)
                total = total + 0.5 * (layer.weight**2).sum()
            x = x.relu() if i < len(net) - 1 else x
        scale = 1e-3 + F.softplus(x[:, 1])
        nll = 0.5 * ((y - x[:, 0]) / scale) ** 2 + scale.log() + 0.5 * math.log(2 * math.pi)
        return nll.mean() + total / ROWS

    def __call__(self) -> None:
        for _ in range(ROUND):
            for net, optimiser in zip(self.nets, self.optimisers, strict=True):
                rows = torch.randint(ROWS, (BATCH,))
                optimiser.zero_grad()
                self.loss(net, self.x[rows], self.y[rows]).backward()
                optimiser.step()


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("method", ["map", "bbp-gaussian"])
@pytest.mark.parametrize("way", [Loop, Packed])
def test_ten_folds(benchmark, way, method, net):
    benchmark.group = f"{method} {net}: {ROUND} steps of 10 folds"
    run = way(method, NETS[net], 10)
    benchmark.pedantic(run, rounds=12, iterations=1, warmup_rounds=2)


@pytest.mark.parametrize("method", ["map", "bbp-gaussian"])
@pytest.mark.parametrize("replicas", [10, 40])
def test_replicas(benchmark, replicas, method):
    benchmark.group = f"{method} 1x50: {ROUND} steps of 10 and of 40 replicas"
    benchmark.pedantic(Packed(method, NETS["1x50"], replicas), rounds=12, iterations=1, warmup_rounds=2)
