"""Density tasks: their data, what a fit may see of them, and their test sets."""

import numpy as np
import pytest
import torch

from bnnbench import random
from bnnbench.model import DensityProblem, EnergyProblem
from bnnbench.run.pack import stack
from bnnbench.run.plan import build_plan
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import budget_of

DRAWN, ENERGIES = ("moons", "blobs", "letters"), ("energy-1", "energy-2", "energy-3", "energy-4")


def problem_of(name, method="flow-gaussian"):
    cells, _ = build_plan([method], [name], None, budget_of("smoke"), 1, {}, None)
    return stack(cells, torch.device("cpu")).problem


@pytest.mark.parametrize("name", DRAWN + ENERGIES)
def test_test_sets_know_the_truth(name):
    task = TASKS.get(name)
    data = task.data()
    (split,) = task.splits("fixed")
    sets = task.evaluations(data, split)
    assert set(sets) == {"test", "train", "validation", "grid"}
    log_p, area = sets["grid"].truth
    assert np.sum(np.exp(log_p) * area) == pytest.approx(1, abs=6e-3)
    assert sets["grid"].y is None
    x = torch.as_tensor(sets["test"].x)
    np.testing.assert_allclose(sets["test"].truth[0], task.target.log_density(x))
    assert not sets["test"].truth[1].any()


def test_rows_of_a_split_are_different_draws():
    data = TASKS.get("moons").data()
    assert len(np.unique(data.x, axis=0)) == len(data.x)


@pytest.mark.parametrize("name", DRAWN)
def test_minibatches_are_fresh_and_standardised(name):
    problem = problem_of(name)
    assert isinstance(problem, DensityProblem)
    own = problem.rows._replace(x_shift=problem.rows.x_shift[0], x_scale=problem.rows.x_scale[0])
    problem = problem.__class__(**vars(problem) | {"rows": own})
    x = torch.cat([problem.minibatch(random.key(seed)).x for seed in range(20)])
    assert len(torch.unique(x, dim=0)) == len(x)
    back = x * own.x_scale + own.x_shift
    known = {tuple(row) for row in problem.table.x.tolist()}
    assert not any(tuple(row) in known for row in back.tolist())
    assert x.mean(0).abs().max() < 0.06
    assert (x.std(0) - 1).abs().max() < 0.06


@pytest.mark.parametrize("name", ENERGIES)
def test_an_energy_gives_a_fit_no_draw(name):
    problem = problem_of(name)
    assert isinstance(problem, EnergyProblem)
    assert problem.draw is None


def test_binarised_images_are_the_same_every_time(data_root):
    if not TASKS.get("mnist").present(data_root):
        pytest.skip(f"the files of mnist are not in {data_root}")
    data = TASKS.get("mnist-vae").read(data_root)
    assert set(np.unique(data.x)) == {0.0, 1.0}
    np.testing.assert_array_equal(data.x, TASKS.get("mnist-vae").read(data_root).x)
    grey = TASKS.get("mnist").read(data_root).x.reshape(len(data.x), -1)
    assert abs(float(data.x.mean() - grey.mean())) < 2e-3
    assert np.all(data.x[grey == 0] == 0)
    assert np.all(data.x[grey == 1] == 1)
