"""What a run costs beside training, by the number of its cells: planning, claiming, recording, status, report.

    python benchmarks/many_cells.py --cells 1000,10000,100000 [--db postgresql://user@host/name]

Nothing is trained: outcomes are made up, a pack of ten cells at a time, with scores as a run has them. The plan is of
`map` on the UCI sets with as many seeds as it takes. Prints for each size the seconds of each part and microseconds a
cell, and how a part grows: the exponent p of n^p since the size before. The report is the page alone.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import bnnbench
from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import all_packs
from bnnbench.experiment.definitions import definitions
from bnnbench.experiment.machine import device_of, session_record
from bnnbench.experiment.plan import build_plan
from bnnbench.experiment.request import Request
from bnnbench.experiment.runner import unfinished
from bnnbench.records import EvaluationRecord, Outcome, Score, Status
from bnnbench.store.claims import owner_id
from bnnbench.store.store import ResultStore
from bnnbench.tasks.budget import BUDGETS

TASKS = ("housing", "concrete", "energy", "power", "wine", "yacht")
PACK, FOLDS = 10, 10
METRICS = ("log_likelihood", "rmse", "crps", "calibration_error")


def plan(cells: int) -> list[Cell]:
    """So many cells, to the next multiple of what a seed has."""
    request = Request(("map",), TASKS, BUDGETS["smoke"], seeds=math.ceil(cells / len(TASKS) / FOLDS))
    return build_plan(request).cells


def outcomes(pack: list[Cell], draw: np.random.Generator) -> list[Outcome]:
    """Made up."""
    found = []
    for cell in pack:
        values = draw.normal(size=(3, len(METRICS)))
        records = tuple(
            EvaluationRecord(name, 50, tuple(Score(m, float(v), 0.1) for m, v in zip(METRICS, own, strict=True)))
            for name, own in zip(("test", "train", "validation"), values, strict=True)
        )
        found.append(Outcome(cell.record, Status.OK, steps=10, gradients=10, pack_size=len(pack), evaluations=records))
    return found


def timed(seconds: dict[str, float], name: str, action: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    result = action()
    seconds[name] = time.perf_counter() - began
    return result


def parts(count: int, db: str, folder: Path) -> Iterator[tuple[str, float]]:
    """Seconds of each part."""
    seconds: dict[str, float] = {}
    cells = timed(seconds, "plan", lambda: plan(count))
    packs = timed(seconds, "pack", lambda: all_packs(cells, device_of("cpu")))
    packs = [pack[start : start + PACK] for pack in packs for start in range(0, len(pack), PACK)]
    draw, owner = np.random.default_rng(0), owner_id()
    with ResultStore(db) as store:
        store.register(*definitions(cells))
        timed(seconds, "what is missing", lambda: unfinished(store, cells, False))
        session = store.start_session(session_record(device_of("cpu"), "many_cells", 1))
        made = [outcomes(pack, draw) for pack in packs]
        seconds["claim"] = seconds["record"] = 0.0
        for pack, own in zip(packs, made, strict=True):
            began = time.perf_counter()
            store.claim([cell.record for cell in pack], owner)
            then = time.perf_counter()
            store.record(session, own, owner)
            seconds["claim"] += then - began
            seconds["record"] += time.perf_counter() - then
        timed(seconds, "nothing is missing", lambda: unfinished(store, cells, False))
    timed(seconds, "status", lambda: bnnbench.status(db))
    timed(seconds, "report", lambda: bnnbench.report(db, folder / "out", formats=["html"], figures=["none"]))
    yield from seconds.items()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="1000,10000")
    parser.add_argument("--db", help="an empty database of a server; default an SQLite file")
    given = parser.parse_args()
    before: dict[str, float] = {}
    sizes = [int(text) for text in given.cells.split(",")]
    for last, count in zip([0, *sizes], sizes, strict=False):
        print(f"{count:,} cells")
        with tempfile.TemporaryDirectory() as name:
            for part, seconds in parts(count, given.db or f"{name}/r.db", Path(name)):
                grows = f"n^{math.log(seconds / before[part]) / math.log(count / last):.2f}" if last else ""
                print(f"  {part:20} {seconds:8.2f} s {1e6 * seconds / count:9.1f} us a cell  {grows}", flush=True)
                before[part] = seconds


if __name__ == "__main__":
    main()
