"""How long README's first command takes, on empty caches and beside processes that keep a core busy each.

    python benchmarks/first_command.py --busy 0,1,2 --jobs 1,2 --times 3

Every run has caches of its own, for kernels in C and for compiled steps, as after the install. Prints the seconds of
each run, their medians, and the load of the machine before each: figures of a machine that does something else say
little. Results are thrown away.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = ["run", "--methods", "map,ensemble-deep,mc-dropout,bbp-local", "--task", "starter", "--budget", "quick"]


@contextmanager
def busy(number: int) -> Iterator[None]:
    """So many processes that do nothing, as fast as they can."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def seconds(jobs: int) -> float:
    """The command with so many workers, from its start to its end; 0 for its own default."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "XDG_CACHE_HOME": str(folder / "cache")}
        options = [*(["--jobs", str(jobs)] if jobs else []), "--db", str(folder / "results.db")]
        command = [sys.executable, "-c", "from bnnbench.cli import main; main()", *COMMAND, *options]
        began = time.monotonic()
        subprocess.run(command, env=os.environ | caches, check=True, capture_output=True)
        return time.monotonic() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", default="0,1,2", help="numbers of busy processes")
    parser.add_argument("--jobs", default="0", help="numbers of workers, 0 for the command's default")
    parser.add_argument("--times", type=int, default=3, help="runs of each, in turn")
    given = parser.parse_args()
    cases = [(int(others), int(jobs)) for others in given.busy.split(",") for jobs in given.jobs.split(",")]
    found: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    for _ in range(given.times):
        for others, jobs in cases:
            load = os.getloadavg()[0]
            with busy(others):
                found[others, jobs].append(seconds(jobs))
            last = found[others, jobs][-1]
            print(f"{others} busy, jobs {jobs or 'default'}: {last:.0f} s (load {load:.1f})", flush=True)
    for (others, jobs), times in found.items():
        print(f"median beside {others} busy processes, jobs {jobs or 'default'}: {statistics.median(times):.0f} s")


if __name__ == "__main__":
    main()
