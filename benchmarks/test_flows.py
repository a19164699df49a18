"""Flow kernels beside zuko, nflows and normflows: forward + log-determinant + backward at equal size, in one run.

    pytest benchmarks/test_flows.py --benchmark-enable --benchmark-group-by=group --benchmark-columns=min,median

A round is 20 gradients of -log p in all parameters. Eager and compiled; a GPU is synchronised before a clock is read.
"""

from __future__ import annotations

import importlib.util

import pytest
import torch
from flow_peers import KINDS, LIBRARIES

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ROUND = 20


class Gradients:
    """ROUND times forward, log-determinant and backward on some rows."""

    def __init__(self, library: str, kind: str, dim: int, rows: int, compiled: bool) -> None:
        torch.manual_seed(0)
        flow = LIBRARIES[library](kind, dim).to(DEVICE)
        with torch.no_grad():  # away from the identity, where all bins are alike
            for value in flow.parameters():
                value += 0.1 * torch.randn_like(value)
        self.parameters = list(flow.parameters())
        self.x = torch.randn(rows, dim, device=DEVICE)

        def loss(x):
            y, logdet = flow(x)
            return (0.5 * y.square().sum(-1) - logdet).mean()

        self.loss = torch.compile(loss) if compiled else loss

    def __call__(self) -> None:
        for _ in range(ROUND):
            torch.autograd.grad(self.loss(self.x), self.parameters)
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()


@pytest.mark.parametrize("how", ["eager", "compiled"])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("rows", [128, 4096])
@pytest.mark.parametrize("dim", [2, 50])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient(benchmark, kind, dim, rows, library, how):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    benchmark.group = f"{kind}, {dim} dimensions, {rows} rows"
    run = Gradients(library, kind, dim, rows, how == "compiled")
    benchmark.pedantic(run, rounds=7, iterations=1, warmup_rounds=2)
