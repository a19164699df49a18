"""The device and the threads of a run."""

from __future__ import annotations

import os
from typing import Any

import torch

from bnnbench.arguments import text_of, whole_of
from bnnbench.errors import UserError


def device_of(value: Any) -> torch.device:
    """The device named `auto`, `cpu` or `cuda`.

    Raises:
        UserError: another name, or no CUDA device where one is asked for.
    """
    if (name := text_of(value, "--device")) not in {"auto", "cpu", "cuda"}:
        raise UserError(f"--device must be auto, cpu or cuda, not {name!r}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda was asked for and no CUDA device is available; use --device cpu or auto.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def set_threads(threads: int | None) -> None:
    """Use so many CPU threads, all cores for None.

    Raises:
        UserError: no such number, or more than the cores that this process may use.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(
        cores if threads is None else whole_of(threads, "--threads", cores, ", the cores that this process may use")
    )
    # Numbers below 1e-38 count as 0. A prior draws the weights of dead units there, and Intel's cores are some hundred
    # times slower with them. Threads take this over from the one that starts them, so it comes before all work.
    torch.set_flush_denormal(True)
