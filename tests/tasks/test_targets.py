"""The densities to fit: draws and log-density belong together, and the known entropy comes out."""

import pytest
import torch

from bnnbench import random
from bnnbench.tasks.energies import ENERGIES, Boxed
from bnnbench.tasks.targets import BLOBS, LETTERS, MOONS

TARGETS = {"moons": MOONS, "blobs": BLOBS, "letters": LETTERS}


@pytest.mark.parametrize("name", TARGETS)
def test_the_density_integrates_to_one(name):
    side = torch.linspace(-7, 7, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    mass = sum(TARGETS[name].log_density(part).exp().sum() for part in grid.split(5_000)) * (side[1] - side[0]) ** 2
    assert abs(float(mass) - 1) < 3e-3


@pytest.mark.parametrize("name", TARGETS)
def test_draws_have_the_density(name):
    """E_p[f / p] = integral of f, for a bump f that integrates to 1 and lies where p does."""
    target = TARGETS[name]
    x = target.sample(random.key(1), 10_000).double()
    centre, width = x[0], 0.1
    bump = torch.distributions.Normal(centre, width).log_prob(x).sum(-1)
    ratio = (bump - target.log_density(x)).exp()
    assert abs(float(ratio.mean()) - 1) < 6 * float(ratio.std()) / 10_000**0.5 + 0.02


def test_the_entropy_of_the_moons_is_the_known_one():
    """0.278 +- 0.011 nats by a Monte Carlo of its own, over the angles and not over segments."""
    x = MOONS.sample(random.key(0), 10_000).double()
    assert abs(-float(MOONS.log_density(x).mean()) - 0.278) < 0.03


@pytest.mark.parametrize("name", ENERGIES)
def test_energies_are_finite_and_walled(name):
    side = torch.linspace(-6, 6, 101)
    grid = torch.cartesian_prod(side, side)
    value = Boxed(name).unnormalised(grid)
    assert torch.isfinite(value).all()
    outside = grid.abs().amax(-1) > 5
    assert value[outside].max() < value[~outside].max() - 40


@pytest.mark.parametrize("name", ENERGIES)
def test_an_energy_is_normalised_and_drawn_from(name):
    """By another grid than its own; the draws' share of four quadrants is that of the grid's."""
    target, side = Boxed(name), torch.linspace(-5, 5, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    density = target.log_density(grid).exp() * (side[1] - side[0]) ** 2
    assert abs(float(density.sum()) - 1) < 2e-3
    x = target.sample(random.key(2), 20_000)
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        where = torch.tensor(signs)
        # the lines through 0 belong to no quadrant and so to all of them in equal parts
        share = float((density * (((grid * where) > 0).double() + 0.5 * (grid == 0)).prod(-1)).sum())
        drawn = float(((x * where) > 0).all(-1).double().mean())
        assert abs(drawn - share) < 5 * (0.25 / 20_000) ** 0.5 + 1e-3


def test_the_first_energy_is_the_published_one():
    """Value at a hand-made point: |z| = 2 on the first axis, where ring and first mode are at their top."""
    z = torch.tensor([2.0, 0.0], dtype=torch.float64)
    assert float(ENERGIES["energy-1"](z)) == pytest.approx(
        float(torch.log1p(torch.exp(torch.tensor(-0.5 * (4 / 0.6) ** 2))))
    )
