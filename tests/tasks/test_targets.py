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
    """0.278 +- 0.011 nats by a Monte Carlo over the angles and not over segments; by a grid; by its draws."""
    step = 0.015
    x, y = torch.arange(-2, 3, step, dtype=torch.float64), torch.arange(-1.5, 2, step, dtype=torch.float64)
    value = MOONS.log_density(torch.cartesian_prod(x, y))
    assert float(value.exp().sum() * step**2) == pytest.approx(1, abs=1e-6)
    entropy = -float((value.exp() * value).nan_to_num().sum() * step**2)
    assert abs(entropy - 0.278) < 2 * 0.011
    surprise = -MOONS.log_density(MOONS.sample(random.key(0), 10_000).double())
    assert abs(float(surprise.mean()) - entropy) < 4 * float(surprise.std()) / 100


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


@pytest.mark.parametrize(
    ("name", "z", "value"),
    [
        ("energy-1", (2.0, 0.0), 2.2336e-10),  # the top of the ring and of one mode: log(1 + e^-22.22)
        ("energy-1", (0.0, 2.4), -5.362408),  # a width off the ring, between the modes: -1/2 - 50/9 + log 2
        ("energy-2", (1.0, 1.4), -0.5),  # a width above the crest, sin(pi/2) = 1
        ("energy-2", (-1.0, -0.2), -2.0),  # two widths above the trough
        ("energy-3", (1.0, 1.35), -0.5),  # a width above the first wave, the second 3 below
        ("energy-3", (1.6, -1.231807), 1.351981e-6),  # on the second: sin(0.8 pi) - 3 e^-1/2
        ("energy-4", (1.0, 1.4), -0.499999342),  # a width above the first wave, the second 3/2 below
        ("energy-4", (1.0, -0.15), -0.473901827),  # a width of its own above the second: e^-1/2 + e^-4.1328
        ("energy-4", (1.3, -1.302169), 2.964723e-07),  # on the second: sin(0.65 pi) - 3 / (1 + 1/e)
    ],
)
def test_the_energies_are_the_published_ones(name, z, value):
    """Logarithms of the densities of Rezende & Mohamed's table 1, worked out by hand."""
    found = float(ENERGIES[name](torch.tensor(z, dtype=torch.float64)))
    assert found == pytest.approx(value, rel=1e-3 if abs(value) < 1e-3 else 1e-6)
