"""What a run notes of its machine."""

import numpy as np
import psutil
import torch

from bnnbench.experiment.machine import peak_memory_mb


def test_the_peak_of_memory_is_kept():
    """It is no less than what is held just now, by the system's other counter, and stays when that is given back."""
    cpu, held = torch.device("cpu"), np.ones((100, 2**17))
    now = psutil.Process().memory_info().rss / 2**20
    assert now > 100
    peak = peak_memory_mb(cpu)
    assert peak > 0.99 * now  # the kernel counts pages in batches
    del held
    assert peak_memory_mb(cpu) >= peak
