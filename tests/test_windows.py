"""What Windows has not: no module of bnnbench needs it to be imported, and commands do without.

A simulation in a process of its own, on whatever system the tests run on. `pyright --pythonplatform Windows` looks at
what is never called here.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bnnbench

PACKAGE = Path(bnnbench.__file__).parent

# The libraries come first, for their builds for this system may need what those for Windows do without.
WITHOUT = """
import collections, importlib, importlib.abc, os, pkgutil, signal, subprocess, sys, types, warnings

for library in ("alembic.command", "click", "matplotlib.pyplot", "pooch", "psutil", "requests", "rich.progress",
                "safetensors.numpy", "scipy.stats", "seaborn", "sklearn.datasets", "sqlalchemy.orm", "torch._dynamo"):
    importlib.import_module(library)

MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
NAMES = {
    os: '''chown chroot ctermid fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp
           getpriority getsid getuid initgroups killpg lchown major makedev minor mkfifo mknod nice openpty pathconf
           pipe2 posix_fadvise posix_fallocate posix_spawn posix_spawnp pread pwrite register_at_fork
           sched_getaffinity sched_setaffinity sched_yield sendfile setegid seteuid setgid setgroups setpgid setpriority
           setsid setuid statvfs sync sysconf tcgetpgrp uname wait wait3 wait4 waitid
           O_CLOEXEC O_DIRECTORY O_DSYNC O_NOFOLLOW O_NONBLOCK O_SYNC RTLD_NOW WNOHANG WUNTRACED''',
    signal: '''SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2
               alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait''',
}

def copy_of(module):
    copy = types.ModuleType(module.__name__)
    copy.__dict__.update(module.__dict__)
    return copy

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

subprocess.os, subprocess.signal = copy_of(os), copy_of(signal)  # it cannot do without
sys.meta_path.insert(0, Absent())
for module in MODULES:
    sys.modules.pop(module, None)
for module, names in NAMES.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
import psutil
Memory = collections.namedtuple("Memory", "rss peak_wset")  # as psutil gives it on Windows
psutil.Process.memory_info = lambda self: Memory(rss=2**20, peak_wset=3 * 2**20)
sys.platform = "win32"
warnings.filterwarnings("error", category=EncodingWarning, module="bnnbench")  # UTF-8 is no default there
"""

WALK = """
import bnnbench
for found in pkgutil.walk_packages(bnnbench.__path__, "bnnbench."):
    importlib.import_module(found.name)
    print(found.name)
"""

COMMANDS = """
from bnnbench.cli import main
for line in (
    "--help",
    "list methods",
    "run --methods constant,map --task diabetes --splits 0 --budget smoke --db mine.db",
    "export --db mine.db --out scores.csv",
    "report --db mine.db --out report",
):
    main(line.split(), standalone_mode=False)
from bnnbench.store.store import ResultStore
with ResultStore("mine.db", read_only=True) as store:
    print("PEAKS", *sorted(set(store.attempts()["peak_memory_mb"])))
"""


def without(code: str, folder: Path) -> str:
    """What a program says that runs as on Windows."""
    program = [sys.executable, "-X", "warn_default_encoding", "-c", WITHOUT + code]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_module_is_imported(tmp_path: Path) -> None:
    said = set(without(WALK, tmp_path).split())
    files = [path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py")]
    modules = {".".join(file.parts).removesuffix(".__init__") for file in files if file.parts[-2] != "versions"}
    assert modules - said == {"bnnbench", "bnnbench.store.migrations.env"}  # alembic runs the latter, as all versions


@pytest.mark.slow
def test_a_run_and_its_report(tmp_path: Path) -> None:
    said = without(COMMANDS, tmp_path)
    assert "2 cells: 0 finished before, 2 ok now" in said
    assert said.splitlines()[-1] == "PEAKS 3.0"
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8").startswith("task,method,")
    assert (tmp_path / "report" / "index.md").is_file()
