"""Density tasks: their data, what a fit may see of them, and their test sets."""

import dataclasses

import numpy as np
import pytest
import torch

from bnnbench import random
from bnnbench.engine.pack import stack
from bnnbench.experiment.plan import build_plan
from bnnbench.experiment.request import Request
from bnnbench.model import DensityProblem, EnergyProblem, Rows, Table
from bnnbench.model.autoencoder import binarised
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import budget_of

DRAWN, ENERGIES = ("moons", "blobs", "letters"), ("energy-1", "energy-2", "energy-3", "energy-4")


def problem_of(name, method="flow-gaussian"):
    cells, _ = build_plan(Request([method], [name], budget_of("smoke")))
    return stack(cells, torch.device("cpu")).problem


@pytest.mark.parametrize("name", DRAWN + ENERGIES)
def test_test_sets_know_the_truth(name):
    task = TASKS.get(name)
    data = task.data()
    (split,) = task.splits("fixed")
    sets = task.test_sets(data, split)
    assert set(sets) == {"test", "train", "validation", "grid"}
    log_p, area = sets["grid"].truth
    assert np.sum(np.exp(log_p) * area) == pytest.approx(1, abs=6e-3)
    assert sets["grid"].y is None
    x = torch.as_tensor(sets["test"].x)
    np.testing.assert_allclose(sets["test"].truth.log_density, task.target.log_density(x))
    assert not sets["test"].truth.area.any()


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


@pytest.fixture
def digits(data_root):
    """The autoencoder's data, and its split."""
    if not TASKS.get("mnist").present(data_root):
        pytest.skip(f"the files of mnist are not in {data_root}")
    task = TASKS.get("mnist-vae")
    return task, task.data(data_root), task.splits("official", data_root)[0]


def test_held_out_images_are_drawn_once_from_their_grey_values(digits, data_root):
    task, data, split = digits
    held = np.concatenate([split.validation, split.test])
    assert set(np.unique(data.x[held])) == {0.0, 1.0}
    np.testing.assert_array_equal(data.x[held], task.read(data_root).x[held])
    grey = TASKS.get("mnist").read(data_root).x.reshape(len(data.x), -1)
    assert abs(float(data.x[held].mean() - grey[held].mean())) < 2e-3
    assert np.all(data.x[held][grey[held] == 0] == 0)
    assert np.all(data.x[held][grey[held] == 1] == 1)
    np.testing.assert_array_equal(data.x[split.train], grey[split.train])


def test_all_scored_images_are_binary_and_those_held_out_are_the_data(digits):
    task, data, split = digits
    points = task.test_sets(data, split)
    assert all(set(np.unique(p.x)) == {0.0, 1.0} for p in points.values())
    np.testing.assert_array_equal(points["test"].x, data.x[split.test])
    np.testing.assert_array_equal(points["validation"].x, data.x[split.validation])


def test_the_mean_over_many_draws_of_a_pixel_is_its_grey_value():
    """And pixels that are 0 or 1 stay."""
    grey = torch.tensor([[0.0, 0.25, 0.5, 1.0]])
    drawn = torch.stack([binarised(random.key(i), grey)[0] for i in range(2000)])
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(drawn[:, [0, 3]].mean(0), torch.tensor([0.0, 1.0]))
    np.testing.assert_allclose(drawn[:, 1:3].mean(0), [0.25, 0.5], atol=4 * 0.5 / 2000**0.5)


def test_minibatches_of_the_autoencoder_are_binary_and_drawn_anew():
    x = torch.full((5, 784), 0.5)
    zeros, rows = torch.zeros(784), torch.arange(5)
    measured = Rows(rows, torch.ones(5), torch.tensor(5), torch.tensor(5.0), zeros, zeros + 1, zeros[0], zeros[0] + 1)
    problem = TASKS.get("mnist-vae").problem("official", Table(x, torch.zeros(5, dtype=torch.long)), measured, 10, 1)
    one, two = (problem.minibatch(random.key(i)).x for i in range(2))
    assert set(one.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(one, two)


@pytest.mark.parametrize("task", ["moons", "blobs", "letters", "energy-1"])
@pytest.mark.parametrize("method", ["flow-planar", "flow-glow", "a-flow-of-tomorrow"])
def test_no_flow_keeps_a_step_by_a_few_draws(task, method):
    """None can overfit draws that are fresh at every step; and those from an energy are not for the fit to know."""
    assert TASKS.get(task).defaults(method, ("flow",)) == {"early_stopping": False}


def test_defaults_of_a_name_go_before_those_of_its_groups():
    task = dataclasses.replace(TASKS.get("moons"), tuned={"flow": {"lr": 1.0, "width": 8}, "flow-maf": {"lr": 2.0}})
    assert task.defaults("flow-maf", ("flow",)) == {"lr": 2.0, "width": 8}
    assert task.defaults("flow-nice", ("flow",)) == {"lr": 1.0, "width": 8}
    assert task.defaults("map") == {}
