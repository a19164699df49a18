"""What a run computes with; no part of a cell's identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from bnnbench.arguments import amount_of
from bnnbench.engine.precision import precision_of
from bnnbench.errors import UserError
from bnnbench.experiment.executors import Executor
from bnnbench.experiment.threads import large_threads


@dataclass(frozen=True)
class Resources:
    """Device, workers, threads and limits of a run.

    Attributes:
        executor: makes the workers.
        large_threads: CPU threads of a cell with a large network.
        precision: of the products of large networks in training.
        timeout: seconds after which a pack is stopped, None for never.
        memory: GB that the process of an estimator may take, None for half of the machine's.
    """

    device: torch.device
    executor: Executor
    large_threads: int
    precision: str
    timeout: float | None
    memory: float | None

    @classmethod
    def of(
        cls,
        device: Any,
        executor: Executor,
        threads: int | None,
        precision: str,
        timeout: float | None,
        memory: float | None,
    ) -> Resources:
        """As a user gives them.

        Raises:
            UserError: no such device, or a number that is none or out of its range.
        """
        if memory is not None and not executor.limits_memory:
            raise UserError("--memory is of processes of this machine; a Ray cluster watches over its own.")
        found = executor.device(device)
        return cls(
            found,
            executor,
            large_threads(threads),
            precision_of(precision, found, executor.here),
            None if timeout is None else amount_of(timeout, "--timeout", "seconds"),
            None if memory is None else amount_of(memory, "--memory", "gigabytes"),
        )
