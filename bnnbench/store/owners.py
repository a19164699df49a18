"""Names of processes that claim cells, and whether such a process is known to be dead."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path


def owner_id() -> str:
    """This process: `host:pid:start`; the start tells it from a later process with the same pid."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_start(pid)}"


def is_dead(owner: str) -> bool:
    """Whether the owner is a process of this host that lives no more; of others nothing can be known."""
    host, pid, start = [*owner.rsplit(":", 2), "", ""][:3]
    if host != socket.gethostname() or not pid.isdigit() or os.name != "posix":
        return False
    return _start(int(pid)) != start


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
