"""Flow kernels beside zuko, nflows and normflows at equal layers, widths and bins, in one run.

    pytest benchmarks/test_flows.py --benchmark-enable --benchmark-json=flows.json
    python benchmarks/flow_table.py flows.json

Gradients of -log p in all parameters of the four flows that all have, 2 and 50 dimensions, 128 and 4,096 rows; `-m ""`
adds what takes hours, in fewer turns: the other flows, values without gradients, 784 dimensions, single rows. `-k`
selects, and tables are made of one file or of several. A GPU is synchronised before a clock is read. Each cell is timed
in turns, in which all libraries run one after the other, the first of one turn last in the next, for a machine's pace
changes within seconds; after some turns all are built anew, for where a network's numbers happen to lie in memory
changes its pace by some percent.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import time

import pytest
import torch
from flow_peers import FURTHER, KINDS, LACKS, LIBRARIES, MASKED

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
NAME = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"
pytestmark = pytest.mark.filterwarnings("default")  # what the others' code is warned of is no failure here
TURNS, PER_BUILD = 30, 6  # turns of every library, and those between two builds
FURTHER_TURNS = 6  # where more would take hours
SECONDS, MOST = 0.03, 30  # length of a turn, and calls in it


class Gradient:
    """-log p forward, and backward to all parameters."""

    def __init__(self, flow, x, how) -> None:
        self.parameters, self.x = list(flow.parameters()), x

        def loss(x):
            y, logdet = flow(x)
            return (0.5 * y.square().sum(-1) - logdet).mean()

        self.loss = made(loss, how)

    def __call__(self) -> None:
        torch.autograd.grad(self.loss(self.x), self.parameters)
        synchronise()


class Kernel:
    """One of the values of a flow, without gradients."""

    def __init__(self, work, x, how) -> None:
        self.work, self.x = made(work, how), x

    @torch.no_grad()
    def __call__(self) -> None:
        self.work(self.x)
        synchronise()


WORK = {
    "forward": lambda flow, x, how: Kernel(lambda x: flow(x)[0], x, how),
    "logdet": lambda flow, x, how: Kernel(lambda x: flow(x)[1], x, how),
    "inverse": lambda flow, x, how: Kernel(lambda y: flow.inverse(y)[0], x, how),
    "gradient": Gradient,
}


def rotated(turn):
    """The libraries from another one on in each turn."""
    names = [*LIBRARIES]
    first = turn % len(names)
    return names[first:] + names[:first]


def turns(work, kind, dim, rows):
    """All timings of a cell; gradients of what all libraries have, at usual sizes, run by default."""
    reported = work == "gradient" and kind in KINDS and dim < 784 and rows > 1
    marks = [] if reported else pytest.mark.slow
    for turn in range(TURNS if reported else FURTHER_TURNS):
        for library in rotated(turn):
            yield pytest.param(work, kind, dim, rows, turn, library, marks=marks)


CELLS = [*itertools.product(WORK, KINDS + FURTHER, (2, 50, 784), (1, 128, 4096))]
ENTRIES = [entry for cell in CELLS for entry in turns(*cell)]


def made(work, how):
    """As it is, or compiled for this shape."""
    return torch.compile(work, dynamic=False) if how == "compiled" else work


def synchronise() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def setup(work, library, kind, dim, rows, how):
    """The work to be timed, compiled where it is to be, and calls in a turn."""
    torch.manual_seed(0)
    flow = LIBRARIES[library](kind, dim).to(DEVICE)
    with torch.no_grad():  # away from the identity, where all bins are alike
        for value in flow.parameters():
            value += 0.1 * torch.randn_like(value)
    run = WORK[work](flow, torch.randn(rows, dim, device=DEVICE), how)
    run()
    start = time.perf_counter()
    run()
    return run, max(1, min(MOST, int(SECONDS / (time.perf_counter() - start))))


@functools.lru_cache(maxsize=1)
def built(work, kind, dim, rows, build):
    """What has been set up for these turns, by library and way; that for others is dropped."""
    torch._dynamo.reset()  # every cell is a new graph, and past the limit of recompilations it would run eagerly
    return {}


@pytest.mark.parametrize("how", ["eager", "compiled"])
@pytest.mark.parametrize(("work", "kind", "dim", "rows", "turn", "library"), ENTRIES)
def test_flow(benchmark, work, kind, dim, rows, turn, library, how):
    if importlib.util.find_spec(library.split()[0]) is None:
        pytest.skip(f"{library} is not installed")
    if kind in LACKS.get(library, ()):
        pytest.skip(f"{library} lacks {kind}")
    if work == "inverse" and library == "normflows" and kind in ("planar", "radial"):
        pytest.skip("no closed form, and no numerical one there")
    if work == "inverse" and kind in MASKED and (dim * rows > 10_000 or (how == "compiled" and dim > 2)):
        pytest.skip("as many passes of the network as there are dimensions")
    benchmark.group = f"{work} of {kind}, {dim} dimensions, {rows} rows"
    benchmark.extra_info = {"torch": torch.__version__, "device": NAME, "threads": torch.get_num_threads()}
    ready = built(work, kind, dim, rows, turn // PER_BUILD)
    if (library, how) not in ready:
        ready[library, how] = setup(work, library, kind, dim, rows, how)
    run, calls = ready[library, how]
    benchmark.pedantic(run, rounds=1, iterations=calls, warmup_rounds=1)
