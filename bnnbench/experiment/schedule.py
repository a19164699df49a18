"""Which pack comes next, where several processes of a run work at once.

Packs of one program go to one process as far as possible: what it has compiled, the others would compile again. Those
with large networks and the most work come first, so that no long one is left to the end. Large networks have several
threads each, so that only as many of them run at once as there are threads for.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import structure
from bnnbench.experiment.pack import work
from bnnbench.experiment.threads import threads_of

POLL_S = 0.2  # between two looks at packs that others hold


@dataclass(eq=False)
class Job:
    """A pack that waits or runs.

    Attributes:
        program: packs of equal programs share what is compiled. work: gradients that it takes.
        large: whether its networks are large. isolated: whether it runs in a process of its own, which may crash.
        here: whether it can run in this process alone.
    """

    cells: Sequence[Cell]
    program: Hashable
    work: int
    large: bool
    isolated: bool = False
    here: bool = False
    _again: float = 0.0

    @classmethod
    def of(cls, pack: Sequence[Cell], large_threads: int) -> Job:
        """A pack as the schedule sees it."""
        first, task = pack[0], pack[0].task
        program = structure(first)[1:], task.kind, task.hidden, task.name if task.fixed_input_shape else ""
        weight = work(pack) * max(first.method.num_networks, 1)
        return cls(pack, program, weight, threads_of(first, large_threads) > 1, first.method.isolated)

    def __str__(self) -> str:
        return f"{self.cells[0].method.name}, {self.cells[0].task.name}"


class Schedule:
    """The packs of a run.

    Args:
        large_at_once: how many packs of large networks may run at the same time.
        workers: how many worker processes there are; without any, this process takes all, in the given order.
    """

    def __init__(self, jobs: Iterable[Job], large_at_once: int, workers: int) -> None:
        self._open, self._running = list(jobs), list[Job]()
        self._large_at_once, self.workers = large_at_once, workers
        self._changed, self.stopped = threading.Condition(), False
        self._order = {job: order for order, job in enumerate(self._open)}
        self._work = Counter[Hashable]()
        for job in self._open:
            self._work[job.program] += job.work

    def next(self, here: bool, last: Job | None = None) -> Job | None:
        """The next pack, as soon as there is one; None at the end.

        Args:
            here: whether this process asks, and not a worker. last: what the one who asks did before.
        """
        with self._changed:
            while not self.stopped and self._may_come(here):
                if found := self._choose(here, last):
                    self._open.remove(found)
                    self._running.append(found)
                    return found
                self._changed.wait(POLL_S)
            return None

    def done(self, job: Job) -> None:
        """The pack needs nothing more."""
        with self._changed:
            self._running.remove(job)
            self._changed.notify_all()

    def put_back(self, job: Job, pause: float = 0.0) -> list[Job]:
        """It did not run; not again for so many seconds. Returns all that are open, if all of them wait now."""
        with self._changed:
            self._running.remove(job)
            self._open.append(job)
            job._again = time.monotonic() + pause if pause else 0.0
            self._changed.notify_all()
            return self._open.copy() if all(job._again for job in self._open) else []

    def lose_worker(self) -> None:
        """One worker fewer takes packs."""
        with self._changed:
            self.workers -= 1
            self._changed.notify_all()

    @property
    def abandoned(self) -> bool:
        """Whether packs of workers wait, and there are none any more."""
        with self._changed:
            return not self.stopped and not self.workers and any(not job.here for job in self._open)

    def stop(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def _may_come(self, here: bool) -> bool:
        if here:  # what a worker runs may come back
            return bool(self._open or self._running)
        return self.workers > 0 and any(not job.here for job in self._open)

    def _choose(self, here: bool, last: Job | None) -> Job | None:
        now, running = time.monotonic(), {job.program for job in self._running}
        full = sum(job.large for job in self._running) >= self._large_at_once

        def rank(job: Job) -> tuple:
            if not self.workers:
                return (self._order[job],)
            own = last is not None and job.program == last.program
            kind = 0 if own else 2 if job.program in running else 1
            return kind, not job.large, -self._work[job.program], self._order[job]

        fitting = (
            job
            for job in self._open
            if here == (job.here or not self.workers) and job._again <= now and not (job.large and full)
        )
        return min(fitting, key=rank, default=None)
