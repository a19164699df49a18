"""The runner: claims packs, trains and scores them, and stores one transaction a pack."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bnnbench import metrics, random
from bnnbench.errors import UserError
from bnnbench.methods import METHODS
from bnnbench.run.checkpoint import Checkpoint
from bnnbench.run.compile import is_compiled
from bnnbench.run.diagnostics import DIAGNOSTICS, as_mapping
from bnnbench.run.evaluate import evaluate
from bnnbench.run.pack import pack_limit, stack
from bnnbench.run.plan import Cell, packs, structure
from bnnbench.run.posterior import to_arrays
from bnnbench.run.progress import RunProgress
from bnnbench.run.provenance import peak_memory_mb
from bnnbench.run.shifts import add_evaluations
from bnnbench.run.size import parameters
from bnnbench.run.train import OutOfTime, Progress, Trained, train
from bnnbench.store.owners import owner_id
from bnnbench.store.records import CellRecord, MethodRecord, MetricRecord, Outcome, Status, TaskRecord
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS

HEARTBEAT_S = 15.0  # a claim lapses after 60 s without one
MEMORY_SHARE = 0.25  # of the device's memory, for one pack


@dataclass(frozen=True)
class Settings:
    """How packs are run; none of it is part of a cell's identity."""

    device: torch.device
    timeout: float | None = None
    force: bool = False
    checkpoints: Path | None = None  # the folder of unfinished trainings


Definitions = tuple[list[MethodRecord], list[TaskRecord], list[MetricRecord]]


def definitions(cells: Sequence[Cell]) -> Definitions:
    """What a report needs of everything in the plan."""
    methods = {name: order for order, name in enumerate(METHODS.names())}
    tasks = {name: order for order, name in enumerate(TASKS.names())}
    used_methods = {type(cell.method): None for cell in cells}
    used_tasks = {cell.task.name: cell for cell in cells}
    return (
        [MethodRecord(m.name, m.version, m.reference, m.tags, methods[m.name]) for m in used_methods],
        [
            TaskRecord(
                name=cell.task.name,
                version=cell.record.task_version,
                kind=cell.task.kind,
                groups=cell.task.groups,
                reference=cell.task.reference,
                order=tasks[cell.task.name],
                notes=cell.task.data(cell.root).notes,
            )
            for cell in used_tasks.values()
        ],
        [*(metric.record() for metric in metrics.METRICS), *DIAGNOSTICS],
    )


def is_registered(store: ResultStore, wanted: Definitions) -> bool:
    """Whether the store has these definitions, and has them as the current ones."""
    for frame, records in zip((store.methods(), store.tasks(), store.metrics()), wanted, strict=True):
        known = {row["name"]: row for row in frame.to_dict("records")}
        for record in records:
            row = known.get(record.name, {})
            if any(row.get(k) != (list(v) if isinstance(v, tuple) else v) for k, v in vars(record).items()):
                return False
    return True


def run_cells(
    store: ResultStore,
    cells: Sequence[Cell],
    missing: Collection[Cell],
    start_session: Callable[[], int],
    settings: Settings,
    progress: RunProgress,
) -> Counter[Status]:
    """Train, score and store the missing cells of a plan; returns how many ended in which status.

    A pack that another process holds is left to it; at the end this one waits for what the others finish or drop.
    """
    todo = _restricted(all_packs(cells, settings.device), missing)
    records = {cell: cell.record for cell in missing}
    statuses, session, owner = Counter(), None, owner_id()
    with _heartbeat(store, owner):
        while todo:
            waiting = []
            for pack in todo:
                if not store.claim([records[cell] for cell in pack], owner, settings.force):
                    waiting.append(pack)
                    continue
                session = start_session() if session is None else session
                for cells, outcomes, trained, checkpoint in _run_pack(pack, settings, progress):
                    store.record(session, outcomes, owner, settings.force)
                    if checkpoint is not None:
                        checkpoint.remove()
                    statuses.update(outcome.status for outcome in outcomes)
                    if trained is not None and cells[0].shifts:
                        progress.start(f"{cells[0].task.name} {cells[0].method.name}: shifted test sets")
                        with random.compiled_kernels(is_compiled(cells[0], settings.device)):
                            add_evaluations(store, trained)
                    progress.finish(_line(cells, outcomes), _work(cells))
            still = unfinished(store, {cell: records[cell] for pack in waiting for cell in pack}, settings.force)
            waiting = _restricted(waiting, still)
            if waiting and len(waiting) == len(todo):
                progress.start("waiting for another process")
                time.sleep(1.0)
            todo = waiting
    return statuses


def unfinished(store: ResultStore, cells: Mapping[Cell, CellRecord], force: bool = False) -> list[Cell]:
    """The cells that are to be trained, in the given order."""
    wanted = {record.fingerprint for record in store.missing(cells.values(), force)} if cells else set()
    return [cell for cell, record in cells.items() if record.fingerprint in wanted]


