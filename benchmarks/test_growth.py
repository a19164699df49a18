"""Growth: a step of 1, 10, 40 and 160 replicas of map on `power` in one pack; what tracing and compiling take, apart.

    pytest benchmarks/test_growth.py --benchmark-enable --benchmark-columns=min,median --benchmark-json=growth.json

Seconds of tracing and compiling stand in the file under `extra_info`; with an empty `TORCHINDUCTOR_CACHE_DIR` they are
those of a first run.
"""

from __future__ import annotations

import time

import pytest
import torch
from stepping import Steps

from bnnbench.engine import compile
from bnnbench.engine.cell import Cell, default
from bnnbench.methods import METHODS
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import BUDGETS

ROUND, CPU = 50, torch.device("cpu")


@pytest.mark.parametrize("replicas", [1, 10, 40, 160])
def test_replicas_of_map_on_power(benchmark, replicas):
    task = TASKS.get("power")
    if not task.present():
        pytest.skip("no data of the task power; set BNNBENCH_DATA")
    method = default(METHODS.get("map"), task)
    cells = [Cell(task, method, "10fold", i % 10, i // 10, BUDGETS["full"]) for i in range(replicas)]
    assert compile.can_compile(CPU)
    began = time.perf_counter()
    steps = Steps(cells, CPU, ROUND)
    benchmark.extra_info["seconds of tracing and compiling"] = time.perf_counter() - began
    benchmark.group = f"map on power: {ROUND} steps"
    benchmark.pedantic(steps, rounds=12, iterations=1, warmup_rounds=2)
