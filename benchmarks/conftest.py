"""Timings: one process, fixed threads; ratios are taken within one run, since machines are noisy."""

import os

import pytest
import torch


@pytest.fixture(autouse=True)
def threads():
    """All cores, like `bnnbench run`."""
    torch.set_num_threads(os.cpu_count() or 1)
