"""Adversarial training of ensembles, against what it comes to in a linear model, where it has a closed form."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import make_problem, normal
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.methods.ensemble import DeepEnsemble
from bnnbench.methods.ensemble_adversarial import AdversarialEnsemble, input_range
from bnnbench.methods.optimise import AdamState
from bnnbench.model import Homoscedastic

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(25, 3, generator=GENERATOR, dtype=torch.float64) * torch.tensor([1.0, 3.0, 0.2]).double()
Y = X[:, 0] - 0.4 * X[:, 1] + 0.3 * torch.randn(25, generator=GENERATOR, dtype=torch.float64)
EPSILON = 0.05


def linear_problem():
    return make_problem(X, Y, Homoscedastic(), hidden=())


def closed_form(params, batch, n):
    """L of a linear model of one noise: the attack adds epsilon sum_j r_j |w_j| to every residual's size."""
    weight, bias = params["layers.0.weight"][0], params["layers.0.bias"]
    sd = 1e-3 + params["log_noise"].exp()
    size = (batch.y - batch.x @ weight - bias).abs()
    further = EPSILON * ((X.amax(0) - X.amin(0)) * weight.abs()).sum()
    nll = [((value / sd) ** 2 / 2 + sd.log() + 0.5 * math.log(2 * math.pi)).mean() for value in (size, size + further)]
    prior = normal(0.0, (2 / 3) ** 0.5).log_prob(weight).sum() + normal(0.0, 1.0).log_prob(bias).sum()
    return sum(nll) / 2 - (prior + normal(-1.0, 1.0).log_prob(params["log_noise"])) / n


def assert_members_descend_the_closed_form(method):
    """Value and gradient of each member's loss; Adam's running mean holds a tenth of its first gradient."""
    problem = linear_problem()
    state = method.init(random.key(0), problem)
    new, info = method.update(random.key(1), state, problem)
    half, losses = replace(problem, batch_size=4), []
    for m, key in enumerate(random.split(random.key(1), method.members)):
        params = {name: value[m].clone().requires_grad_() for name, value in state.fit.params.items()}
        loss = closed_form(params, half.minibatch(key), 25)
        loss.backward()
        losses.append(loss.detach())
        assert_close({name: value[m] / 0.1 for name, value in new.fit.mean.items()},
                     {name: value.grad for name, value in params.items()})  # fmt: skip
    assert_close(info["loss"], torch.stack(losses).mean())


def test_members_descend_the_closed_form():
    assert_members_descend_the_closed_form(AdversarialEnsemble(3, epsilon=EPSILON))


class Descending(AdversarialEnsemble):
    """Inputs moved to where the loss falls."""

    def moved(self, x, reach, slope):
        return super().moved(x, reach, -slope)


class Rangeless(AdversarialEnsemble):
    """Every input moved by the same number, whatever its range."""

    def moved(self, x, reach, slope):
        return super().moved(x, torch.ones_like(reach), slope)


class Unsigned(AdversarialEnsemble):
    """Inputs moved along the gradient itself."""

    def moved(self, x, reach, slope):
        return x + self.epsilon * reach * slope


@pytest.mark.parametrize("broken", [Descending, Rangeless, Unsigned])
def test_other_attacks_are_caught(broken):
    with pytest.raises(AssertionError, match="not close"):
        assert_members_descend_the_closed_form(broken(3, epsilon=EPSILON))


def test_it_tends_to_the_deep_ensemble_of_half_the_rows():
    problem = linear_problem()
    method, plain = AdversarialEnsemble(3, epsilon=1e-9), DeepEnsemble(3)
    state, own = method.init(random.key(0), problem), plain.init(random.key(0), problem)
    for t in range(4):
        state, info = method.update(random.key(t), state, problem)
        own, expected = plain.update(random.key(t), own, replace(problem, batch_size=4))
        assert_close(info, expected)
    assert_close(state.fit, own)


@pytest.mark.parametrize("batch_size", [8, 2])
def test_an_update_costs_one_minibatch_gradient(monkeypatch, batch_size):
    """Rows that go through a member's network: as many as of a member of `ensemble-deep`."""
    problem, seen = make_problem(X, Y, batch_size=batch_size), []
    forward = type(problem.network).forward

    def counted(self, x):
        seen.append(x.shape[0])
        return forward(self, x)

    rows = {}
    for method in (DeepEnsemble(3), AdversarialEnsemble(3)):
        state = method.init(random.key(0), problem)
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(type(problem.network), "forward", counted)
            method.update(random.key(1), state, problem)
        rows[method.name] = sum(seen)
    assert rows == {"ensemble-deep": batch_size, "ensemble-adversarial": batch_size}


def test_ranges_are_those_of_the_training_rows_in_the_units_of_the_network():
    problem = make_problem(X, Y)
    rows = problem.rows._replace(index=torch.tensor([4, 7, 9, 4, 4]), x_shift=X.mean(0),
                                 x_scale=torch.tensor([1.0, 2.0, torch.inf], dtype=torch.float64))  # fmt: skip
    x = X.clone()
    x[:, 2] = 0.7
    problem = replace(problem, rows=rows, table=problem.table._replace(x=x))
    own = x[[4, 7, 9]].numpy()
    spread = own.max(0) - own.min(0)
    assert input_range(problem, chunk=2).tolist() == [spread[0], spread[1] / 2, 0.0]


def test_images_have_one_range_a_channel():
    problem = make_problem(X, Y)
    x = torch.rand(25, 2, 4, 4, generator=GENERATOR)
    unit = torch.tensor([0.5, 2.0])[:, None, None]
    rows = problem.rows._replace(x_shift=torch.zeros(2, 1, 1), x_scale=unit)
    found = input_range(replace(problem, rows=rows, table=problem.table._replace(x=x)), chunk=7)
    expected = torch.stack([x[:, c].max() - x[:, c].min() for c in range(2)])[:, None, None] / unit
    assert_close(found, expected.double())


def test_members_stop_early_and_predict_as_those_of_a_deep_ensemble():
    problem = make_problem(X, Y)
    method, plain = AdversarialEnsemble(3), DeepEnsemble(3)
    state = method.init(random.key(0), problem)
    assert all(leaf.shape[0] == 3 for leaf in [state.reach, *state.fit.params.values()])
    assert_close(state.fit, plain.init(random.key(0), problem))
    own = method.posterior(state, None, problem).predictive(random.key(0), problem, X, 9)
    assert_close(own, plain.posterior(state.fit, None, problem).predictive(random.key(0), problem, X, 9))
    assert isinstance(tree_map(lambda leaf: leaf, state).fit, AdamState)
