"""What `bnnbench check` finds, kept in a database, where reports set implementations of one algorithm side by side."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence

import torch

from bnnbench.checks.compare import Verdict
from bnnbench.engine.cell import configuration, label
from bnnbench.experiment.definitions import method_record
from bnnbench.experiment.machine import command, session_record
from bnnbench.methods import Inference
from bnnbench.store.store import ResultStore


def store_verdicts(method: Inference, verdicts: Sequence[Verdict], db: str | os.PathLike[str], threads: int) -> None:
    """Store the verdicts on a configuration, in place of earlier ones.

    Raises:
        UserError: an unusable database.
    """
    record = method_record(method)
    with ResultStore(db) as store:
        store.register([record])
        session = store.start_session(session_record(torch.device("cpu"), command(), threads))
        store.add_verdicts(session, record, configuration(method), label(method), map(_row, verdicts))


def _row(verdict: Verdict) -> dict:
    """A figure that is not finite is no number of a database; the verdict stays."""
    row = dataclasses.asdict(verdict)
    finite = {name: row[name] for name in ("figure", "limit") if row[name] is not None and math.isfinite(row[name])}
    passed = None if verdict.passed is None else bool(verdict.passed)
    return row | {name: finite.get(name) for name in ("figure", "limit")} | {"passed": passed}
