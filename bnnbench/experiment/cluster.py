"""Packs on the machines of a Ray cluster (Moritz et al. 2018, arXiv 1712.05889).

Each worker is an actor of Ray that carries out one pack after the other and sends what it would write; this process
records it. A worker that is lost with its machine is started anew, wherever Ray finds room, and its pack is carried out
again: cells that were recorded before stay. Machines need the same bnnbench, and the data under the same path.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bnnbench.arguments import amount_of, text_of, whole_of
from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.distance import WRITES, DistantStore, write
from bnnbench.experiment.machine import command, device_of, session_record
from bnnbench.experiment.pack import Order, Stored, carry_out
from bnnbench.experiment.progress import Watcher
from bnnbench.experiment.remote import Died, Log, Lost, Overdue, Unavailable, listened
from bnnbench.experiment.shipping import NotPortable, packed, unpacked
from bnnbench.experiment.threads import IN_WORKER
from bnnbench.experiment.worker import Start, whole
from bnnbench.records import SessionRecord
from bnnbench.store.store import ResultStore

if TYPE_CHECKING:
    from bnnbench.experiment.attempt import Settings
    from bnnbench.experiment.executors import Carrier

MOST_JOBS = 100_000
MISSING = "--executor ray needs Ray; install it by `pip install 'bnnbench[ray]'`."
START_S = 120.0  # after which a machine that could take a worker must be there
POLL_S = 0.5  # between two looks at a worker whose time is limited
TOGETHER = 64  # messages at most that travel as one


@dataclass(frozen=True)
class Cluster:
    """The machines of a Ray cluster.

    Attributes:
        jobs: packs at once, None for as many as there is room for.
        cpus, gpus: what a pack takes of them.
    """

    jobs: int | None
    cpus: float
    gpus: float
    here = False
    guards = True
    limits_memory = False
    starting = "waiting for room on the cluster"

    @classmethod
    def of(cls, jobs: Any, address: Any, cpus: Any, gpus: Any) -> Cluster:
        """Connect to a cluster; without an address to the one that `RAY_ADDRESS` names, else one that begins here.

        Args:
            cpus, gpus: what a pack takes; None for 1 and 0.

        Raises:
            UserError: Ray is missing, no cluster is there, or a number is none.
        """
        if importlib.util.find_spec("ray") is None:
            raise UserError(MISSING)
        asked = cls(
            None if jobs is None else whole_of(jobs, "--jobs", MOST_JOBS),
            1.0 if cpus is None else amount_of(cpus, "--cpus-per-pack", "CPUs"),
            0.0 if not gpus else amount_of(gpus, "--gpus-per-pack", "GPUs"),
        )
        _connect(None if address is None else text_of(address, "--address"))
        return asked

    def device(self, asked: Any) -> torch.device:
        """A graphics card exactly where packs take some of one: this machine need not have any."""
        name = text_of(asked, "--device")
        if name not in {"auto", "cpu", "cuda"}:
            return device_of(name)  # which refuses it
        if name == "cuda" and not self.gpus:
            raise UserError("--device cuda on a Ray cluster needs --gpus-per-pack, as 1.")
        if name == "cpu" and self.gpus:
            raise UserError("--gpus-per-pack is for --device cuda; leave one of the two out.")
        return torch.device("cuda" if self.gpus else "cpu")

    def workers(self, packs: int, missing: Sequence[Cell], device: torch.device) -> int:
        """As many as the cluster has room for."""
        import ray

        del missing, device
        there = ray.cluster_resources()
        room = there.get("CPU", 0) // self.cpus
        if self.gpus:
            room = min(room, there.get("GPU", 0) // self.gpus)
        if room < 1:
            raise UserError(
                f"The Ray cluster has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs, fewer than a pack "
                "takes; lower --cpus-per-pack or --gpus-per-pack."
            )
        return max(1, min(int(room), packs, self.jobs or packs))

    def has_a_machine(self) -> bool:
        """Whether one of the machines is large enough for a pack, busy or not."""
        import ray

        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return any(own.get("CPU", 0) >= self.cpus and own.get("GPU", 0) >= self.gpus for own in alive)

    def large_at_once(self, workers: int, threads: int) -> int:
        """All: what a pack takes of a machine is said by `cpus`."""
        del threads
        return max(1, workers)

    def worker(self, start: Start, log: Log, store: ResultStore) -> Carrier:
        """An actor of Ray."""
        return RayWorker(self, start.settings, log, store)


def _connect(address: str | None) -> None:
    import ray

    if ray.is_initialized():
        there = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", there):
            raise UserError(f"This process is connected to the Ray cluster at {there} already, not to {address}.")
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise UserError(f"There is no Ray cluster at {address or 'RAY_ADDRESS'} ({said}).") from error


class RayWorker:
    """A worker on a machine of the cluster, started again where it was lost."""

    def __init__(self, cluster: Cluster, settings: Settings, log: Log, store: ResultStore) -> None:
        self._cluster, self._log, self._store = cluster, log, store
        self._settings = replace(settings, checkpoints=None)  # a folder of the run's machine
        self._actor: Any = None
        self._ended = False
        self._sessions: dict[tuple[int, str], int] = {}

    def begin(self) -> None:
        """Start it, wherever there is room; waits while the machines are busy.

        Raises:
            Unavailable: for some time there is no machine that could take it, or the run has ended.
        """
        import ray
        from ray.exceptions import RayError

        kind = ray.remote(num_cpus=self._cluster.cpus, num_gpus=self._cluster.gpus, max_restarts=0)(Actor)
        self._actor = kind.remote(sys.path, packed(self._settings))
        started, since = self._actor.ready.remote(), time.monotonic()
        try:
            while not ray.wait([started], timeout=POLL_S)[0]:
                if self._ended:
                    raise Unavailable("the run has ended")
                if self._cluster.has_a_machine():
                    since = time.monotonic()
                elif time.monotonic() - since > START_S:
                    raise Unavailable(f"for {START_S:g} s the cluster had no machine for it")
            ray.get(started)
        except (RayError, Unavailable) as error:
            self.join()
            raise Unavailable(str(error).strip().splitlines()[0]) from None

    def carry_out(self, order: Order, watcher: Watcher) -> Iterator[Stored]:
        """Have a pack trained and scored there, and store it here.

        Raises:
            NotPortable, Refused: the worker cannot have it. Lost: the worker is gone. Died, Overdue: it is gone by the
                fault of an isolated cell.
        """
        from ray.exceptions import RayError

        method = order.cells[0].method
        limit = method.limit_s if self._settings.timeout is None else self._settings.timeout
        try:
            message = packed(replace(order, session=self._session(order)))
            yield from listened(self._messages(message, limit if method.isolated else math.inf), watcher, self._log)
        except RayError as error:
            self.join()
            said = str(error).strip().splitlines()[0]
            raise (Died(f"its worker process ended ({said})") if method.isolated else Lost(said)) from None

    def _session(self, order: Order) -> int:
        """A session of the machine that the worker is on, for what is computed as this pack is."""
        import ray

        means = order.threads, order.precision
        if means not in self._sessions:
            record: Any = ray.get(self._actor.session.remote(command(), *means))
            self._sessions[means] = self._store.start_session(record)
        return self._sessions[means]

    def _messages(self, message: bytes, limit: float) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """What the actor says; what it would write is written."""
        import ray

        stream, began = self._actor.carry_out.options(num_returns="streaming").remote(message), math.inf
        while True:
            ready, _ = ray.wait([stream], timeout=None if limit == math.inf else POLL_S, fetch_local=False)
            if time.monotonic() - began > limit:
                self.join()
                raise Overdue(f"stopped after {limit:g} s (--timeout)")
            if not ready:
                continue
            try:
                batch = ray.get(next(stream))
            except StopIteration:
                return
            for kind, content in batch:
                if kind in WRITES:
                    write(self._store, kind, content)
                    continue
                if kind == "begun":  # what importing takes is not the cell's time
                    began = time.monotonic()
                yield kind, content

    @property
    def running(self) -> bool:
        """Whether there is an actor."""
        return self._actor is not None

    def end(self) -> None:
        """End it, for good."""
        self._ended = True
        self.join()

    def join(self) -> None:
        """End it, and what it does."""
        import ray

        if self._actor is not None:
            with contextlib.suppress(Exception):  # Ray itself may be gone
                ray.kill(self._actor)
            self._actor = None
            self._sessions.clear()  # it may be another machine next time


class Actor:
    """What runs in the process of a worker."""

    def __init__(self, path: list[str], settings: bytes) -> None:
        sys.path += [place for place in path if place not in sys.path]  # modules of the user beside bnnbench
        os.environ[IN_WORKER] = "1"
        self._settings: Settings = unpacked(settings)

    def ready(self) -> None:
        """Answers as soon as it is there."""

    def session(self, asked_by: str, threads: int, precision: str) -> SessionRecord:
        """Who computes here."""
        return session_record(self._settings.device, asked_by, threads, precision)

    def carry_out(self, message: bytes) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
        """Messages, as many together as there are."""
        said: queue.Queue[tuple[str, tuple[Any, ...]]] = queue.Queue()
        threading.Thread(target=self._work, args=(message, said), daemon=True).start()
        while True:
            batch = [said.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < TOGETHER:
                    batch.append(said.get_nowait())
            yield batch
            if any(kind in ("done", "refused", "raised") for kind, _ in batch):
                return

    def _work(self, message: bytes, said: queue.Queue) -> None:
        def send(kind: str, *content: Any) -> None:
            said.put((kind, content))

        try:
            order = unpacked(message)
        except NotPortable as error:
            send("refused", str(error))
            return
        send("begun")
        try:
            for stored in carry_out(DistantStore(send), order, self._settings, _Watching(send)):
                send("stored", stored)
        except BaseException as error:
            send("raised", whole(error))
        send("done")


class _Watching:
    """A Watcher that sends."""

    def __init__(self, send: Any) -> None:
        self._send = send

    def phase(self, name: str) -> None:
        self._send("phase", name)

    def updates(self, number: int) -> None:
        self._send("updates", number)
