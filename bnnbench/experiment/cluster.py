"""Packs on the machines of a Ray cluster (Moritz et al. 2018, arXiv 1712.05889).

Each worker is an actor of Ray that carries out one pack after the other and sends what it would write; this process
records it. A worker that is lost with its machine is started anew, wherever Ray finds room, and its pack is carried out
again: cells that were recorded before stay. Machines need the same bnnbench, and the data under the same path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bnnbench.arguments import amount_of, text_of
from bnnbench.engine.cell import Cell
from bnnbench.errors import UserError
from bnnbench.experiment.distance import WRITES, DistantStore, Recorder, write
from bnnbench.experiment.pack import Order, Stored, carry_out
from bnnbench.experiment.progress import Watcher
from bnnbench.experiment.remote import Died, Log, Lost, Overdue, Unavailable, listened
from bnnbench.experiment.shipping import NotPortable, packed, unpacked
from bnnbench.experiment.threads import IN_WORKER, jobs_of
from bnnbench.experiment.worker import Start, whole

if TYPE_CHECKING:
    from bnnbench.experiment.attempt import Settings
    from bnnbench.experiment.executors import Carrier

MISSING = "--executor ray needs Ray; install it by `pip install 'bnnbench[ray]'`."
START_S = 120.0  # that a worker may take to start
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
    guards = True

    @classmethod
    def of(cls, jobs: Any, address: Any, cpus: Any, gpus: Any) -> Cluster:
        """Connect to a cluster; without an address to the one that `RAY_ADDRESS` names, else one that begins here.

        Raises:
            UserError: Ray is missing, no cluster is there, or a number is none.
        """
        try:
            import ray
        except ImportError as error:
            raise UserError(MISSING) from error
        amount_of(cpus, "--cpus-per-pack", "CPUs")
        if gpus:
            amount_of(gpus, "--gpus-per-pack", "GPUs")
        if not ray.is_initialized():
            _connect(None if address is None else text_of(address, "--address"))
        return cls(None if jobs is None else jobs_of(jobs), float(cpus), float(gpus))

    def workers(self, packs: int, missing: Sequence[Cell], device: torch.device) -> int:
        """As many as the cluster has room for; two at least, so that none works in this process."""
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
        return max(2, min(int(room), packs, self.jobs or packs))

    def worker(self, start: Start, log: Log, store: Recorder) -> Carrier:
        """An actor of Ray."""
        return RayWorker(self, start.settings, log, store)


def _connect(address: str | None) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise UserError(f"There is no Ray cluster at {address or 'RAY_ADDRESS'} ({said}).") from error


class RayWorker:
    """A worker on a machine of the cluster, started again where it was lost."""

    def __init__(self, cluster: Cluster, settings: Settings, log: Log, store: Recorder) -> None:
        self._cluster, self._log, self._store = cluster, log, store
        self._settings = replace(settings, checkpoints=None)  # a folder of the run's machine
        self._actor: Any = None

    def begin(self) -> None:
        """Start it, wherever there is room.

        Raises:
            Unavailable: there is none for some time.
        """
        import ray
        from ray.exceptions import RayError

        self.join()
        kind = ray.remote(num_cpus=self._cluster.cpus, num_gpus=self._cluster.gpus, max_restarts=0)(Actor)
        self._actor = kind.remote(sys.path, packed(self._settings))
        started = self._actor.ready.remote()
        try:
            if not ray.wait([started], timeout=START_S)[0]:
                raise Unavailable(f"the cluster had no room for it within {START_S:g} s")
            ray.get(started)
        except (RayError, Unavailable) as error:
            self.join()
            raise Unavailable(str(error).strip().splitlines()[0]) from None

    def carry_out(self, order: Order, watcher: Watcher) -> Iterator[Stored]:
        """Have a pack trained and scored there, and store it here.

        Raises:
            NotPortable, Refused: the worker cannot have it. Lost: the worker is gone. Died, Overdue: it is gone by the
                fault of an isolated cell. Unavailable: there is no worker any more.
        """
        from ray.exceptions import RayError

        message, method = packed(order), order.cells[0].method
        if self._actor is None:
            self.begin()
        limit = method.limit_s if self._settings.timeout is None else self._settings.timeout
        try:
            yield from listened(self._messages(message, limit if method.isolated else None), watcher, self._log)
        except RayError as error:
            self.join()
            said = str(error).strip().splitlines()[0]
            raise (Died(f"its worker process ended ({said})") if method.isolated else Lost(said)) from None

    def _messages(self, message: bytes, limit: float | None) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """What the actor says; what it would write is written."""
        import ray

        stream, began = self._actor.carry_out.options(num_returns="streaming").remote(message), time.monotonic()
        while True:
            ready, _ = ray.wait([stream], timeout=None if limit is None else POLL_S, fetch_local=False)
            if not ready:
                if limit is not None and time.monotonic() - began > limit:
                    self.join()
                    raise Overdue(f"stopped after {limit:g} s (--timeout)")
                continue
            try:
                batch = ray.get(next(stream))
            except StopIteration:
                return
            for kind, content in batch:
                if kind in WRITES:
                    write(self._store, kind, content)
                else:
                    yield kind, content

    def end(self) -> None:
        """End it."""
        self.join()

    def join(self) -> None:
        """End it, and what it does."""
        import ray

        if self._actor is not None:
            with contextlib.suppress(Exception):  # Ray itself may be gone
                ray.kill(self._actor)
            self._actor = None


class Actor:
    """What runs in the process of a worker."""

    def __init__(self, path: list[str], settings: bytes) -> None:
        sys.path += [place for place in path if place not in sys.path]  # modules of the user beside bnnbench
        os.environ[IN_WORKER] = "1"
        self._settings: Settings = unpacked(settings)

    def ready(self) -> None:
        """Answers as soon as it is there."""

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
