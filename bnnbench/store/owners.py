"""Names of processes that claim cells, and whether such a process lives."""

from __future__ import annotations

import os
import socket
import subprocess
from functools import cache
from pathlib import Path


def owner_id() -> str:
    """This process, `host:boot:pid:start`: a later process may have the same pid, but not the same start."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{_boot()}:{pid}:{_start(pid)}"


def lives(owner: str) -> bool | None:
    """Whether the owner is a living process of this machine; None where nothing can be known of it from here."""
    _, boot, pid, start = _parts(owner)
    if boot != _boot() or not pid.isdigit() or os.name != "posix":
        return None
    return _start(int(pid)) == start


def described(owner: str) -> str:
    """The owner in words."""
    host, _, pid, _ = _parts(owner)
    return f"process {pid} on {host}" if pid else owner


def _parts(owner: str) -> list[str]:
    """Host, boot, pid and start; without words where the name is not of this form."""
    parts = owner.rsplit(":", 3)
    return parts if len(parts) == 4 else ["", "", "", ""]


@cache
def _boot() -> str:
    """This boot of this machine, and the container that counts the pids; the host's name where neither is told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _start(pid: int) -> str | None:
    """When the process began, in the system's own words; None if there is no such process, or it is a zombie."""
    if Path("/proc/self/stat").exists():
        try:
            # The second field, the program's name in parentheses, may itself hold spaces and parentheses.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    if os.name != "posix":
        return "0"
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip().replace(":", ".") or None
