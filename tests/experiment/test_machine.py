"""What a run notes of its machine."""

import sys

import numpy as np
import psutil
import torch

import bnnbench
from bnnbench.experiment.machine import peak_memory_mb
from bnnbench.store.store import ResultStore


def test_the_command_names_no_folders_of_the_machine(tmp_path, monkeypatch):
    """A database that is passed on tells what was asked, not where somebody keeps files."""
    given = ["run", "--db", str(tmp_path / "a.db"), f"--artifacts={tmp_path}/x", "--set", "map.lr=1,2", "--task", "a/b"]
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/bnnbench", *given])
    bnnbench.run("constant", "toy-antoran", budget="smoke", db=tmp_path / "results.db", jobs=1)
    with ResultStore(tmp_path / "results.db", read_only=True) as store:
        wanted = "bnnbench run --db a.db --artifacts=x --set map.lr=1,2 --task a/b"
        assert store.sessions()["command"].tolist() == [wanted]


def test_the_peak_of_memory_is_kept():
    """It is no less than what is held just now, by the system's other counter, and stays when that is given back."""
    cpu, held = torch.device("cpu"), np.ones((100, 2**17))
    now = psutil.Process().memory_info().rss / 2**20
    assert now > 100
    peak = peak_memory_mb(cpu)
    assert peak > 0.99 * now  # the kernel counts pages in batches
    del held
    assert peak_memory_mb(cpu) >= peak
