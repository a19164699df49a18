"""The engine's compiled training step, called so many times in a row: what both timings of the engine measure."""

from __future__ import annotations

import torch

from bnnbench import random
from bnnbench.engine import step as engine
from bnnbench.engine.cell import Cell
from bnnbench.engine.compile import program
from bnnbench.engine.pack import stack


class Steps:
    """`count` training steps of a pack of cells; a GPU is synchronised."""

    def __init__(self, cells: list[Cell], device: torch.device, count: int) -> None:
        self.pack, self.count, self.t = stack(cells, device), count, 0
        self.state, self.live = engine.initial_state(self.pack), torch.ones(len(cells), dtype=torch.bool, device=device)
        with torch.no_grad():
            self.step = program(
                self.pack, engine.make_step(self.pack), self.arguments(self.pack.keys, self.pack.problem.t), True
            )

    def arguments(self, key: torch.Tensor, t: torch.Tensor) -> tuple:
        """Of a step."""
        return self.pack.floats, self.pack.problem.table, self.pack.problem.rows, self.state, self.live, key, t

    def __call__(self) -> None:
        ts = torch.arange(self.t, self.t + self.count, device=self.live.device)
        keys = random.fold_in(self.pack.keys, ts[:, None]).contiguous().unbind(0)
        with torch.no_grad(), random.compiled_kernels(True):
            for key, t in zip(keys, ts.float().unbind(0), strict=True):
                self.state, self.live, _ = self.step(*self.arguments(key, t))
        self.t += self.count
        if self.live.is_cuda:
            torch.cuda.synchronize()
