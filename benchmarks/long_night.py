"""A night of a cluster in minutes: cells that cost next to nothing, and faults all the time.

    python benchmarks/long_night.py --minutes 20

A Ray cluster of two nodes on this machine carries out estimators that do nothing but draw from their seed. About as
often as a run can start and store its first cell, one of these happens: a worker is killed, a node is lost and another
comes, the run itself is killed and started again, the database is locked for some seconds. At the end one undisturbed
run finishes what is left, a process without Ray does the same cells again, and the two databases must agree, value for
value. Prints what happened and how often.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

import bnnbench
from bnnbench.methods import Estimator
from bnnbench.model import GaussianPredictive
from bnnbench.store.store import ResultStore

TASKS = "diabetes,energy,yacht"
LOCK_S = 3.0
START_S = 300.0  # for the first cell, at most


@dataclass(frozen=True)
class Fake(Estimator):
    """Draws a mean and a scale."""

    name, supports, family = "fake", ("regression",), "fake"

    def fit(self, train: Any, validation: Any, *, problem: Any, seed: int, budget: Any) -> np.ndarray:
        return np.random.normal(size=2)  # noqa: NPY002

    def predict(self, fitted: np.ndarray, x: np.ndarray, samples: int) -> GaussianPredictive:
        return GaussianPredictive(np.full((1, len(x)), fitted[0]), np.full((1, len(x)), np.exp(fitted[1])))


def drive(db: str, seeds: str, address: str) -> None:
    """A run, in a process of its own."""
    bnnbench.run(Fake(), TASKS, seeds=int(seeds), budget="smoke", device="cpu", db=db, executor="ray", address=address)


class Night:
    """A cluster, a run on it, and what happens to both."""

    def __init__(self, folder: Path, seeds: int) -> None:
        os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's 15 a busy machine keeps them from starting
        from ray.cluster_utils import Cluster

        self.db, self.seeds, self.happened = folder / "night.db", seeds, Counter[str]()
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.node = self.cluster.add_node(num_cpus=1)
        self.run = self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        code = "import sys; sys.path.insert(0, sys.argv[1]); import long_night as night; night.drive(*sys.argv[2:])"
        given = (Path(__file__).resolve().parent, self.db, self.seeds, self.cluster.address)
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([sys.executable, "-c", code, *map(str, given)], **silent)

    def first_cell(self) -> float:
        """Wait for the first cell that is stored, and return how many seconds that took."""
        began = time.monotonic()
        while time.monotonic() - began < START_S:
            with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)) as db:
                if db.execute("SELECT count(*) FROM attempt").fetchone()[0]:
                    return time.monotonic() - began
            time.sleep(0.2)
        raise SystemExit(f"No cell was stored within {START_S:g} s.")

    def a_worker_is_killed(self) -> None:
        """Any of them."""
        actors = [process for process in psutil.process_iter(["cmdline"]) if "ray::Actor" in _said(process)]
        if actors:
            with suppress(psutil.Error):
                random.choice(actors).kill()

    def a_node_is_lost(self) -> None:
        """Another comes."""
        self.cluster.remove_node(self.node, allow_graceful=False)
        self.node = self.cluster.add_node(num_cpus=1)

    def the_run_is_killed(self) -> None:
        """It is started again."""
        self.run.kill()
        self.run.wait()
        self.run = self._begin()

    def the_database_is_locked(self) -> None:
        """By another program."""
        with suppress(sqlite3.Error), closing(sqlite3.connect(self.db, timeout=LOCK_S)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(LOCK_S)
            other.rollback()

    def last(self, minutes: float) -> bool:
        """Let things happen; returns whether the run ended before its time."""
        faults: list[Callable[[], None]] = [
            self.a_worker_is_killed, self.a_node_is_lost, self.the_run_is_killed, self.the_database_is_locked,
        ]  # fmt: skip
        pause = self.first_cell()
        print(f"the first cell was stored after {pause:.0f} s", flush=True)
        weights, end = (6, 2, 1, 2), time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            time.sleep(random.expovariate(1 / pause))
            if (status := self.run.poll()) is not None:
                print(f"the run ended by itself: status {status}")
                return status == 0
            (fault,) = random.choices(faults, weights)
            fault()
            self.happened[fault.__name__.replace("_", " ")] += 1
        self.run.kill()
        self.run.wait()
        return False


def _said(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.info["cmdline"] or ())
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=600, help="30 cells each; the night ends early if all are done")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        night = Night(Path(name), given.seeds)
        night.last(given.minutes)
        report(night, Path(name))


def report(night: Night, folder: Path) -> None:
    """Finish what is left, and compare."""
    with ResultStore(night.db, read_only=True) as store:
        attempts = store.attempts()
    print(", ".join(f"{count} times {what}" for what, count in night.happened.items()))
    print(f"{len(attempts):,} cells were tried: {attempts['status'].value_counts().to_dict()}")
    seeds = max(1, 1 + int(attempts["seed"].max()))
    night.cluster.shutdown()
    like: dict[str, Any] = {"seeds": seeds, "budget": "smoke", "device": "cpu"}
    bnnbench.run(Fake(), TASKS, db=night.db, **like)
    bnnbench.run(Fake(), TASKS, db=folder / "quiet.db", **like)
    scores = [bnnbench.scores(path) for path in (night.db, folder / "quiet.db")]
    pd.testing.assert_frame_equal(*scores, check_exact=True)
    with ResultStore(night.db, read_only=True) as store:
        assert store.running().empty
        print(f"{store.attempts()['fingerprint'].nunique():,} cells are as in an undisturbed run, value for value")


if __name__ == "__main__":
    main()
