"""One try at a pack: trained, scored, and turned into what the store records."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bnnbench import names, random
from bnnbench.engine.cell import Cell
from bnnbench.engine.checkpoint import Checkpoint
from bnnbench.engine.compile import is_compiled
from bnnbench.engine.fit import Trained, fit
from bnnbench.engine.pack import stack
from bnnbench.engine.packing import refuse_too_large
from bnnbench.engine.precision import FLOAT32
from bnnbench.engine.size import parameters
from bnnbench.engine.stored import to_arrays
from bnnbench.engine.train import History, OutOfTime
from bnnbench.evaluation.diagnostics import as_mapping
from bnnbench.evaluation.evaluate import evaluate
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.evaluation.rounding import significant
from bnnbench.experiment.machine import peak_memory_mb
from bnnbench.experiment.progress import Watcher
from bnnbench.records import Outcome, Status


@dataclass(frozen=True)
class Settings:
    """How packs are run; none of it is part of a cell's identity."""

    device: torch.device
    timeout: float | None = None
    force: bool = False
    checkpoints: Path | None = None  # the folder of unfinished trainings
    memory: float = math.inf  # bytes that the process of an isolated cell may take
    precision: str = FLOAT32  # of the products of large networks in training
    keep: bool = True  # posteriors, predictives and curves, beside the scores


Attempted = tuple[list[Outcome], Evaluator | None, Checkpoint | None]


def attempt(cells: Sequence[Cell], precision: str, settings: Settings, watcher: Watcher) -> Attempted:
    """Train a pack with updates of this precision, score it and say what came of each of its cells."""
    watcher.phase("preparing")
    compiled = is_compiled(cells[0], settings.device)
    start = time.monotonic()
    deadline = None if settings.timeout is None else start + settings.timeout
    if settings.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(settings.device)
    refuse_too_large(cells[0], settings.device)
    pack = stack(list(cells), settings.device)
    folder = settings.checkpoints
    checkpoint = None if folder is None else Checkpoint.of(folder, pack, compiled, precision)
    watcher.phase("compiling" if compiled else "training")
    try:
        fitted, history = fit(pack.method, pack, compiled, deadline, watcher.updates, checkpoint, precision)
    except OutOfTime as error:
        wall = time.monotonic() - start
        late = [Outcome(c.record, Status.TIMEOUT, str(error), wall_s=wall, pack_size=len(cells)) for c in cells]
        return late, None, checkpoint
    if settings.device.type == "cuda":
        torch.cuda.synchronize(settings.device)
    wall = history.earlier_s + time.monotonic() - start
    watcher.phase("scoring")
    evaluator = Evaluator(fitted)
    with random.compiled_kernels(compiled):  # the same numbers, ten times as fast
        evaluated = evaluate(evaluator, history)
    outcomes = []
    for r, cell in enumerate(cells):
        ok = bool(fitted.live[r])
        message = "" if ok else _divergence(int(history.diverged_at[r]))
        flagged = (
            cell.method.diagnose(as_mapping(evaluated[r].records, names.SAMPLER, names.TEST, names.CERTIFICATE))
            if ok
            else ""
        )
        outcomes.append(
            Outcome(
                cell=cell.record,
                status=Status.DIVERGED if not ok else Status.UNCONVERGED if flagged else Status.OK,
                message=message or flagged,
                steps=history.steps,
                gradients=history.gradients,
                step_kept=None if history.step_kept is None else int(np.median(history.step_kept[r])),
                compiled=compiled,
                pack_size=len(cells),
                wall_s=wall,
                peak_memory_mb=peak_memory_mb(settings.device),
                parameters=parameters(pack.problem.network) if history.gradients else 0,  # who trains none has none
                evaluations=evaluated[r].records if ok else (),
                curves=training_curves(history, r),
                artifacts=_artifacts(fitted, r, evaluated[r].kept) if ok else {},
            )
        )
    return outcomes if settings.keep else [scores_alone(each) for each in outcomes], evaluator, checkpoint


def scores_alone(outcome: Outcome) -> Outcome:
    """Without what takes room: curves, posterior and predictive."""
    evaluations = tuple(replace(evaluation, curves={}) for evaluation in outcome.evaluations)
    return replace(outcome, evaluations=evaluations, curves={}, artifacts={})


def _artifacts(fitted: Trained, replica: int, predictive: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """What is kept beside the database."""
    posterior = to_arrays(fitted, replica)
    return ({"posterior": posterior} if posterior else {}) | {"predictive": predictive}


def _divergence(step: int) -> str:
    if step < 0:
        return "the trained state holds values that are not finite"
    return f"the loss was not finite at update {step + 1}"


def training_curves(history: History, replica: int) -> dict[str, dict[str, np.ndarray]]:
    """Curves of one replica by name, as the store keeps them; none of what was not trained."""
    if not history.curves:
        return {}
    found = {"training": history.curves} | ({"recording": history.recording} if history.recording else {})
    own = {
        curve: significant({name: values if name == "step" else values[replica] for name, values in columns.items()})
        for curve, columns in found.items()
    }
    kept = history.step_kept
    return own | ({} if kept is None or kept.ndim == 1 else {"kept": {"step": kept[replica]}})
