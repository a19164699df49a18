"""CPU threads: how many a cell computes with is fixed by its network, so that no number depends on the machine.

Sums are cut among threads, and so their last digits depend on how many there are. A small network is bound by the
dispatch of its many small operations: a second thread brings nothing, and where another program keeps a core busy all
wait for the thread that shares it. So it has one thread, and a run of several packs one worker process a core. A large
network is bound by arithmetic.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bnnbench.arguments import whole_of
from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import is_large_cell
from bnnbench.engine.precision import FLOAT32, computing_in
from bnnbench.engine.size import device_memory

LARGE_THREADS = 2  # of a cell with a large network, on every machine
WORTH = 5_000  # updates of cells that are left to a worker process, on average, whose start takes some seconds
PER_CORE = 4  # worker processes, at most
MEMORY = 2 * 2**30  # bytes for each of them: what a pack may take
IN_WORKER = "BNNBENCH_WORKER"  # set in the environment of workers


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def jobs_of(asked: int | None) -> int | None:
    """So many worker processes as are asked for, None to have it decided.

    Raises:
        UserError: no such number, or more than a machine can take.
    """
    if asked is None:
        return None
    return whole_of(asked, "--jobs", PER_CORE * cores(), f", {PER_CORE} for each core that this process may use")


def processes(asked: int | None, packs: int, updates: int, device: torch.device) -> int:
    """How many processes carry out so many packs; 1 is this one by itself, as always in a worker."""
    if IN_WORKER in os.environ or not sys.executable or getattr(sys, "frozen", False):
        return 1
    if asked is None:
        asked = 1 if device.type == "cuda" else min(cores(), updates // WORTH, device_memory(device) // MEMORY)
    return max(1, min(asked, packs))


def large_threads(asked: int | None) -> int:
    """Threads of a cell with a large network: those that are asked for, else the same number everywhere.

    Raises:
        UserError: no such number, or more than the cores that this process may use.
    """
    if asked is None:
        return LARGE_THREADS
    return whole_of(asked, "--threads", cores(), ", the cores that this process may use")


def threads_of(cell: Cell | None, large: int) -> int:
    """Threads that a cell computes with, of which a large network has `large`; 1 without any cell."""
    try:
        return large if cell is not None and is_large_cell(cell) else 1
    except Exception:  # what cannot be sized says why when it is trained
        return 1


def memory_of(gigabytes: float | None) -> float:
    """Bytes that the process of an isolated cell may take: those asked for, else half of the machine's memory."""
    return device_memory(torch.device("cpu")) / 2 if gigabytes is None else gigabytes * 1e9


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute with so many CPU threads, in float32, and with numbers below 1e-38 as 0."""
    before = torch.get_num_threads()
    # A prior draws the weights of dead units that small, and Intel's cores are some hundred times slower with them.
    # Threads take this over from the one that starts them, so it comes before all work.
    torch.set_flush_denormal(True)
    torch.set_num_threads(number)
    try:
        with computing_in(FLOAT32):
            yield
    finally:
        torch.set_num_threads(before)
