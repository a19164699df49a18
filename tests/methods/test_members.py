"""Mixtures of SWAG and of Laplace posteriors: each member is the method that it is made of, run and stopped alone."""

from dataclasses import dataclass, replace
from functools import lru_cache

import pytest
import torch
from helpers import BUDGET, make_cells, make_pack
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves, tree_map

from bnnbench import random
from bnnbench.checks.checks import linear_regression
from bnnbench.engine.predict import one_of
from bnnbench.engine.train import train
from bnnbench.errors import UserError
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.methods import configure
from bnnbench.methods.ensemble_laplace import EnsembleLaplace
from bnnbench.methods.laplace import LaplaceKron
from bnnbench.methods.multi_swag import MultiSWAG
from bnnbench.methods.swag import SWAG
from bnnbench.model.posteriors import Linearised, LowRankGaussian, Mixture

MEMBERS = 3
LONG, FOLDS = replace(BUDGET, steps=24, validation_checks=8), (0, 1)
SWAGS = {"lr": 0.1, "swa_lr": 0.02, "samples": 12, "rank": 4}
LAPLACES = {"lr": 0.1, "precision": "marglik"}


class Alone:
    """One member, trained alone on its own part of the keys."""

    def init(self, key, problem):
        return super().init(random.split(key, MEMBERS)[self.number], problem)

    def update(self, key, state, problem):
        return super().update(random.split(key, MEMBERS)[self.number], state, problem)

    def finish(self, key, state, problem):
        return super().finish(random.split(key, MEMBERS)[self.number], state, problem)


@dataclass(frozen=True)
class SingleSWAG(Alone, SWAG):
    number: int = 0


@dataclass(frozen=True)
class SingleLaplace(Alone, LaplaceKron):
    number: int = 0


KINDS = {
    "multi-swag": (MultiSWAG(members=MEMBERS, **SWAGS), SingleSWAG(**SWAGS), LowRankGaussian),
    "ensemble-laplace": (EnsembleLaplace(members=MEMBERS, **LAPLACES), SingleLaplace(**LAPLACES), Linearised),
}


@lru_cache
def trained(method):
    return train(make_pack(make_cells(method, "homoscedastic", FOLDS, LONG)), False)


def independent(method, single):
    """Whether each member comes to what a run of the single method from its part of the keys comes to."""
    fit, history = trained(method)
    for m in range(MEMBERS):
        alone, own = trained(replace(single, number=m))
        if history.step_kept[:, m].tolist() != own.step_kept.tolist():
            return False
        leaves = zip(tree_leaves(fit.state), tree_leaves(alone.state), strict=True)
        if not all(torch.allclose(leaf[:, m], value, rtol=1e-6, atol=1e-9) for leaf, value in leaves):
            return False
    return True


@pytest.mark.parametrize("name", KINDS)
def test_members_are_independent_runs_of_the_single_method(name):
    """States, draws and the steps that early stopping kept, of two packed cells; precisions of each member alone."""
    method, single, kind = KINDS[name]
    assert independent(method, single)
    fit, history = trained(method)
    assert method.num_networks == MEMBERS
    assert any(len(set(steps)) > 1 for steps in history.step_kept.tolist()), "members are to differ in their best step"
    assert isinstance(fit.posterior, Mixture)
    assert isinstance(fit.posterior.parts, kind)
    for m in range(MEMBERS):
        alone, _ = trained(replace(single, number=m))
        if fit.draws is not None:
            own = tree_map(lambda leaf, m=m: leaf[:, :, m], fit.draws)
            assert_close(own, alone.draws, rtol=1e-6, atol=1e-9)
        for r in FOLDS:  # moments, because eigenvectors are not unique
            own = tree_map(lambda leaf, r=r, m=m: leaf[r, m], fit.posterior.parts)
            assert_close(own.moments(), one_of(alone.posterior, r).moments(), rtol=1e-6, atol=1e-9)
    if name == "ensemble-laplace":
        delta = fit.state.covariance.delta
        assert delta.shape == (2, MEMBERS)
        assert all(len(own.unique()) > 1 for own in delta), "members are to differ in their precision"


class SharedSWAG(MultiSWAG):
    """All members from one start and with the same minibatches."""

    def init(self, key, problem):
        return tree_map(lambda leaf: leaf[:1].expand_as(leaf).clone(), super().init(key, problem))


class Pooled(EnsembleLaplace):
    """The precision that the first member's evidence chooses, for all."""

    def finish(self, key, state, problem):
        found = super().finish(key, state, problem)
        delta = found.covariance.delta
        return found._replace(covariance=found.covariance._replace(delta=delta[:1].expand_as(delta).clone()))


@pytest.mark.parametrize(
    ("broken", "name"), [(SharedSWAG(members=MEMBERS, **SWAGS), "multi-swag"),
                         (Pooled(members=MEMBERS, **LAPLACES), "ensemble-laplace")], ids=["one-start", "one-precision"],
)  # fmt: skip
def test_members_that_are_not_independent_are_caught(broken, name):
    assert not independent(broken, KINDS[name][1])


@pytest.mark.parametrize("name", KINDS)
def test_the_predictive_is_the_mean_of_the_members_densities(name):
    """A third of the components each; the density of the mixture is the mean of those of the parts."""
    method, _, _ = KINDS[name]
    fit, _ = trained(method)
    x, y = fit.pack.data.x[:20], torch.tensor(fit.pack.data.y[:20])
    for predictive in Evaluator(fit).predictions([x] * 2):
        share = BUDGET.samples // MEMBERS
        assert predictive.mean.shape == (share * MEMBERS, 20)
        parts = [
            type(predictive)(*(value[m * share : (m + 1) * share] for value in predictive)) for m in range(MEMBERS)
        ]
        mean = torch.stack([part.log_prob(y).exp() for part in parts]).mean(0)
        assert_close(predictive.log_prob(y).exp(), mean)
        centres = torch.stack([part.mean.mean(0) for part in parts])
        assert (centres.std(0) > 0).all()


def test_a_single_member_is_the_single_method():
    one, _ = trained(replace(KINDS["multi-swag"][0], members=1))
    alone, _ = trained(SingleOfOne(**SWAGS))
    assert_close(tree_map(lambda leaf: leaf[:, 0], one.state), alone.state, rtol=1e-7, atol=1e-10)


class SingleOfOne(SWAG):
    """SWAG on the only key of a split into one."""

    def init(self, key, problem):
        return super().init(random.split(key, 1)[0], problem)

    def update(self, key, state, problem):
        return super().update(random.split(key, 1)[0], state, problem)


def test_errors_name_the_method():
    with pytest.raises(UserError, match=r"multi-swag.rank must lie between 2 and multi-swag.samples \(5\), not 9"):
        configure(MultiSWAG, {"rank": "9", "samples": "5"})
    with pytest.raises(UserError, match=r"ensemble-laplace.precision must be task or marglik or a positive number"):
        configure(EnsembleLaplace, {"precision": "-1"})
    with pytest.raises(UserError, match=r"ensemble-laplace.members must be positive"):
        configure(EnsembleLaplace, {"members": "0"})


class CountedByAll(EnsembleLaplace):
    """Every member counts the data of all: K times too precise."""

    def finish(self, key, state, problem):
        return super().finish(key, state, problem.subset(torch.full_like(problem.rows.weight, float(self.members))))


@pytest.mark.slow
def test_check_catches_data_that_count_once_a_member():
    verdicts = {verdict.name: verdict.passed for verdict in linear_regression(CountedByAll(members=3))}
    assert verdicts["linear regression: mean"]
    assert verdicts["linear regression: spread"] is False
