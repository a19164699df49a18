"""Multiplicative normalizing flows as methods: their start, their objective, their predictions."""

import math

import pytest
import torch
from helpers import make_problem
from torch.func import vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.layers.mnf import cut
from bnnbench.methods.bbp import BBPGaussian
from bnnbench.methods.mnf import MNF, MNFIAF, OWN, MNFPlanar, MNFSpline
from bnnbench.methods.variational import moments_of
from bnnbench.model import Batch, Homoscedastic, LaplacePrior

X = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
Y = torch.sin(3 * X[:, 0])
FAMILY = [MNF, MNFPlanar, MNFIAF, MNFSpline]
every_method = pytest.mark.parametrize("method", FAMILY, ids=lambda m: m.name)


def started(method, **more):
    """A prepared problem with learned noise, and the state at the start."""
    problem = method.prepare(make_problem(X, Y, Homoscedastic(), **more))
    return problem, method.init(random.key(0), problem)


@every_method
def test_the_network_starts_where_other_methods_do(method):
    problem, state = started(method(sigma=0.2, variance=0.04))
    other = BBPGaussian(sigma=0.2).init(random.key(0), make_problem(X, Y, Homoscedastic()))
    assert_close({k: v for k, v in state.params.items() if k != OWN}, other.params, rtol=0, atol=0)
    own = cut(problem.network, state.params[OWN])
    assert set(own) == {name for name, _ in problem.network.named_parameters() if "multiplier" in name}
    for name, value in own.items():
        assert value.shape == problem.network.get_parameter(name).shape
        if name.endswith("log_scale"):
            assert_close(value.exp().square(), torch.full_like(value, 0.04))
    changed = method().init(random.key(1), problem).params[OWN]
    assert (changed != state.params[OWN]).any()


@every_method
def test_training_and_prediction_draw_from_one_distribution(method):
    """The negative log-likelihood by activations of each example's own and by weights; 5 sigma, once in 10^6."""
    method = method(sigma=0.3, variance=0.3)
    problem, state = started(method, hidden=(3,))
    change = 0.3 * random.normal(random.key(5), state.params[OWN].shape, torch.float64)
    state = state._replace(params=state.params | {OWN: state.params[OWN] + change})  # away from the start
    trained = vmap(lambda k: method.update(k, state, problem)[1]["nll"])(random.split(random.key(1), 3000))
    weights = method.posterior(state, None, problem).sample(random.key(2), problem, 3000)
    rows = Batch(X, Y, torch.ones(40, dtype=torch.float64))
    drawn = vmap(lambda w: problem.mean_nll(w, rows))(weights)
    error = math.sqrt(float(trained.var() + drawn.var()) / 3000)
    assert abs(trained.mean() - drawn.mean()) < 5 * error


def test_the_kl_is_weighed_by_beta_over_n():
    """With the same key; learned noise counts by its own prior N(-1, 1)."""
    problem, state = started(MNF())
    key = random.key(1)
    once, thrice = (MNF(beta=beta).update(key, state, problem)[1] for beta in (1.0, 3.0))
    assert_close(thrice["loss"] - once["loss"], 2 * once["kl"])
    mean, sigma = moments_of(state.params)
    moved = state._replace(params=state.params | {"mean.log_noise": mean["log_noise"] + 1})
    change = MNF().update(key, moved, problem)[1]["kl"] - once["kl"]
    assert_close(40 * change, ((mean["log_noise"] + 2) ** 2 - (mean["log_noise"] + 1) ** 2) / 2)
    assert sigma["log_noise"] == pytest.approx(MNF().sigma)


def test_another_prior_is_refused():
    with pytest.raises(TypeError, match="mnf needs a Gaussian prior, not LaplacePrior"):
        MNF().target(make_problem(X, Y, prior=LaplacePrior()))
