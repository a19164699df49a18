"""Large networks: 784-1200-1200-10, batch 128, against the machine's own rate of matrix products.

    pytest benchmarks/test_images.py --benchmark-enable --benchmark-group-by=group --benchmark-columns=min,median

`step`: training steps of four methods, in float32 and with rounded products (`--precision`), beside a plain loop of a
user's module and the bare products of a step (forward, gradients of weights and of activations), all in one run.
`predict`: 1,000 images with 100 weight samples, as scoring predicts them, beside the bare products by the same library
and by torch's own. Random pixels: nothing depends on what they show. A GPU is synchronised before a clock is read.
"""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stepping import Steps
from torch import nn

from bnnbench import random
from bnnbench.data.arrays import Data, Split
from bnnbench.engine.cell import Cell
from bnnbench.engine.precision import OF_DEVICE, computing_in
from bnnbench.engine.predict import posterior_of, predict
from bnnbench.engine.products import fast_products
from bnnbench.methods import METHODS
from bnnbench.tasks import TASKS
from bnnbench.tasks.images import ImageTask

BATCH, ROWS, ROUND = 128, 4096, 10
WIDTHS = (784, 1200, 1200, 10)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Random(ImageTask):
    """Random images in the shape of MNIST."""

    def data(self, root=None):
        generator = np.random.default_rng(0)
        x = generator.random((ROWS, 1, 28, 28), dtype=np.float32)
        return Data.of(x, generator.integers(0, 10, ROWS), classes=tuple(range(10)))

    def splits(self, rule, root=None):
        rows = np.arange(ROWS)
        return [Split(rows[:-1096], rows[-1096:-1000], rows[-1000:])]


TASK = Random(**{field.name: getattr(TASKS.get("mnist"), field.name) for field in fields(ImageTask)})


def ready() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def steps(method: str) -> Steps:
    """ROUND training steps of a method as it is configured on images."""
    cell = Cell(TASK, METHODS.get(method)(**TASK.tuned[method]), "official", 0, 0, TASK.budget("full"))
    return Steps([cell], DEVICE, ROUND)


class Plain:
    """A user's own module and loop, with a fused Adam."""

    def __init__(self) -> None:
        layers = [nn.Linear(784, 1200), nn.ReLU(), nn.Linear(1200, 1200), nn.ReLU(), nn.Linear(1200, 10)]
        self.net = nn.Sequential(*layers).to(DEVICE)
        self.optimiser = torch.optim.Adam(self.net.parameters(), fused=True)
        self.x, self.y = torch.rand(ROWS, 784, device=DEVICE), torch.randint(10, (ROWS,), device=DEVICE)

    def __call__(self) -> None:
        for _ in range(ROUND):
            rows = torch.randint(ROWS, (BATCH,), device=DEVICE)
            self.optimiser.zero_grad()
            F.cross_entropy(self.net(self.x[rows]), self.y[rows]).backward()
            self.optimiser.step()
        ready()


class Products:
    """The matrix products of ROUND training steps, or of a prediction, and nothing else."""

    def __init__(self, rows: int, times: int, backward: bool) -> None:
        self.times, self.backward = times, backward
        self.x = [torch.randn(rows, width, device=DEVICE) for width in WIDTHS]
        self.w = [torch.randn(o, i, device=DEVICE) for i, o in itertools.pairwise(WIDTHS)]

    def __call__(self) -> None:
        for _ in range(self.times):
            for layer, weight in enumerate(self.w):
                F.linear(self.x[layer], weight)
                if self.backward:
                    self.x[layer + 1].T @ self.x[layer]
                    if layer:
                        self.x[layer + 1] @ weight
        ready()


class Rounded:
    """Training steps with `--precision` bf16, or on a GPU tf32."""

    def __init__(self, method: str) -> None:
        self.steps, self.precision = steps(method), OF_DEVICE[DEVICE.type]

    def __call__(self) -> None:
        with computing_in(self.precision):
            self.steps()


METHODS_TIMED = ("map", "mc-dropout", "bbp-gaussian", "bbp-local")
STEPS = {
    "products": lambda: Products(BATCH, ROUND, True),
    "plain": Plain,
    **{name: lambda name=name: steps(name) for name in METHODS_TIMED},
    **{f"{name}, rounded": lambda name=name: Rounded(name) for name in METHODS_TIMED},
}


@pytest.mark.parametrize("what", STEPS)
def test_step(benchmark, what):
    benchmark.group = f"step: {ROUND} training steps"
    benchmark.pedantic(STEPS[what](), rounds=12, iterations=1, warmup_rounds=2)


class Prediction:
    """1,000 images under 100 weight samples of an untrained posterior."""

    def __init__(self) -> None:
        self.steps = steps("bbp-gaussian")
        self.x = torch.rand(1, 1000, 1, 28, 28, device=DEVICE)

    def __call__(self) -> None:
        with random.compiled_kernels(True):
            posterior = posterior_of(self.steps.pack, self.steps.state, None)
            predict(self.steps.pack, posterior, self.steps.pack.keys, self.x, 100)
        ready()


@pytest.mark.parametrize("what", ["torch's products", "products", "bbp-gaussian"])
def test_predict(benchmark, what):
    benchmark.group = "predict: 1,000 images with 100 weight samples"
    run = Prediction() if what == "bbp-gaussian" else Products(1000, 100, False)
    with nullcontext() if what == "torch's products" else fast_products():
        benchmark.pedantic(run, rounds=8, iterations=1, warmup_rounds=1)
