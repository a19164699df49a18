"""What a run costs beside training, by the number of its cells: planning, claiming, recording, status, report.

    python benchmarks/many_cells.py --cells 10000,100000,1000000 [--db postgresql://user@host/name] [--csv FILE]

Nothing is trained: outcomes are made up, a pack of ten cells at a time, with scores as a run has them. The plan is of
`map` on the UCI sets with as many seeds as it takes. Prints for each size the seconds of each part and microseconds a
cell, and how a part grows: the exponent p of n^p since the size before. The report is the page alone. A server's
database is empty at the beginning, and holds all sizes at the end, one after the other.

    python benchmarks/many_cells.py --draw sqlite.csv,postgresql.csv --out docs/images/many-cells.svg
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bnnbench
from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import all_packs
from bnnbench.experiment.definitions import definitions
from bnnbench.experiment.machine import device_of, session_record
from bnnbench.experiment.plan import build_plan
from bnnbench.experiment.request import Request
from bnnbench.experiment.runner import unfinished
from bnnbench.experiment.schedule import Job, Schedule
from bnnbench.records import EvaluationRecord, Outcome, Score, Status
from bnnbench.store.claims import owner_id
from bnnbench.store.store import ResultStore
from bnnbench.tasks.budget import BUDGETS

TASKS = ("housing", "concrete", "energy", "power", "wine", "yacht")
PACK, FOLDS = 10, 10
METRICS = ("log_likelihood", "rmse", "crps", "calibration_error")


def plan(cells: int) -> list[Cell]:
    """So many cells, or a few less: as many seeds as fit."""
    request = Request(("map",), TASKS, BUDGETS["smoke"], seeds=max(1, cells // (len(TASKS) * FOLDS)))
    return build_plan(request).cells


def outcomes(pack: Sequence[Cell], generator: np.random.Generator) -> list[Outcome]:
    """Made up."""
    found = []
    for cell in pack:
        values = generator.normal(size=(3, len(METRICS)))
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
    generator, owner = np.random.default_rng(0), owner_id()
    with ResultStore(db) as store:
        store.register(*definitions(cells))
        timed(seconds, "what is missing", lambda: unfinished(store, cells, False))
        session = store.start_session(session_record(device_of("cpu"), "many_cells", 1))
        schedule = timed(seconds, "hand out", lambda: Schedule((Job.of(pack, 2) for pack in packs), 1, 2))
        seconds["claim"] = seconds["record"] = 0.0
        last = None
        for _ in packs:
            began = time.perf_counter()
            last = schedule.next(False, last)
            schedule.done(last)
            seconds["hand out"] += time.perf_counter() - began
            made = outcomes(last.cells, generator)
            began = time.perf_counter()
            store.claim([cell.record for cell in last.cells], owner)
            then = time.perf_counter()
            store.record(session, made, owner)
            seconds["claim"] += then - began
            seconds["record"] += time.perf_counter() - then
        timed(seconds, "nothing is missing", lambda: unfinished(store, cells, False))
    yield from seconds.items()
    seconds.clear()
    timed(seconds, "status", lambda: bnnbench.status(db))
    yield from seconds.items()
    seconds.clear()
    timed(seconds, "report", lambda: bnnbench.report(db, folder / "out", formats=["html"], figures=["none"]))
    yield from seconds.items()


def measure(sizes: Sequence[int], db: str | None) -> pd.DataFrame:
    """The seconds of each part, size by size."""
    rows, before = [], dict[str, float]()
    for last, count in zip([0, *sizes], sizes, strict=False):
        print(f"{count:,} cells")
        with tempfile.TemporaryDirectory() as name:
            for part, seconds in parts(count, db or f"{name}/r.db", Path(name)):
                grows = f"n^{math.log(seconds / before[part]) / math.log(count / last):.2f}" if last else ""
                print(f"  {part:20} {seconds:8.2f} s {1e6 * seconds / count:9.1f} us a cell  {grows}", flush=True)
                before[part] = seconds
                rows.append({"store": "PostgreSQL" if db else "SQLite", "cells": count, "part": part, "s": seconds})
        print(f"  {'peak memory':20} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:8.2f} GB", flush=True)
    return pd.DataFrame(rows)


def draw(files: Sequence[str], out: str) -> None:
    """Seconds against cells, a line a part and a panel a store, with a line of slope one."""
    rows = pd.concat(map(pd.read_csv, files))
    figure, axes = plt.subplots(1, rows["store"].nunique(), figsize=(8, 3.6), sharey=True, squeeze=False)
    for axis, (store, own) in zip(axes[0], rows.groupby("store", sort=False), strict=True):
        for part, line in own.groupby("part", sort=False):
            axis.plot(line["cells"], line["s"], marker="o", markersize=3, label=part)
        ends = np.array([own["cells"].min(), own["cells"].max()])
        axis.plot(ends, own["s"].min() * ends / ends[0], color="0.6", linestyle=":", label="in proportion")
        axis.set(xscale="log", yscale="log", xlabel="cells", title=store)
    axes[0][0].set_ylabel("seconds in all")
    axes[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(out, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="1000,10000")
    parser.add_argument("--db", help="an empty database of a server; default an SQLite file")
    parser.add_argument("--csv", help="where to write the seconds")
    parser.add_argument("--draw", help="such files, of which a figure is made, and nothing is measured")
    parser.add_argument("--out", help="where the figure goes")
    given = parser.parse_args()
    if given.draw:
        draw(given.draw.split(","), given.out)
        return
    rows = measure([int(text) for text in given.cells.split(",")], given.db)
    if given.csv:
        rows.to_csv(given.csv, index=False)


if __name__ == "__main__":
    main()
