"""Plain records that the runner hands to the store; no SQLAlchemy, no torch."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bnnbench import names


class Status(enum.StrEnum):
    """What became of a cell."""

    OK = "ok"
    DIVERGED = "diverged"
    FAILED = "failed"
    TIMEOUT = "timeout"
    UNCONVERGED = "unconverged"

    @property
    def finished(self) -> bool:
        """Whether the cell is done: only a failed one is tried again."""
        return self is not Status.FAILED

    @property
    def sentence(self) -> str:
        """The status in words, for reports."""
        return {
            "ok": "trained and scored",
            "diverged": "the loss became NaN or infinite; recorded and not scored",
            "failed": "stopped by an error; tried again by the next run",
            "timeout": "stopped by --timeout before its budget was spent; not scored",
            "unconverged": "trained, but its own convergence diagnostics failed",
        }[self.value]


class Origin(enum.StrEnum):
    """Where the predictions of a cell come from."""

    TRAINED = "trained"  # here, by a method of the suite or of a plug-in
    EXTERNAL = "external"  # made elsewhere, scored here


class Purpose(enum.StrEnum):
    """What a cell was run for."""

    RESULT = "result"
    TUNE = "tune"  # a trial of hyperparameters, which stands in no table of results
    TUNED = "tuned"  # a result of the hyperparameters that trials chose on its own validation rows


SCORED = (Status.OK.value, Status.UNCONVERGED.value)  # of cells that have scores


@dataclass(frozen=True, order=True)
class CellRecord:
    """The unit of work; its fingerprint is its identity.

    Attributes:
        task, task_version: registered name, and version with the data checksum (`1+sha256:12 hex digits`).
        method, method_version: registered name and integer version.
        config: complete configuration as canonical JSON (sorted keys, defaults filled in).
        label: what of it differs from the defaults, `default` if nothing (`lr=0.01,samples=50`), `trial-03` of a trial,
            `tuned-16` of what the best of so many chose; no identity of a usual result.
        rule, index: split rule and which of its splits.
        seed: training seed.
        budget: `smoke`, `quick`, `full` or `long`.
        origin: where its predictions come from; not identity, for no external method bears the name of another.
        purpose: what it was run for.
    """

    task: str
    task_version: str
    method: str
    method_version: int
    config: str
    label: str
    rule: str
    index: int
    seed: int
    budget: str
    origin: str = Origin.TRAINED.value
    purpose: str = Purpose.RESULT.value

    @property
    def split(self) -> str:
        """Rule and index in one word, `10fold-3`."""
        return names.split(self.rule, self.index)

    @property
    def fingerprint(self) -> str:
        """sha256 over everything that defines the numbers."""
        identity = [self.task, self.task_version, self.method, self.method_version, self.config]
        identity += [self.rule, self.index, self.seed, self.budget]
        if self.purpose != Purpose.RESULT:  # the best trial may be the defaults, and is another cell all the same
            identity += [self.purpose, self.label]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


@dataclass(frozen=True)
class MethodRecord:
    """What a report needs to know of a method.

    Attributes:
        order: fixes its row, colour and marker everywhere.
        role: `baseline` (there to be beaten), `reference` (gold standard or exact) or `method`.
        other_target: whether it approximates something else than the posterior of the task.
        implements: the method that is the same algorithm in another implementation; empty: none.
    """

    name: str
    version: int
    citation: str
    tags: tuple[str, ...]
    order: int
    role: str = "method"
    other_target: bool = False
    implements: str = ""


@dataclass(frozen=True)
class TaskRecord:
    """What a report needs to know of a task; `notes` stand under its table, a `warning` over those of its group."""

    name: str
    version: str
    kind: str
    groups: tuple[str, ...]
    citation: str
    order: int
    notes: tuple[str, ...] = ()
    warning: str = ""


@dataclass(frozen=True)
class MetricRecord:
    """Definition of a metric.

    Attributes:
        better: +1 for higher, -1 for lower, 0 for neither.
        kinds: kinds of tasks that it scores.
        headline: whether the reports' main tables show it.
        order: fixes its place among the tables.
    """

    name: str
    better: int
    unit: str
    summary: str
    kinds: tuple[str, ...] = ()
    headline: bool = False
    order: int = 0


@dataclass(frozen=True)
class SessionRecord:
    """Provenance of one `bnnbench run`: who computed, with what, asked by which command."""

    revision: str
    dirty: bool
    versions: Mapping[str, str]
    device: str
    host: str
    threads: int
    command: str


@dataclass(frozen=True)
class Score:
    """One metric value with its standard error over test points (None where there is none)."""

    metric: str
    value: float
    stderr: float | None


Series = Mapping[str, np.ndarray | list[float]]  # named columns of equal length: one figure's data


@dataclass(frozen=True)
class EvaluationRecord:
    """A posterior scored on one test set (`test`, `train`, `rotation-090` ...) of n points."""

    name: str
    n: int
    scores: tuple[Score, ...]
    curves: Mapping[str, Series] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of one cell.

    Attributes:
        gradients: minibatch gradients spent in total, over all networks or chains of the cell.
        step_kept: step whose state was kept by early stopping, None without; of several networks the median, the
            curve `kept` holding each one's.
        wall_s, pack_size: seconds of the whole pack, and how many cells shared them.
        curves: training curves by name.
        artifacts: kind (`posterior`, `predictive`) -> named arrays, written beside the database.
        source: sha256 of predictions that were made elsewhere, None of a cell that was trained.
    """

    cell: CellRecord
    status: Status
    message: str = ""
    steps: int = 0
    gradients: int = 0
    step_kept: int | None = None
    compiled: bool = False
    pack_size: int = 1
    wall_s: float = 0.0
    peak_memory_mb: float = 0.0
    parameters: int = 0
    evaluations: tuple[EvaluationRecord, ...] = ()
    curves: Mapping[str, Series] = field(default_factory=dict)
    artifacts: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    source: str | None = None


def canonical(config: Mapping[str, Any]) -> str:
    """Canonical JSON of a configuration: sorted keys, no spaces."""
    return json.dumps(dict(config), sort_keys=True, separators=(",", ":"))
