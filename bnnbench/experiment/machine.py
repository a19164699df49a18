"""The machine of a run: its device, and who computes with what."""

from __future__ import annotations

import platform
import shlex
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from bnnbench._version import __version__
from bnnbench.arguments import text_of
from bnnbench.engine.precision import FLOAT32, is_rounded
from bnnbench.errors import UserError
from bnnbench.records import SessionRecord

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "sqlalchemy")


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


def session_record(device: torch.device, asked_by: str, threads: int, precision: str = FLOAT32) -> SessionRecord:
    """Who computes, with what, how many CPU threads and products of which precision, by which command."""
    revision, dirty = _revision()
    return SessionRecord(
        revision=revision,
        dirty=dirty,
        versions={"python": platform.python_version(), "bnnbench": __version__} | _versions(),
        device=_name(device, precision),
        host=socket.gethostname(),
        threads=threads,
        command=asked_by,
    )


def command() -> str:
    """The command line of this process; of absolute paths the names, for their folders exist on this machine alone."""
    words = [Path(sys.argv[0]).name, *map(_without_folders, sys.argv[1:])]
    return shlex.join(words).encode(errors="backslashreplace").decode()


def _without_folders(word: str) -> str:
    option, equals, value = word.rpartition("=")
    return option + equals + (Path(value).name if Path(value).is_absolute() else value)


def peak_memory_mb(device: torch.device) -> float:
    """High-water mark in MiB: of the GPU since the last reset, or on a CPU of the whole process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":  # psutil knows no peak elsewhere, and Windows has no getrusage
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _name(device: torch.device, precision: str) -> str:
    """`AMD EPYC`, or `AMD EPYC, products in bf16`: a device of its own, whose times and numbers are others."""
    if device.type == "cuda" and not torch.cuda.is_available():  # who drives a cluster may have none
        return _processor()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return f"{name}, products in {precision}" if precision != FLOAT32 and is_rounded(precision, device) else name


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # pragma: no cover - a broken installation is none of provenance's business
            continue
    return found


def _revision() -> tuple[str, bool]:
    """Git revision of the checkout bnnbench runs from, and whether tracked code differs from it."""
    folder = Path(__file__).resolve().parents[1]
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        return revision, bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "--", str(folder)))
    except (OSError, subprocess.SubprocessError):
        return f"release {__version__}", False


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=10).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
