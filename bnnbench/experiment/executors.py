"""Where packs are carried out: in worker processes of this machine, or on those of a cluster.

An executor says how many workers a run may have and makes them. To the run a worker is what `remote.Worker` is: begun,
given orders, listened to, ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.distance import Recorder
from bnnbench.experiment.pack import Order, Stored, work
from bnnbench.experiment.progress import Watcher
from bnnbench.experiment.remote import Log, Worker
from bnnbench.experiment.threads import jobs_of, processes
from bnnbench.experiment.worker import Start


class Carrier(Protocol):
    """A worker as the run sees it."""

    def begin(self) -> None: ...
    def carry_out(self, order: Order, watcher: Watcher) -> Iterator[Stored]: ...
    def end(self) -> None: ...
    def join(self) -> None: ...


class Executor(Protocol):
    """Makes workers.

    Attributes:
        guards: whether a worker may be lost to a pack, so that isolated cells need no further process.
    """

    guards: bool

    def workers(self, packs: int, missing: Sequence[Cell], device: torch.device) -> int:
        """How many processes carry out so many packs; 1: that of the run alone."""
        ...

    def worker(self, start: Start, log: Log, store: Recorder) -> Carrier:
        """A worker, not begun."""
        ...


@dataclass(frozen=True)
class Local:
    """Processes of this machine; `jobs` of them, None to have it decided."""

    jobs: int | None = None
    guards = False

    def workers(self, packs: int, missing: Sequence[Cell], device: torch.device) -> int:
        return processes(self.jobs, packs, work(missing), device)

    def worker(self, start: Start, log: Log, store: Recorder) -> Carrier:
        del store  # its processes write themselves
        return Worker(start, log)


NAMES = ("local", "ray")


def executor_of(
    name: Any, jobs: Any = None, address: Any = None, cpus_per_pack: float = 1, gpus_per_pack: float = 0
) -> Executor:
    """The executor that a user names.

    Raises:
        UserError: there is none of this name, or options of another; Ray is missing, or no cluster is there.
    """
    if name == "local":
        if address is not None:
            raise UserError("--address is that of a Ray cluster; use it with --executor ray.")
        return Local(jobs_of(jobs))
    if name == "ray":
        from bnnbench.experiment.cluster import Cluster

        return Cluster.of(jobs, address, cpus_per_pack, gpus_per_pack)
    raise UserError(f"--executor must be {' or '.join(NAMES)}, not {name!r}.")
