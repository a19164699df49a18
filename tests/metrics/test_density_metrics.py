"""Scores of densities against closed forms."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from bnnbench.metrics import score
from bnnbench.model import DensityPredictive, DensityTruth

P, Q = Normal(torch.tensor(0.2, dtype=torch.float64), 0.7), Normal(torch.tensor(-0.1, dtype=torch.float64), 0.9)


def plane(law, x):
    return law.log_prob(x).sum(-1)


def scores(*arguments, kind="density", **more):
    return {s.metric: s for s in score(*arguments, kind=kind, **more)}


def test_a_grid_gives_the_closed_form():
    side = torch.linspace(-8, 8, 401, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)
    area = torch.full((len(x),), float(side[1] - side[0]) ** 2, dtype=x.dtype)
    found = scores(DensityPredictive(plane(Q, x)[None]), None, None, truth=DensityTruth(plane(P, x), area))
    assert set(found) == {"kl_reverse", "mass"}
    assert found["mass"].value == pytest.approx(1, abs=1e-9)
    assert found["kl_reverse"].value == pytest.approx(2 * float(kl_divergence(Q, P)), abs=1e-9)


def test_cells_without_density_add_nothing_to_the_divergence():
    log_q, log_p = torch.tensor([0.0, -math.inf]), torch.tensor([-1.0, -2.0])
    found = scores(DensityPredictive(log_q[None]), None, None, truth=DensityTruth(log_p, torch.ones(2)))
    assert found["kl_reverse"].value == 1.0


def test_draws_give_the_closed_form_within_their_error():
    torch.manual_seed(0)
    x = P.sample((200_000, 2))
    truth = DensityTruth(plane(P, x), torch.zeros(len(x)))
    found = scores(DensityPredictive(plane(Q, x)[None]), torch.zeros(len(x)), None, truth=truth)
    assert set(found) == {"nll", "nll_floor", "kl_forward"}
    entropy, kl = 2 * float(P.entropy()), 2 * float(kl_divergence(P, Q))
    for name, value in {"nll": entropy + kl, "nll_floor": entropy, "kl_forward": kl}.items():
        assert abs(found[name].value - value) < 5 * found[name].stderr
    assert found["kl_forward"].stderr < found["nll"].stderr  # what both have in common is taken out


def test_bounds_by_hand():
    """Two images, three draws each: the mean, and the log of the mean, of the weights 1, 2, 3 and 4, 4, 4."""
    weights = torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]], dtype=torch.float64).T
    found = scores(DensityPredictive(weights.log()), torch.zeros(2), None, kind="variational")
    assert set(found) == {"elbo", "iw_log_likelihood"}
    assert found["elbo"].value == pytest.approx((math.log(6) / 3 + math.log(4)) / 2)
    assert found["iw_log_likelihood"].value == pytest.approx((math.log(2) + math.log(4)) / 2)
