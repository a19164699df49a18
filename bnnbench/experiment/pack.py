"""A claimed pack: trained, scored and stored, in whatever process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bnnbench import random
from bnnbench.engine.cell import Cell
from bnnbench.engine.checkpoint import Checkpoint
from bnnbench.engine.compile import is_compiled
from bnnbench.errors import StorageError, UserError, told
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.experiment.attempt import Settings, attempt
from bnnbench.experiment.distance import Recorder
from bnnbench.experiment.progress import Watcher
from bnnbench.experiment.rescore import add_evaluations
from bnnbench.experiment.threads import threads
from bnnbench.records import Outcome, Status


@dataclass(frozen=True)
class Order:
    """What is to be done with a pack.

    Attributes:
        cells: the pack, which `owner` has claimed.
        session: id of the session that its attempts belong to. threads, precision: what that session computes with.
    """

    cells: Sequence[Cell]
    owner: str
    session: int
    threads: int
    precision: str


class Ended(NamedTuple):
    """How a cell ended, with the sentence that is stored with it."""

    status: Status
    task: str
    method: str
    message: str


class Stored(NamedTuple):
    """Cells that were tried together and are stored.

    Attributes:
        fingerprints, ended: of each of them, in the same order.
        line: what became of them, in words. faults: why further test sets could not be scored.
    """

    fingerprints: tuple[str, ...]
    ended: tuple[Ended, ...]
    line: str
    faults: tuple[str, ...] = ()


class _Tried(NamedTuple):
    """What became of cells that were tried together; the pack and its checkpoint, where it was trained."""

    cells: Sequence[Cell]
    outcomes: list[Outcome]
    evaluator: Evaluator | None
    checkpoint: Checkpoint | None


def carry_out(store: Recorder, order: Order, settings: Settings, watcher: Watcher) -> Iterator[Stored]:
    """Train a claimed pack, score it and store it with its further test sets."""
    with threads(order.threads):
        for tried in run_pack(order.cells, order.precision, settings, watcher):
            store.record(order.session, tried.outcomes, order.owner, settings.force)
            yield stored(tried.cells, tried.outcomes, _completed(store, tried, settings, watcher))


def stored(cells: Sequence[Cell], outcomes: Sequence[Outcome], faults: Sequence[str] = ()) -> Stored:
    """What is told of cells whose outcomes are in the database."""
    first, counts = cells[0], Counter(outcome.status.value for outcome in outcomes)
    said = ", ".join(f"{number} {status}" for status, number in counts.items())
    return Stored(
        tuple(outcome.cell.fingerprint for outcome in outcomes),
        tuple(Ended(o.status, o.cell.task, o.cell.method, o.message) for o in outcomes),
        f"{first.task.name} {first.rule} {first.method.name}: {said} ({outcomes[0].wall_s:.1f} s)",
        tuple(faults),
    )


def _completed(store: Recorder, tried: _Tried, settings: Settings, watcher: Watcher) -> list[str]:
    """What follows once cells are stored: their further test sets and calibrations; returns why some could not be
    scored."""
    if tried.checkpoint is not None:
        tried.checkpoint.remove()
    first = tried.cells[0]
    if tried.evaluator is None or not (first.test_sets or first.calibrations):
        return []
    watcher.phase("scoring further test sets of")
    with random.compiled_kernels(is_compiled(first, settings.device)):
        return add_evaluations(store, tried.evaluator)[1]


def run_pack(pack: Sequence[Cell], precision: str, settings: Settings, watcher: Watcher) -> Iterator[_Tried]:
    """Train a pack; if it raises, each of its cells alone, in the same mode. One that cannot be trained ends nothing
    but itself."""
    try:
        attempted = attempt(pack, precision, settings, watcher)
    except StorageError:
        raise
    except UserError as error:  # the method refuses the task
        reason = str(error)
    except Exception as error:
        reason = told(error)[:2000]
    else:
        yield _Tried(pack, *attempted)
        return
    if len(pack) == 1:
        yield _Tried(pack, [Outcome(pack[0].record, Status.FAILED, reason)], None, None)
        return
    for cell in pack:
        yield from run_pack([cell], precision, settings, watcher)


def work(cells: Sequence[Cell]) -> int:
    """Updates that training takes, at least one a cell."""
    return sum(max(cell.steps, 1) for cell in cells)
