"""Which pack comes next, where several processes of a run work at once.

Packs of one program go to one process as far as possible: what it has compiled, the others would compile again. Those
with large networks and the most work come first, so that no long one is left to the end. Large networks have several
threads each, so that only as many of them run at once as there are threads for.
"""

from __future__ import annotations

import heapq
import threading
import time
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import structure
from bnnbench.experiment.pack import work
from bnnbench.experiment.threads import threads_of

POLL_S = 0.2  # between two looks at packs that others hold
Kind = tuple[bool, bool]


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

    @classmethod
    def of(cls, pack: Sequence[Cell], large_threads: int) -> Job:
        """A pack as the schedule sees it."""
        first, task = pack[0], pack[0].task
        program = structure(first)[1:], task.kind, task.hidden, task.name if task.fixed_input_shape else ""
        weight = work(pack) * max(first.method.num_networks, 1)
        return cls(pack, program, weight, threads_of(first, large_threads) > 1, first.method.isolated)

    def __str__(self) -> str:
        return f"{self.cells[0].method.name}, {self.cells[0].task.name}"


@dataclass(eq=False)
class _Group:
    """Packs of one program that wait.

    Attributes:
        kind: whether only this process can run them, and whether their networks are large.
        rank: groups of lower rank come first. jobs: a heap, in the order of the plan.
    """

    program: Hashable
    kind: Kind
    rank: tuple
    jobs: list[tuple[int, Job]] = field(default_factory=list)


class Schedule:
    """The packs of a run; each comes in a time that does not grow with their number.

    Args:
        large_at_once: how many packs of large networks may run at the same time.
        workers: how many worker processes there are; without any, this process takes all, in the given order.
    """

    def __init__(self, jobs: Iterable[Job], large_at_once: int, workers: int) -> None:
        jobs = list(jobs)
        self._large_at_once, self.workers, self._alone = large_at_once, workers, not workers
        self._changed, self.stopped = threading.Condition(), False
        self._order = {job: order for order, job in enumerate(jobs)}
        self._work = Counter[Hashable]()
        self._groups = dict[tuple, _Group]()
        self._ranked = defaultdict[Kind, list[_Group]](list)  # those with packs
        self._paused = list[tuple[float, int, Job]]()  # a heap by time
        self._running, self._open = list[Job](), Counter[bool]()  # how many wait, by `here`
        for job in jobs:
            self._work[job.program] += job.work
        for job in jobs:
            self._open[job.here] += 1
            self._add(job)

    def next(self, here: bool, last: Job | None = None) -> Job | None:
        """The next pack, as soon as there is one; None at the end.

        Args:
            here: whether this process asks, and not a worker. last: what the one who asks did before.
        """
        with self._changed:
            while self._may_come(here):
                self._resume()
                if found := self._choose(here, last):
                    self._open[found.here] -= 1
                    self._running.append(found)
                    return found
                self._changed.wait(POLL_S)
            return None

    def may_come(self, here: bool) -> bool:
        """Whether one who asks may still get a pack."""
        with self._changed:
            return self._may_come(here)

    def done(self, job: Job) -> None:
        """The pack needs nothing more."""
        with self._changed:
            self._running.remove(job)
            self._changed.notify_all()

    def put_back(self, job: Job, pause: float = 0.0) -> list[Job]:
        """It did not run; not again for so many seconds. Returns all that are open, if all of them wait now."""
        with self._changed:
            self._running.remove(job)
            self._open[job.here] += 1
            if pause:
                heapq.heappush(self._paused, (time.monotonic() + pause, self._order[job], job))
            else:
                self._add(job)
            self._changed.notify_all()
            waiting = [job for *_, job in sorted(self._paused)]
            return waiting if len(waiting) == self._open.total() else []

    def lose_worker(self) -> None:
        """One worker fewer takes packs."""
        with self._changed:
            self.workers -= 1
            self._changed.notify_all()

    @property
    def abandoned(self) -> bool:
        """Whether packs of workers wait, and there are none any more."""
        with self._changed:
            return not self.stopped and not self.workers and self._open[False] > 0

    def stop(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def _may_come(self, here: bool) -> bool:
        if self.stopped:
            return False
        if here:  # what a worker runs may come back
            return self._open.total() > 0 or bool(self._running)
        return self.workers > 0 and self._open[False] > 0

    def _add(self, job: Job) -> None:
        """A pack waits; of this process alone all are one group, in the order of the plan."""
        order = self._order[job]
        kind = (job.here and not self._alone, job.large and not self._alone)
        key = (None if self._alone else job.program, kind)
        if key not in self._groups:
            self._groups[key] = _Group(key[0], kind, (-self._work[job.program], order))
        group = self._groups[key]
        if not group.jobs:
            insort(self._ranked[kind], group, key=_rank)
        heapq.heappush(group.jobs, (order, job))

    def _resume(self) -> None:
        """Packs whose pause is over wait for a process again."""
        now = time.monotonic()
        while self._paused and self._paused[0][0] <= now:
            self._add(heapq.heappop(self._paused)[-1])

    def _choose(self, here: bool, last: Job | None) -> Job | None:
        """The program of the one who asks goes on, else one that nobody runs is begun, else one is shared."""
        if not (here or self.workers):
            return None
        full = sum(job.large for job in self._running) >= self._large_at_once
        places = (here,) if self.workers else (True, False)
        kinds = [(place, large) for large in (True, False) for place in places if not (large and full)]
        fitting = [self._ranked[kind] for kind in kinds]
        running = {job.program for job in self._running}
        own = (self._groups.get((last.program, kind)) for kind in kinds if last is not None)
        choices = chain(
            (group for group in own if group is not None and group.jobs),
            (group for group in chain(*fitting) if group.program not in running),
            chain(*fitting),
        )
        group = next(choices, None)
        return None if group is None else self._first(group)

    def _first(self, group: _Group) -> Job:
        """The first pack of a group, which waits no more."""
        _, job = heapq.heappop(group.jobs)
        if not group.jobs:
            ranked = self._ranked[group.kind]
            ranked.pop(bisect_left(ranked, group.rank, key=_rank))
        return job


def _rank(group: _Group) -> tuple:
    return group.rank
