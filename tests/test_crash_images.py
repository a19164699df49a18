"""Sudden death in the middle of a long training: the same command goes on from the checkpoint to the same scores."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import bnnbench
from bnnbench.tasks import TASKS

PLAN = "--methods map --task mnist --budget quick --threads 1 --device cpu"
KILLS = 3
# What the command line does, with a checkpoint at every validation check, and a word on where training began.
DRIVER = """
from bnnbench.cli import main
from bnnbench.engine import checkpoint
checkpoint.EVERY_S = 0.0
read = checkpoint.Checkpoint.read
def told(self):
    found = read(self)
    if found is not None:
        print("went on from", int(checkpoint.stored("", found)["step"]), flush=True)
    return found
checkpoint.Checkpoint.read = told
main()
"""


def start(db: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", DRIVER, "run", *PLAN.split(), "--db", str(db)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(run: subprocess.Popen) -> str:
    out, err = run.communicate(timeout=1500)
    assert run.returncode == 0, err
    return out


def written(db: Path) -> int:
    """When the checkpoint was last written, 0 if there is none."""
    folder = db.with_name("results.artifacts") / "checkpoints"
    return max((path.stat().st_mtime_ns for path in folder.glob("*.checkpoint")), default=0)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.timeout(3600)
def test_killed_trainings_go_on(data_root, tmp_path):
    if not TASKS.get("mnist").present(data_root):
        pytest.skip(f"the files of mnist are not in {data_root}")
    whole, db, draw, begun = tmp_path / "whole" / "results.db", tmp_path / "results.db", random.Random(0), []
    whole.parent.mkdir()
    for life in range(KILLS):
        before, run = written(db), start(db)
        while written(db) == before and run.poll() is None:
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 10))
        run.send_signal(signal.SIGKILL)
        out, err = run.communicate()
        assert run.returncode == -signal.SIGKILL, err
        begun += [int(line.split()[-1]) for line in out.splitlines() if line.startswith("went on from")]
        assert len(begun) == life
    out = finish(start(db))
    begun += [int(line.split()[-1]) for line in out.splitlines() if line.startswith("went on from")]
    assert 0 < begun[0] < begun[1] < begun[2]
    assert "1 ok now" in out
    assert not written(db)
    assert "went on" not in finish(start(whole))
    pd.testing.assert_frame_equal(bnnbench.scores(db), bnnbench.scores(whole), check_exact=True)
    assert not bnnbench.scores(db).empty
