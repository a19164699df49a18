"""Where packs are carried out: in worker processes of this machine, or on those of a cluster.

An executor says how many workers a run may have and makes them. To the run a worker is what `remote.Worker` is: begun,
given orders, listened to, ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.machine import device_of
from bnnbench.experiment.pack import Order, Stored, work
from bnnbench.experiment.progress import Watcher
from bnnbench.experiment.remote import Log, Worker
from bnnbench.experiment.threads import jobs_of, processes
from bnnbench.experiment.worker import Start
from bnnbench.records import SessionRecord
from bnnbench.store.store import ResultStore

NAMES = ("local", "ray")
StartSession = Callable[[SessionRecord], int]


class Carrier(Protocol):
    """A worker as the run sees it."""

    @property
    def running(self) -> bool: ...
    def begin(self) -> None: ...
    def carry_out(self, order: Order, watcher: Watcher) -> Iterator[Stored]: ...
    def end(self) -> None: ...
    def join(self) -> None: ...


class Executor(Protocol):
    """Makes workers.

    Attributes:
        here: whether the process of the run may carry out packs as well.
        guards: whether a worker may be lost to a pack, so that isolated cells need no further process.
        limits_memory: whether `--memory` holds.
        starting: what is said of a worker that does not run yet.
    """

    here: bool
    guards: bool
    limits_memory: bool
    starting: str

    def device(self, asked: Any) -> torch.device:
        """Where packs are trained.

        Raises:
            UserError: there is no such device.
        """
        ...

    def workers(self, packs: int, missing: Sequence[Cell], device: torch.device) -> int:
        """How many processes carry out so many packs; 1 may be that of the run."""
        ...

    def large_at_once(self, workers: int, threads: int) -> int:
        """How many packs of large networks, of so many threads each, may run at the same time."""
        ...

    def worker(self, start: Start, log: Log, store: ResultStore) -> Carrier:
        """A worker, not begun."""
        ...


@dataclass(frozen=True)
class Local:
    """Processes of this machine; `jobs` of them, None to have it decided."""

    jobs: int | None = None
    here = True
    guards = False
    limits_memory = True
    starting = "starting a worker process"

    def device(self, asked: Any) -> torch.device:
        return device_of(asked)

    def workers(self, packs: int, missing: Sequence[Cell], device: torch.device) -> int:
        return processes(self.jobs, packs, work(missing), device)

    def large_at_once(self, workers: int, threads: int) -> int:
        return max(1, workers // threads)

    def worker(self, start: Start, log: Log, store: ResultStore) -> Carrier:
        del store  # its processes open the database themselves
        return Worker(start, log)


def executor_of(name: Any, jobs: Any = None, address: Any = None, cpus: Any = None, gpus: Any = None) -> Executor:
    """The executor that a user names.

    Raises:
        UserError: there is none of this name, or options of another; Ray is missing, or no cluster is there.
    """
    if name == "local":
        for option, value in (("--address", address), ("--cpus-per-pack", cpus), ("--gpus-per-pack", gpus)):
            if value is not None:
                raise UserError(f"{option} is of a Ray cluster; use it with --executor ray.")
        return Local(jobs_of(jobs))
    if name == "ray":
        from bnnbench.experiment.cluster import Cluster

        return Cluster.of(jobs, address, cpus, gpus)
    raise UserError(f"--executor must be {' or '.join(NAMES)}, not {name!r}.")
