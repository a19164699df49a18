"""Deep ensembles, the constant predictor, and the registry's promises on every method."""

import dataclasses

import pytest
import torch
from helpers import PAIRS, make_cells, make_pack, make_problem
from torch.testing import assert_close

from bnnbench import random
from bnnbench.adapters.base import Adapter
from bnnbench.engine.train import train
from bnnbench.errors import UserError
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.methods import METHODS, configure
from bnnbench.methods.ensemble import DeepEnsemble
from bnnbench.methods.map import MAP

X = torch.randn(25, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_members_are_networks_of_their_own():
    """Each member is a MAP run from its own key: other starts, other minibatches; the mixture is over members."""
    problem = make_problem(X, X[:, 0].sin())
    method = DeepEnsemble(members=3)
    assert method.num_networks == 3
    state = method.init(random.key(0), problem)
    members = [MAP().init(k, problem) for k in random.split(random.key(0), 3)]
    for t in range(4):
        state, _ = method.update(random.key(t), state, problem)
        keys = random.split(random.key(t), 3)
        members = [MAP().update(k, m, problem)[0] for k, m in zip(keys, members, strict=True)]
    for i, member in enumerate(members):
        assert_close({k: v[i] for k, v in state.params.items()}, member.params)
    for value in state.params.values():
        assert len(value.flatten().unique()) == value.numel()
    mixture = method.posterior(state, None, problem).predictive(random.key(0), problem, X, 99)
    alone = [MAP().posterior(m, None, problem).predictive(random.key(0), problem, X, 1).mean for m in members]
    assert_close(mixture.mean, torch.cat(alone))


@pytest.mark.parametrize("task", [task for method, task in PAIRS if method == "constant"])
def test_constant_is_the_marginal_of_the_train_rows(task):
    pack = make_pack(make_cells("constant", task))
    fit, _ = train(pack, False)
    predictives = Evaluator(fit).predictions([pack.data.x[:4]] * 3)
    for r, (split, predictive) in enumerate(zip(pack.splits, predictives, strict=True)):
        y = pack.data.y[split.train]
        if task == "classification":
            share = [((y == k).sum() + 1) / (len(y) + 3) for k in range(3)]  # one pseudo-count a class
            assert_close(predictive.log_probs.exp(), torch.tensor(share).expand(1, 4, 3))
        else:
            assert_close(predictive.mean, torch.full((1, 4), y.mean()).double())
            assert_close(predictive.scale, torch.full((1, 4), y.std()).double())
        assert bool(fit.live[r])


@pytest.mark.parametrize("method", list(METHODS), ids=METHODS.names())
def test_definition(method):
    """A frozen dataclass whose defaults are valid, described, with a citation or a baseline's tag."""
    default = method()
    if not issubclass(method, Adapter):  # whose library may be missing
        default.check()
    assert dataclasses.is_dataclass(method)
    with pytest.raises(dataclasses.FrozenInstanceError):
        default.anything = 1
    assert hash(default) == hash(method())
    assert method.__doc__
    assert method.tags
    assert set(method.supports) <= {"regression", "classification", "density", "variational"}
    assert method.citation or method.name in {"constant"}
    for field in dataclasses.fields(method):
        assert isinstance(getattr(default, field.name), float | int | str | bool | None), field.name
    if default.num_networks > 0:
        steps = list(default.schedule(50))
        assert all(0 <= step < 50 for step in steps)
        assert default.num_networks >= 1


SCALED = [m for m in METHODS if "prior_scale" in m.__dataclass_fields__]


@pytest.mark.parametrize("method", SCALED, ids=lambda method: method.name)
def test_prior_scale_is_a_factor_of_the_scale_of_the_prior(method):
    """By default 1, as reports take for granted; the problem that the method is given has it."""
    assert method.__dataclass_fields__["prior_scale"].default == 1.0
    problem = make_problem(X, X[:, 0])
    one, three = (method(prior_scale=factor).target(problem).prior for factor in (1.0, 3.0))
    value = torch.ones(4, 2)
    assert_close(three.scale_of(value), 3 * one.scale_of(value))
    assert type(one) is type(three)


FLOATS = [(m.name, f.name) for m in METHODS for f in dataclasses.fields(m) if isinstance(f.default, float)]
INTEGERS = [(m.name, f.name) for m in METHODS for f in dataclasses.fields(m) if type(f.default) is int]


@pytest.mark.parametrize(("method", "field"), FLOATS)
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_floats_out_of_range(method, field, value):
    with pytest.raises(UserError, match=rf"^{method}\.{field} must .*{value}"):
        configure(METHODS.get(method), {field: value})


@pytest.mark.parametrize(("method", "field"), INTEGERS)
@pytest.mark.parametrize("value", ["0", "-3", "1.5", "many"])
def test_integers_out_of_range(method, field, value):
    with pytest.raises(UserError, match=rf"^{method}\.{field} must .*{value}"):
        configure(METHODS.get(method), {field: value})


def test_settings_of_wrong_type_or_name():
    with pytest.raises(UserError, match=r"map.lr must be a number, not 'fast'\."):
        configure(MAP, {"lr": "fast"})
    with pytest.raises(UserError, match=r"map.early_stopping must be true or false, not 'yes'\."):
        configure(MAP, {"early_stopping": "yes"})
    with pytest.raises(UserError, match=r"'map' has no parameter 'lrr'; did you mean lr\?"):
        configure(MAP, {"lrr": "1"})
    assert configure(MAP, {"early_stopping": "False", "lr": "1e-2"}) == MAP(0.01, False)
