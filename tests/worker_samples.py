"""Methods and tasks that worker processes import, and that do to them what could happen to any."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import bnnbench
from bnnbench.data.arrays import Data
from bnnbench.errors import StorageError
from bnnbench.experiment.threads import IN_WORKER
from bnnbench.methods.map import MAP
from bnnbench.tasks import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deadly(MAP):
    """Ends the process that trains it, as the system does where memory runs out."""

    name, tags = "deadly", ()

    def init(self, key, problem):
        assert IN_WORKER in os.environ
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Talking(MAP):
    """Says in every way that it is trained in a worker."""

    name, tags = "talking", ()

    def init(self, key, problem):
        if IN_WORKER in os.environ:
            print("printed by a worker")
            log.warning("logged by a worker")
            warnings.warn("warned by a worker", UserWarning, stacklevel=1)
        return super().init(key, problem)


@dataclass(frozen=True)
class Homeless(MAP):
    """Finds no place on the disk."""

    name, tags = "homeless", ()

    def init(self, key, problem):
        raise StorageError("Cannot write there (No space left on device); free some.")


@dataclass(frozen=True)
class Sleepy(MAP):
    """Leaves the number of its process in the folder $SLEEPERS, and takes its time."""

    name, tags = "sleepy", ()

    def init(self, key, problem):
        (Path(os.environ["SLEEPERS"]) / str(os.getpid())).touch()
        time.sleep(300)


def rows() -> Data:
    """Sixty rows, half of them a number that another run of bnnbench has found."""
    db = f"{os.environ['SLEEPERS']}/{os.getpid()}.db"
    bnnbench.run(["constant", "map"], "toy-homoscedastic", budget="smoke", device="cpu", db=db, jobs=2)
    found = bnnbench.scores(db, method="map", evaluation="test", metric="rmse")["value"].iloc[0]
    x = np.random.default_rng(0).normal(size=(60, 2))
    return Data.of(x, x[:, 0] + (np.arange(60) % 2) * found, fixed=(np.arange(50), np.arange(50, 60)))


def task(name: str = "wide", hidden: tuple[int, ...] = (300, 300), loader=None) -> Task:
    """A small table with a network that counts as large."""
    return Task(name, "regression", ("own",), ("fixed",), hidden, loader=loader or table)


def table(columns: int = 2) -> Data:
    """Sixty rows."""
    x = np.random.default_rng(0).normal(size=(60, columns))
    return Data.of(x, x[:, 0], fixed=(np.arange(50), np.arange(50, 60)))


def wider_table() -> Data:
    """The same with another number of columns."""
    return table(5)
