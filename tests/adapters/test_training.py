"""The parts of training that adapters share, without any of the libraries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bnnbench.adapters import training
from bnnbench.checks.problems import task as known_task
from bnnbench.engine.cell import Cell
from bnnbench.engine.estimate import _examples, assignment, one
from bnnbench.engine.pack import stack
from bnnbench.errors import UserError
from bnnbench.methods.estimator import Examples, Spending
from bnnbench.methods.map import MAP
from bnnbench.model import LaplacePrior
from bnnbench.model.likelihoods import Heteroscedastic, Homoscedastic
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import Budget


def given(task, rule="10fold", steps=50):
    """A task as an estimator sees it, with its training rows."""
    pack = stack([Cell(task, MAP(), rule, 0, 0, Budget("few", steps, 10, 1, ""))], torch.device("cpu"))
    return assignment(pack), _examples(one(pack), pack.splits[0].train)


def test_rates_are_those_of_torch():
    """One cycle with a quarter of warm-up, against PyTorch's scheduler, which ends a step earlier."""
    steps, peak = 400, 0.1
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(()))], 1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, peak, total_steps=steps + 1, pct_start=0.25, final_div_factor=400, cycle_momentum=False
    )
    theirs = []
    for _ in range(steps):
        theirs.append(cycle.get_last_lr()[0])
        optimiser.step()
        cycle.step()
    np.testing.assert_allclose(training.rates(steps, peak), theirs, atol=0.01 * peak)


def test_minibatches_are_counted_and_of_the_tasks_size():
    problem, train = given(TASKS.get("diabetes"))
    budget = Spending(7, 10)
    sizes = [len(x) for x, _ in training.minibatches(train, problem, budget)]
    assert sizes == [problem.batch_size] * 7
    assert budget.spent == 7


def test_descent_finds_the_ridge_solution():
    """MAP of a linear model with known noise, against its normal equations."""
    problem, train = given(known_task(64, rows=64), "known", 600)
    model = training.map_model(train, train, problem, Spending(600, 10), 0.03, early_stopping=False)
    weight, bias = model.network.parameters()
    design = np.column_stack([train.x, np.ones(len(train.x))])
    precision = np.array(
        [float(problem.prior.scale_of(own)) ** -2 for own in (weight, bias) for _ in range(own.numel())]
    )
    solved = np.linalg.solve(design.T @ design / 0.25 + np.diag(precision), design.T @ train.y / 0.25)
    found = torch.cat([weight.flatten(), bias]).detach().numpy()
    np.testing.assert_allclose(found, solved, atol=0.03)


def test_early_stopping_takes_back_the_best_state():
    module = nn.Linear(1, 1)
    scores = iter([1.0, 3.0, 2.0])
    best, kept = training.Best(module, lambda: next(scores)), []
    for step in range(3):
        module.weight.data.fill_(step)
        best.offer()
        kept.append(module.training)
    best.restore()
    assert (module.weight.item(), module.training, kept) == (1.0, False, [True] * 3)


@pytest.mark.parametrize("quadratic", [False, True])
def test_linearised_is_the_tangent(quadratic):
    """The network itself where it is linear in its weights, else its first-order expansion, by finite differences."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)) if quadratic else nn.Linear(3, 2)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    mean = {name: value.detach().clone() for name, value in network.named_parameters()}
    change = {name: torch.randn_like(value) for name, value in mean.items()}
    (found,) = training.linearised(network, [{name: mean[name] + change[name] for name in mean}], x)
    h = 1e-2 if quadratic else 1.0
    ahead, behind = ({name: mean[name] + sign * h * change[name] for name in mean} for sign in (1, -1))
    plus, minus, here = training.sampled(network, [ahead, behind, mean], x)
    torch.testing.assert_close(found, here + (plus - minus) / (2 * h), rtol=0, atol=5e-3 if quadratic else 1e-5)


def test_vectors_come_back_by_name():
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    vector = nn.utils.parameters_to_vector(network.parameters()).detach()
    (found,) = training.by_name(vector[None], dict(network.named_parameters()))
    for name, value in network.named_parameters():
        torch.testing.assert_close(found[name], value.detach())


def test_one_noise_takes_the_place_of_a_noise_of_every_input():
    problem, _ = given(TASKS.get("diabetes"))
    assert isinstance(problem.likelihood, Heteroscedastic)
    other = training.with_one_noise(problem)
    assert isinstance(other.likelihood, Homoscedastic)
    assert other.network()(torch.zeros(2, 10)).shape == (2, 1)
    assert other.learns_noise
    model = training.Model(other)
    assert model.log_noise.item() == -1.0
    assert model.log_prior_of_noise().item() == pytest.approx(-0.9189385, abs=1e-6)  # N(-1; -1, 1)
    known, _ = given(known_task(64, rows=64), "known")
    assert training.with_one_noise(known) is known


def test_a_score_is_that_of_the_mixture():
    """Two passes in one answer, as of a wrapper: log-mean-exp, not the mean of logarithms."""
    problem, _ = given(known_task(64, rows=64), "known")

    class Two(nn.Module):
        def forward(self, x):
            return torch.cat([torch.zeros(len(x), 1), torch.ones(len(x), 1)])

    rows = Examples(np.zeros((3, 3)), np.zeros(3))
    sd = 0.5
    density = [np.exp(-0.5 * (m / sd) ** 2) / (sd * np.sqrt(2 * np.pi)) for m in (0.0, 1.0)]
    assert training.Model(problem, Two()).score(rows, 2) == pytest.approx(np.log(np.mean(density)), abs=1e-6)


def test_a_prior_that_libraries_do_not_know_is_refused():
    problem, _ = given(known_task(64, rows=64), "known")
    training.need_gaussian_prior(MAP(), problem)
    other = replace(problem, _problem=problem._problem.with_prior(LaplacePrior()))
    with pytest.raises(UserError, match=r"^map needs a Gaussian prior, and this task has a LaplacePrior\.$"):
        training.need_gaussian_prior(MAP(), other)
