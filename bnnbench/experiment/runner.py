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
from bnnbench.errors import StorageError, UserError
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.experiment.attempt import Settings, attempt
from bnnbench.experiment.packing import all_packs, restricted
from bnnbench.experiment.progress import RunProgress
from bnnbench.experiment.rescore import add_evaluations
from bnnbench.experiment.waiting import AGAIN_S, awaited, heartbeat
from bnnbench.records import Outcome, Status
from bnnbench.store.owners import owner_id
from bnnbench.store.store import ResultStore


class Ended(NamedTuple):
    """How cells ended, with the sentence that is stored with them."""

    status: Status
    task: str
    method: str
    message: str


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
                for part, outcomes, evaluator, checkpoint in run_pack(pack, settings, progress):
                    store.record(session, outcomes, owner, settings.force)
                    if checkpoint is not None:
                        checkpoint.remove()
                    ended.update(Ended(o.status, o.cell.task, o.cell.method, o.message) for o in outcomes)
                    if evaluator is not None and part[0].test_sets:
                        progress.start(f"{part[0].task.name} {part[0].method.name}: further test sets")
                        with random.compiled_kernels(is_compiled(part[0], settings.device)):
                            faults += add_evaluations(store, evaluator)[1]
                    progress.finish(_line(part, outcomes), _work(part))
            waiting = restricted(waiting, unfinished(store, [c for pack in waiting for c in pack], settings.force))
            if waiting and len(waiting) == len(todo):
                line = awaited(store, fingerprints)
                progress.start(line)
                if line != told:
                    progress.say(line)
                told = line
                time.sleep(AGAIN_S)
            todo = waiting
    return ended, faults


def unfinished(store: ResultStore, cells: Sequence[Cell], force: bool = False) -> list[Cell]:
    """The cells that are to be trained, in the given order."""
    wanted = {record.fingerprint for record in store.missing([cell.record for cell in cells], force)} if cells else ()
    return [cell for cell in cells if cell.record.fingerprint in wanted]


def _work(pack: Sequence[Cell]) -> int:
    return sum(max(cell.steps, 1) for cell in pack)


def _line(pack: Sequence[Cell], outcomes: Sequence[Outcome]) -> str:
    counts = ", ".join(f"{n} {status.value}" for status, n in Counter(o.status for o in outcomes).items())
    first = pack[0]
    return f"{first.task.name} {first.rule} {first.method.name}: {counts} ({outcomes[0].wall_s:.1f} s)"


def run_pack(
    pack: Sequence[Cell], settings: Settings, progress: RunProgress
) -> Iterator[tuple[Sequence[Cell], list[Outcome], Evaluator | None, Checkpoint | None]]:
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
        yield pack, *attempted
        return
    if len(pack) == 1:
        yield pack, [Outcome(pack[0].record, Status.FAILED, reason)], None, None
        return
    for cell in pack:
        yield from run_pack([cell], settings, progress)