def _restricted(packs: Sequence[Sequence[Cell]], cells: Collection[Cell]) -> list[list[Cell]]:
    """The packs with these cells alone."""
    among = set(cells)
    left = ([cell for cell in pack if cell in among] for pack in packs)
    return [pack for pack in left if pack]


def all_packs(cells: Sequence[Cell], device: torch.device) -> list[list[Cell]]:
    """Packs of the whole plan, as large as memory allows."""
    limits: dict[tuple, int] = {}
    for cell in cells:
        limits.setdefault(structure(cell), pack_limit(cell, _memory(device), device))
    return packs(cells, limits)


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(MEMORY_SHARE * torch.cuda.get_device_properties(device).total_memory)
    return 2 * 2**30  # a fixed share: packs, hence numbers, must not depend on what else runs on a machine


def _work(pack: Sequence[Cell]) -> int:
    return sum(max(cell.steps, 1) for cell in pack)


def _line(pack: Sequence[Cell], outcomes: Sequence[Outcome]) -> str:
    counts = ", ".join(f"{n} {status.value}" for status, n in Counter(o.status for o in outcomes).items())
    first = pack[0]
    return f"{first.task.name} {first.rule} {first.method.name}: {counts} ({outcomes[0].wall_s:.1f} s)"


Attempted = tuple[list[Outcome], Trained | None, Checkpoint | None]


def _run_pack(
    pack: Sequence[Cell], settings: Settings, progress: RunProgress
) -> Iterator[tuple[Sequence[Cell], list[Outcome], Trained | None, Checkpoint | None]]:
    """Train a pack; if it raises, each of its cells alone, in the same mode."""
    progress.start(f"{pack[0].task.name} {pack[0].method.name}")
    try:
        attempted = _attempt(pack, settings, lambda steps: progress.update(steps * len(pack)))
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:2000]
    else:
        yield pack, *attempted
        return
    if len(pack) == 1:
        yield pack, [Outcome(pack[0].record, Status.FAILED, reason)], None, None
        return
    for cell in pack:
        yield from _run_pack([cell], settings, progress)


def _attempt(cells: Sequence[Cell], settings: Settings, progress: Progress) -> Attempted:
    compiled = is_compiled(cells[0], settings.device)
    start = time.monotonic()
    deadline = None if settings.timeout is None else start + settings.timeout
    if settings.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(settings.device)
    pack = stack(list(cells), settings.device)
    folder = settings.checkpoints
    checkpoint = None if folder is None else Checkpoint.of(folder, pack, compiled)
    try:
        trained = train(pack, compiled, deadline, progress, checkpoint)
    except OutOfTime as error:
        wall = time.monotonic() - start
        late = [Outcome(c.record, Status.TIMEOUT, str(error), wall_s=wall, pack_size=len(cells)) for c in cells]
        return late, None, checkpoint
    if settings.device.type == "cuda":
        torch.cuda.synchronize(settings.device)
    wall = trained.earlier_s + time.monotonic() - start
    with random.compiled_kernels(compiled):  # the same numbers, ten times as fast
        evaluated = evaluate(trained)
    outcomes = []
    for r, cell in enumerate(cells):
        ok = bool(trained.live[r])
        message = "" if ok else _divergence(int(trained.diverged_at[r]))
        doubts = cell.method.doubts(as_mapping(evaluated[r].records, "sampler", "test")) if ok else ""
        outcomes.append(
            Outcome(
                cell=cell.record,
                status=Status.DIVERGED if not ok else Status.UNCONVERGED if doubts else Status.OK,
                message=message or doubts,
                steps=trained.steps,
                gradients=trained.steps * cell.method.networks,
                step_kept=None if trained.step_kept is None else int(trained.step_kept[r]),
                compiled=compiled,
                pack_size=len(cells),
                wall_s=wall,
                peak_memory_mb=peak_memory_mb(settings.device),
                parameters=parameters(pack.problem.network),
                evaluations=evaluated[r].records if ok else (),
                curves=_training_curve(trained, r),
                artifacts={"posterior": to_arrays(trained, r), "predictive": evaluated[r].kept} if ok else {},
            )
        )
    return outcomes, trained, checkpoint


def _divergence(step: int) -> str:
    if step < 0:
        return "the trained state holds values that are not finite"
    return f"the loss was not finite at update {step + 1}"


def _training_curve(trained: Trained, replica: int) -> dict[str, dict[str, np.ndarray]]:
    curves = trained.curves
    if not curves:
        return {}
    found = {"training": curves} | ({"recording": trained.recording} if trained.recording else {})
    return {
        curve: {name: values if name == "step" else values[replica] for name, values in columns.items()}
        for curve, columns in found.items()
    }


@contextmanager
def _heartbeat(store: ResultStore, owner: str) -> Iterator[None]:
    """Signs of life while packs train; on the way out everything still claimed is given back."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_S):
            store.heartbeat(owner)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        store.release(owner)
