"""A worker process for estimators, watched: a crash, a hang or a leak there fails the one cell alone."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil

from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.pack import Order, Stored
from bnnbench.experiment.progress import Watcher
from bnnbench.experiment.remote import Died, Overdue, Worker
from bnnbench.experiment.worker import Start

LOOK_S = 0.1  # between two looks at its memory: a process that fills pages takes longer for a gigabyte
WORN = 0.5  # share of its memory from which on it is not used for another cell


class Guard:
    """A worker process of its own for cells that are isolated, started for the first of them.

    Args:
        log: takes a log record of the worker: name, level, text.
    """

    def __init__(self, start: Start, log: Callable[[str, int, str], None]) -> None:
        self._worker, self._settings = Worker(start, log), start.settings

    def carry_out(self, order: Order, watcher: Watcher) -> Iterator[Stored]:
        """Have a pack trained, scored and stored, within its time and memory.

        Raises:
            NotPortable, Refused, Unavailable: as of a worker. Died: it ended in the middle, or was ended.
        """
        with _Watch(self._worker, self._settings, order.cells[0].method.limit_s) as watch:
            try:
                yield from self._worker.carry_out(order, watcher)
            except Died as how:
                raise watch.reason or how from None
        if watch.used > WORN * self._settings.memory:
            self._worker.join()

    def end(self) -> None:
        """End the process."""
        self._worker.join()


class _Watch:
    """Looks at a worker now and then, and ends it where it goes beyond what it is granted.

    Attributes:
        reason: why it was ended, None of what was not. used: bytes at the last look.
    """

    def __init__(self, worker: Worker, settings: Settings, limit_s: float) -> None:
        self.reason: Died | None = None
        self.used = 0
        self._worker, self._memory = worker, settings.memory
        self._limit = limit_s if settings.timeout is None else settings.timeout
        self._over, self._thread = threading.Event(), threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        began = math.inf
        while not self._over.wait(LOOK_S):
            if began == math.inf and self._worker.busy:  # what importing takes is not the estimator's time
                began = time.monotonic()
            self.used = resident(self._worker.pid)
            if self.used > self._memory:
                self.reason = Died(f"it took more than {self._memory / 1e9:.3g} GB of memory (--memory)")
            elif time.monotonic() - began > self._limit:
                self.reason = Overdue(f"stopped after {self._limit:g} s (--timeout)")
            if self.reason is not None:
                self._worker.kill()
                return


def resident(pid: int | None) -> int:
    """Bytes in memory of a process and of those that it started; 0 of none."""
    if pid is None:
        return 0
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for own in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += own.memory_info().rss
    return total
