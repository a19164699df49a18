"""The memory estimate that picks the size of packs, against measured bytes."""

import psutil
import pytest
import torch
from helpers import PACKED, make_cells, make_pack
from torch.utils._pytree import tree_leaves

from bnnbench.engine import size
from bnnbench.engine.packing import pack_limit, replica_bytes
from bnnbench.engine.step import initial_state, make_step
from bnnbench.engine.train import train
from bnnbench.methods.map import MAP

CPU = torch.device("cpu")


def peak_bytes(run) -> int:
    """High-water mark of the CPU allocations of a function, from the profiler's allocation events."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    alive = peak = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    return peak


KINDS = ("map", "ensemble-deep", "bbp-local", "mnf", "laplace-kron", "sghmc", "gp", "flow-maf", "flow-planar")


@pytest.mark.parametrize(
    "method", [pytest.param(m.name, marks=[] if m.name in KINDS else pytest.mark.slow) for m in PACKED]
)
def test_the_estimate_bounds_the_measured_peak(method):
    """Ten replicas at float32: one training step and all collected draws take no more than was estimated for them,
    and the estimate is no more than 30 times too large."""
    cells = make_cells(method, folds=[0, 1, 2] * 3 + [0])
    pack = make_pack(cells, torch.float32)
    if not pack.method.num_networks:
        pytest.skip("trains nothing")
    state, live = initial_state(pack), torch.ones(10, dtype=torch.bool)
    arguments = pack.floats, pack.problem.table, pack.problem.rows, state, live, pack.keys, pack.problem.t
    step = make_step(pack)
    held = sum(leaf.nbytes for leaf in tree_leaves(state))
    measured = held + peak_bytes(lambda: step(*arguments))
    draws = train(pack, False)[0].draws
    measured += sum(leaf.nbytes for leaf in tree_leaves(draws)) if draws is not None else 0
    estimated = 10 * replica_bytes(cells[0])
    assert measured < estimated < 30 * measured


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    machine, limit = psutil.virtual_memory().total, tmp_path / "memory.max"
    monkeypatch.setattr(size, "Path", {"/sys/fs/cgroup/memory.max": limit}.__getitem__)
    assert size.device_memory(CPU) == machine
    for said, bytes_ in (("1073741824\n", 2**30), ("max\n", machine), (f"{2 * machine}\n", machine)):
        limit.write_text(said)
        assert size.device_memory(CPU) == bytes_


def test_limits():
    cell = make_cells("map")[0]
    size = replica_bytes(cell)
    assert pack_limit(cell, 7 * size, CPU) == 7
    assert pack_limit(cell, 7 * size - 1, CPU) == 6
    assert pack_limit(cell, 1, CPU) == 1
    assert pack_limit(cell, 2**60, CPU) == 512

    class Solo(MAP):
        vmappable = False

    assert pack_limit(make_cells(Solo())[0], 2**60, CPU) == 1
