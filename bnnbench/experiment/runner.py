"""The runner: claims packs and has them trained, scored and stored, here or by worker processes."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import all_packs, restricted
from bnnbench.engine.precision import precision_for
from bnnbench.errors import UserError
from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.executors import Carrier, Executor
from bnnbench.experiment.guard import Guard
from bnnbench.experiment.pack import Ended, Order, Stored, carry_out, stored, work
from bnnbench.experiment.progress import PackLine, RunProgress
from bnnbench.experiment.remote import END_S, Died, Lost, Refused, Unavailable
from bnnbench.experiment.schedule import Job, Schedule
from bnnbench.experiment.shipping import NotPortable, packed
from bnnbench.experiment.threads import threads_of
from bnnbench.experiment.waiting import AGAIN_S, awaited, heartbeat
from bnnbench.experiment.worker import Start
from bnnbench.records import Outcome
from bnnbench.store.claims import owner_id
from bnnbench.store.store import ResultStore

CarryOut = Callable[[Order, PackLine], Iterator[Stored]]
NO_WORKER = "No worker of the cluster is left. Run again: what is finished is kept."
MOST_LOSSES = 3  # of workers, by one pack
Stays = dict[str, list[Job]]  # why packs are trained in this process -> these packs


def run_cells(
    store: ResultStore,
    cells: Sequence[Cell],
    missing: Collection[Cell],
    start_session: Callable[[int, str], int],
    settings: Settings,
    progress: RunProgress,
    executor: Executor,
    large_threads: int,
) -> tuple[Counter[Ended], list[str]]:
    """Train, score and store the missing cells of a plan; returns how many ended in which way, and what test sets of
    trained cells could not be scored.

    A pack that another process holds is left to it; at the end this one waits for what the others finish or drop.

    Args:
        start_session: number of CPU threads and precision -> id of a new session.
        executor: where packs are carried out.
        large_threads: CPU threads of a cell with a large network.
    """
    queue = [Job.of(pack, large_threads) for pack in restricted(all_packs(cells, settings.device), missing)]
    jobs = executor.workers(len(queue), [cell for job in queue for cell in job.cells], settings.device)
    at_once = executor.large_at_once(jobs, large_threads)
    stays = _kept_here(queue) if jobs > 1 or not executor.here else {}
    large = [job.large for job in queue if not job.here]
    workers = min(jobs - bool(stays and executor.here), large.count(False) + min(large.count(True), at_once))
    schedule = Schedule(queue, at_once, workers if workers + bool(stays) > 1 or not executor.here else 0)
    runner = Runner(store, schedule, start_session, settings, progress, large_threads, stays, executor)
    with heartbeat(store, runner.owner), runner.with_workers(schedule.workers):
        runner.work(lambda order, line: carry_out(store, order, settings, line), progress.line(), here=True)
    if runner.error is not None:
        raise runner.error
    return runner.ended, [*runner.faults, *map(_stay, stays, stays.values())]


def _kept_here(queue: Sequence[Job]) -> Stays:
    """Mark the packs that no worker can take."""
    stays: Stays = {}
    for job in queue:
        try:
            packed(job.cells)
        except NotPortable as fault:
            job.here = True
            stays.setdefault(str(fault), []).append(job)
    return stays


def _stay(fault: str, jobs: Sequence[Job]) -> str:
    """Where these packs were trained, and why."""
    more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    return f"{jobs[0]}{more}: trained in this process, for a worker process cannot take it ({fault})."


class Runner:
    """Has packs carried out by whoever asks for them, several at a time.

    Attributes:
        ended: how many cells ended in which way. faults: what else went wrong, one sentence each.
        error: what ended the run before its time.
    """

    def __init__(
        self,
        store: ResultStore,
        schedule: Schedule,
        start_session: Callable[[int, str], int],
        settings: Settings,
        progress: RunProgress,
        large_threads: int,
        stays: Stays,
        executor: Executor,
    ) -> None:
        self.store, self.schedule, self.settings, self.progress = store, schedule, settings, progress
        self.owner, self.ended, self.faults = owner_id(), Counter[Ended](), list[str]()
        self.error: BaseException | None = None
        self._start_session, self._sessions, self._large = start_session, dict[tuple[int, str], int](), large_threads
        self._executor, self._losses = executor, Counter[Job]()
        self._stays, self._waited, self._logged, self._lock = stays, "", set[tuple[str, str]](), threading.RLock()

    @contextmanager
    def with_workers(self, number: int) -> Iterator[None]:
        """So many worker processes at work."""
        workers = [self._executor.worker(self._start(), self._log, self.store) for _ in range(number)]
        threads = [threading.Thread(target=self._attend, args=(worker,), daemon=True) for worker in workers]
        try:
            for thread in threads:
                thread.start()
            yield
        finally:
            self.schedule.stop()
            for worker in workers:
                worker.end()
            for worker in workers:
                worker.join()
            for thread in threads:
                thread.join(END_S)

    def _start(self) -> Start:
        """What a worker process is told first."""
        address = self.store.address
        return Start(str(address.path or address.url.render_as_string(hide_password=False)), self.settings)

    def _attend(self, worker: Carrier) -> None:
        """What a thread does: give a worker pack after pack."""
        line = self.progress.line()
        try:
            self.work(worker.carry_out, line, here=False, worker=worker)
        except Unavailable as fault:
            if not self.schedule.stopped:
                with self._lock:
                    self.faults.append(f"A worker process could not be started ({fault}); the run did without it.")
        except BaseException as error:
            if not self.schedule.stopped:
                self.error = error
                self.schedule.stop()
        finally:
            self.schedule.lose_worker()  # what comes back from others is for those that are left
            if not self._executor.here and self.schedule.abandoned:
                self.error = self.error or UserError(NO_WORKER)
                self.schedule.stop()
            worker.join()

    def work(self, carry_out: CarryOut, line: PackLine, here: bool, worker: Carrier | None = None) -> None:
        """Take pack after pack, until there is none; a worker that does not run is started before it takes one."""
        job, guard = None, Guard(self._start(), self._log)
        try:
            while self.schedule.may_come(here):
                if worker is not None and not worker.running:
                    line.tell(self._executor.starting)
                    worker.begin()
                    line.rest()
                if not (job := self.schedule.next(here, job)):
                    break
                guarded = job.isolated and not job.here and (here or not self._executor.guards)
                self._try(job, guard.carry_out if guarded else carry_out, line)
        finally:
            guard.end()
        line.rest()

    def _try(self, job: Job, carry_out: CarryOut, line: PackLine) -> None:
        """Carry out a pack, or put it back where that process cannot have it."""
        try:
            self._do(job, carry_out, line)
        except (Refused, NotPortable) as fault:
            job.here = True
            with self._lock:
                self._stays.setdefault(str(fault), []).append(job)
            self.schedule.put_back(job)
        except Unavailable:
            self.schedule.put_back(job)
            raise
        except Lost as how:
            if self.schedule.stopped:
                raise
            # Others may have it meanwhile: this run may wait long for room, which they hold while they wait for it.
            self.store.release(self.owner, [cell.record for cell in job.cells])
            self._losses[job] += 1
            if self._losses[job] >= MOST_LOSSES:
                self._fail(job, Died(f"its worker was lost {MOST_LOSSES} times ({how})"), line)
            else:
                self.schedule.put_back(job, AGAIN_S)

    def _do(self, job: Job, carry_out: CarryOut, line: PackLine) -> None:
        """Carry out a pack, unless others have it."""
        if not self._claimed(job, line):
            return
        first, left = job.cells[0], {cell.record.fingerprint: cell for cell in job.cells}
        session = self._session(first) if self._executor.here or job.here else 0  # elsewhere workers begin their own
        order = Order(job.cells, self.owner, session, *self._means(first))
        line.begin(str(job), len(job.cells), first.steps)
        try:
            for part in carry_out(order, line):
                self._count(part, [left.pop(fingerprint) for fingerprint in part.fingerprints], line)
        except Died as how:
            if self.schedule.stopped:
                raise
            job.cells = [*left.values()]
            if job.cells:
                self._fail(job, how, line)
                return
        except Lost:
            job.cells = [*left.values()]
            if job.cells:
                raise
        self.schedule.done(job)
        line.rest()

    def _fail(self, job: Job, how: Died, line: PackLine) -> None:
        """Store that a pack's cells ended with their worker."""
        outcomes = [Outcome(cell.record, how.status, str(how)) for cell in job.cells]
        session = self._session(job.cells[0])
        self.store.record(session, outcomes, self.owner, self.settings.force)
        self._count(stored(job.cells, outcomes), job.cells, line)
        self.schedule.done(job)
        line.rest()

    def _claimed(self, job: Job, line: PackLine) -> bool:
        """Whether the pack is ours; if not, it is put back, or done if others have finished it."""
        if self.store.claim([cell.record for cell in job.cells], self.owner, self.settings.force):
            return True
        job.cells = unfinished(self.store, job.cells, self.settings.force)
        if not job.cells:
            self.schedule.done(job)
        elif held := self.schedule.put_back(job, AGAIN_S):
            self._wait_for_others(held, line)
        return False

    def _wait_for_others(self, held: Sequence[Job], line: PackLine) -> None:
        """Say for whom this run waits, once."""
        with self._lock:
            text = awaited(self.store, [cell.record.fingerprint for job in held for cell in job.cells])
            line.tell(text)
            if text != self._waited:
                self.progress.say(text)
            self._waited = text

    def _means(self, cell: Cell) -> tuple[int, str]:
        """CPU threads and precision that a cell is computed with."""
        return threads_of(cell, self._large), precision_for(cell, self.settings.precision)

    def _session(self, cell: Cell) -> int:
        """The session of attempts that are computed as this cell is."""
        means = self._means(cell)
        with self._lock:
            if means not in self._sessions:
                self._sessions[means] = self._start_session(*means)
            return self._sessions[means]

    def _count(self, part: Stored, cells: Sequence[Cell], line: PackLine) -> None:
        with self._lock:
            self.ended.update(part.ended)
            self.faults += part.faults
            line.stored(part.line, work(cells))

    def _log(self, name: str, level: int, text: str) -> None:
        """Log what a worker logs, once for all workers."""
        with self._lock:
            if (name, text) not in self._logged:
                logging.getLogger(name).log(level, "%s", text)
            self._logged.add((name, text))


def unfinished(store: ResultStore, cells: Sequence[Cell], force: bool = False) -> list[Cell]:
    """The cells that are to be trained, in the given order."""
    wanted = {record.fingerprint for record in store.missing([cell.record for cell in cells], force)} if cells else ()
    return [cell for cell in cells if cell.record.fingerprint in wanted]
