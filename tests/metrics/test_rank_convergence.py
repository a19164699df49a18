"""Rank-normalised R-hat and bulk effective size against arviz, and what only ranks can find."""

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats

from bnnbench.metrics.convergence import bulk_size, rank_normalised, rank_rhat, split_rhat


def chains(seed=0, draws=200, drift=0.0):
    """Five autocorrelated chains of three quantities, one of which repeats values as a Metropolis test does."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(5, draws, 3))
    for t in range(1, draws):
        x[:, t] += 0.6 * x[:, t - 1]
    x[:, 20:40, 1] = x[:, 19:20, 1]
    return torch.tensor(x + drift * np.arange(5)[:, None, None])


@pytest.mark.parametrize("drift", [0.0, 0.1])
@pytest.mark.parametrize("draws", [60, 61, 200])
def test_rhat_is_that_of_arviz(draws, drift):
    x = chains(draws=draws, drift=drift)
    want = [float(array_stats.rhat(x[..., q].numpy(), method="rank")) for q in range(3)]
    assert rank_rhat(x).tolist() == pytest.approx(want, rel=1e-9)


def test_bulk_size_is_near_that_of_arviz():
    """Which adds a last term to the sum that the paper does not have."""
    x = chains(draws=1000)
    want = [float(array_stats.ess(x[..., q].numpy(), method="bulk")) for q in range(3)]
    assert bulk_size(x).tolist() == pytest.approx(want, rel=0.05)


def test_ranks_by_hand():
    """Four values of ranks 1, 2.5, 2.5 and 4: Phi^-1((r - 3/8) / 4.25)."""
    z = rank_normalised(torch.tensor([[1.0, 5.0], [5.0, 9.0]]).double()).flatten()
    assert z.tolist() == pytest.approx([-1.0491314, 0.0, 0.0, 1.0491314], abs=1e-6)


def test_heavy_tails_and_different_scales_are_found():
    """Chains of one location and different scales, and a Cauchy chain that has moved: R-hat of the values sees
    neither, that of ranks both."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 500, 2, generator=generator, dtype=torch.float64)
    x[0, :, 0] *= 3
    x[..., 1] = torch.tan(np.pi * (torch.rand(4, 500, generator=generator, dtype=torch.float64) - 0.5))
    x[0, :, 1] += 2
    assert (split_rhat(x) < 1.02).all()
    assert (rank_rhat(x) > 1.05).all()


def test_what_never_moves_agrees():
    assert rank_rhat(torch.zeros(4, 10, 1).double()).item() == 1
