"""The runner: claims packs, trains and scores them, and stores one transaction a pack."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from bnnbench import random
from bnnbench.engine.cell import Cell
from bnnbench.engine.checkpoint import Checkpoint
from bnnbench.engine.compile import is_compiled
from bnnbench.engine.packing import all_packs, restricted
from bnnbench.errors import StorageError, UserError
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.experiment.attempt import Settings, attempt
from bnnbench.experiment.progress import RunProgress
from bnnbench.experiment.rescore import add_evaluations
from bnnbench.experiment.waiting import AGAIN_S, awaited, heartbeat
from bnnbench.records import Outcome, Status
from bnnbench.store.claims import owner_id
from bnnbench.store.store import ResultStore


class Ended(NamedTuple):
    """How cells ended, with the sentence that is stored with them."""

    status: Status
    task: str
    method: str
    message: str


class Finished(NamedTuple):
    """What became of cells that were tried together; the pack and its checkpoint, where it was trained."""

    cells: Sequence[Cell]
    outcomes: list[Outcome]
    evaluator: Evaluator | None
    checkpoint: Checkpoint | None


def run_cells(
    store: ResultStore,
    cells: Sequence[Cell],
    missing: Collection[Cell],
    start_session: Callable[[], int],
    settings: Settings,
    progress: RunProgress,
) -> tuple[Counter[Ended], list[str]]:
    """Train, score and store the missing cells of a plan; returns how many ended in which way, and what test sets of
    trained cells could not be scored.

    A pack that another process holds is left to it; at the end this one waits for what the others finish or drop.
    """
    todo = restricted(all_packs(cells, settings.device), missing)
    fingerprints = {cell.record.fingerprint for cell in missing}
    ended, faults, session, owner, told = Counter(), [], None, owner_id(), ""
    with heartbeat(store, owner):
        while todo:
            waiting = []
            for pack in todo:
                if not store.claim([cell.record for cell in pack], owner, settings.force):
                    waiting.append(pack)
                    continue
                session = start_session() if session is None else session
                for part in run_pack(pack, settings, progress):
                    store.record(session, part.outcomes, owner, settings.force)
                    faults += _completed(store, part, settings, progress)
                    ended.update(Ended(o.status, o.cell.task, o.cell.method, o.message) for o in part.outcomes)
            waiting = restricted(waiting, unfinished(store, [c for pack in waiting for c in pack], settings.force))
            if waiting and len(waiting) == len(todo):
                told = _wait(store, fingerprints, told, progress)
            todo = waiting
    return ended, faults


def _completed(store: ResultStore, part: Finished, settings: Settings, progress: RunProgress) -> list[str]:
    """What follows once cells are stored: their further test sets; returns why some could not be scored."""
    if part.checkpoint is not None:
        part.checkpoint.remove()
    first, faults = part.cells[0], []
    if part.evaluator is not None and first.test_sets:
        progress.start(f"{first.task.name} {first.method.name}: further test sets")
        with random.compiled_kernels(is_compiled(first, settings.device)):
            _, faults = add_evaluations(store, part.evaluator)
    progress.finish(_line(part.cells, part.outcomes), updates(part.cells))
    return faults


def _wait(store: ResultStore, fingerprints: Collection[str], told: str, progress: RunProgress) -> str:
    """Wait for other processes; returns the line that says for which, which is shown once."""
    line = awaited(store, fingerprints)
    progress.start(line)
    if line != told:
        progress.say(line)
    time.sleep(AGAIN_S)
    return line


def unfinished(store: ResultStore, cells: Sequence[Cell], force: bool = False) -> list[Cell]:
    """The cells that are to be trained, in the given order."""
    wanted = {record.fingerprint for record in store.missing([cell.record for cell in cells], force)} if cells else ()
    return [cell for cell in cells if cell.record.fingerprint in wanted]


def updates(cells: Sequence[Cell]) -> int:
    """Updates that training takes, at least one a cell."""
    return sum(max(cell.steps, 1) for cell in cells)


def _line(pack: Sequence[Cell], outcomes: Sequence[Outcome]) -> str:
    counts = ", ".join(f"{n} {status.value}" for status, n in Counter(o.status for o in outcomes).items())
    first = pack[0]
    return f"{first.task.name} {first.rule} {first.method.name}: {counts} ({outcomes[0].wall_s:.1f} s)"


def run_pack(pack: Sequence[Cell], settings: Settings, progress: RunProgress) -> Iterator[Finished]:
    """Train a pack; if it raises, each of its cells alone, in the same mode. One that cannot be trained ends nothing
    but itself."""
    progress.start(f"{pack[0].task.name} {pack[0].method.name}")
    try:
        attempted = attempt(pack, settings, lambda steps: progress.update(steps * len(pack)))
    except StorageError:
        raise
    except UserError as error:  # the method refuses the task
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:2000]
    else:
        yield Finished(pack, *attempted)
        return
    if len(pack) == 1:
        yield Finished(pack, [Outcome(pack[0].record, Status.FAILED, reason)], None, None)
        return
    for cell in pack:
        yield from run_pack([cell], settings, progress)
