"""Which pack comes next, and in which process."""

import random
import threading
from collections import Counter

import pytest

from bnnbench.experiment.schedule import Job, Schedule


def job(name: str, program: str = "", work: int = 1, large: bool = False, here: bool = False) -> Job:
    return Job([name], program or name, work, large, here=here)


def drained(schedule: Schedule, here: bool = False) -> list[str]:
    """What one who asks alone gets, to the end."""
    names, last = [], None
    while last := schedule.next(here, last):
        names += last.cells
        schedule.done(last)
    return names


def test_without_workers_the_given_order():
    jobs = [job("a", "p", 1), job("b", "q", 9), job("c", "p", 5, large=True)]
    assert drained(Schedule(jobs, 1, 0), here=True) == ["a", "b", "c"]


def test_large_ones_then_most_work_first_and_programs_together():
    jobs = [job("a", "p", 1), job("b", "q", 5), job("c", "p", 2), job("d", "r", 4), job("e", "s", 1, large=True)]
    assert drained(Schedule(jobs, 1, 1)) == ["e", "b", "d", "a", "c"]
    assert drained(Schedule([*jobs, job("f", "p", 3)], 1, 1)) == ["e", "a", "c", "f", "b", "d"]


def test_a_program_goes_to_one_worker_as_long_as_there_are_others():
    jobs = [job("a", "p", 9), job("b", "p", 9), job("c", "q", 1), job("d", "p", 9)]
    schedule = Schedule(jobs, 1, 2)
    first, second = schedule.next(False), schedule.next(False)
    assert (first, second) == (jobs[0], jobs[2])
    for running in (first, second):
        schedule.done(running)
    assert schedule.next(False, first) is jobs[1]
    assert schedule.next(False, second) is jobs[3]  # rather than nothing


def test_only_so_many_large_ones_at_once():
    jobs = [job("a", large=True), job("b", large=True), job("c")]
    schedule = Schedule(jobs, 1, 2)
    first, second = schedule.next(False), schedule.next(False)
    assert (first, second) == (jobs[0], jobs[2])
    threading.Timer(0.05, schedule.done, [first]).start()
    assert schedule.next(False, second) is jobs[1]


def test_what_workers_cannot_have_is_for_this_process():
    jobs = [job("a", here=True), job("b"), job("c")]
    schedule = Schedule(jobs, 1, 1)
    assert schedule.next(here=True) is jobs[0]
    second = schedule.next(False)
    assert second is jobs[1]
    second.here = True  # it could not be unpacked there
    schedule.put_back(second)
    assert drained(schedule) == ["c"]
    assert schedule.next(here=True) is second
    schedule.done(jobs[0])
    threading.Timer(0.05, schedule.done, [second]).start()
    assert schedule.next(here=True) is None


def test_this_process_takes_over_when_the_last_worker_is_lost():
    schedule = Schedule([job("a"), job("b")], 1, 2)
    running = schedule.next(False)
    schedule.lose_worker()
    threading.Timer(0.05, schedule.lose_worker).start()
    assert schedule.next(here=True).cells == ["b"]
    schedule.put_back(running)
    assert schedule.next(False) is None
    assert schedule.next(here=True) is running


def test_what_others_hold_comes_again_later():
    jobs = [job("a"), job("b")]
    schedule = Schedule(jobs, 1, 0)
    assert schedule.put_back(schedule.next(here=True), 0.3) == []
    assert schedule.put_back(schedule.next(here=True), 0.3) == jobs
    assert schedule.next(here=True) is jobs[0]


@pytest.mark.parametrize("here", [False, True])
def test_the_end(here):
    schedule = Schedule([job("a"), job("b", here=True)], 1, 1)
    schedule.stop()
    assert schedule.next(here) is None


@pytest.mark.parametrize("seed", range(8))
def test_the_choice_is_the_best_of_all_that_wait(seed):
    """Beside a search through all of them, with packs that end and come back in any order."""
    draw = random.Random(seed)
    jobs = [job(str(n), draw.choice("pqrst"), draw.randint(1, 9), draw.random() < 0.3, draw.random() < 0.2)
            for n in range(60)]  # fmt: skip
    schedule, waiting, running, last = Schedule(jobs, 2, 3), list(jobs), [], None
    work = Counter()
    for each in jobs:
        work[each.program] += each.work

    def rank(each):
        taken = each.program in {other.program for other in running}
        kind = 0 if last is not None and each.program == last.program else 2 if taken else 1
        return kind, not each.large, -work[each.program], jobs.index(each)

    while waiting:
        here = draw.random() < 0.3
        full = sum(each.large for each in running) >= 2
        fitting = [each for each in waiting if each.here == here and not (each.large and full)]
        if fitting and len(running) < 4:
            last = draw.choice([*jobs, None])
            best = min(fitting, key=rank)
            assert schedule.next(here, last) is best
            waiting.remove(best)
            running.append(best)
        elif running:
            ended = running.pop(draw.randrange(len(running)))
            if draw.random() < 0.2:
                schedule.put_back(ended)
                waiting.append(ended)
            else:
                schedule.done(ended)
