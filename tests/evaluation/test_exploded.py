"""Which draws have exploded: against scipy, and what is no explosion."""

import numpy as np
import pytest
import torch
from scipy import stats

from bnnbench.evaluation.diagnostics import MARGIN, share_exploded
from bnnbench.model import CategoricalPredictive, GaussianPredictive

RNG = np.random.default_rng(0)
Y = RNG.normal(5.0, 2.0, 101)


def share(mean, scale):
    mixture = GaussianPredictive(torch.as_tensor(mean).float(), torch.as_tensor(scale).float())
    return share_exploded(mixture, torch.as_tensor(Y), 5.0, 2.0)


def test_against_scipy():
    """200 components of all scales and errors, half of them exploded by the definition."""
    scale = np.exp(RNG.normal(0.7, 1.0, (200, 1))) * np.ones((200, 101))
    mean = Y + RNG.normal(0.0, np.exp(RNG.normal(1.3, 1.0, (200, 1))), (200, 101))
    lost = stats.norm(5.0, 2.0).logpdf(Y) - stats.norm(mean, np.maximum(scale, 2.0)).logpdf(Y)
    expected = (np.median(lost, 1) > MARGIN).mean()
    assert 0.2 < expected < 0.8
    assert share(mean, scale) == pytest.approx(expected, abs=0.011)


def test_a_guess_and_a_sound_network_sure_of_one_wrong_row_have_not_exploded():
    mean, scale = np.full((2, 101), 5.0), np.full((2, 101), 2.0)
    mean[1], scale[1] = Y, 0.01
    mean[1, 3] = Y[3] + 10  # -500,000 nats
    assert share(mean, scale) == 0.0


def test_to_be_too_sure_of_a_fair_prediction_is_no_explosion():
    """Off by a quarter of the targets' spread with a hundredth of it for its own: -310 nats on all rows."""
    assert share(Y[None] + 0.5, np.full((1, 101), 0.02)) == 0.0
    assert share(Y[None] + 5.0, np.full((1, 101), 0.02)) == 1.0


def test_one_draw_in_four():
    mean = np.tile(Y, (4, 1))
    scale = np.ones((4, 101))
    mean[2] += 1e9
    assert share(mean, scale) == 0.25
    mean[2] = np.nan
    assert share(mean, scale) == 0.25
    mean[2], scale[2] = Y, np.inf
    assert share(mean, scale) == 0.25


def test_classes():
    """A guess is log(1/3) on every row: a network that is sure of a wrong class on most rows has exploded."""
    y = torch.arange(30) % 3
    right = torch.full((30, 3), 0.1).scatter_(1, y[:, None], 0.8).log()
    wrong = torch.full((30, 3), 0.0005).scatter_(1, ((y + 1) % 3)[:, None], 0.999).log()
    some = right.clone()
    some[:14] = wrong[:14]
    mixture = CategoricalPredictive(torch.stack([right, wrong, some, torch.full((30, 3), 1 / 3).log()]))
    assert share_exploded(mixture, y, 0.0, 1.0) == 0.25
