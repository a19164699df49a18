"""Methods of other libraries: each fits and predicts, repeats itself, and counts; skipped where its library is missing.

Libraries warn of their own affairs, and are let.
"""

from __future__ import annotations

import importlib.util
import math
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bnnbench.adapters.base import Adapter
from bnnbench.engine.cell import Cell
from bnnbench.engine.estimate import estimate
from bnnbench.engine.pack import stack
from bnnbench.errors import UserError
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.methods import METHODS
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import Budget

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(1800)]

ADAPTERS = [method for method in METHODS if issubclass(method, Adapter)]
TASK = {"regression": "yacht", "classification": "digits", "one noise": "toy-homoscedastic"}
KINDS = {"regression": ("regression", "one noise"), "classification": ("classification",)}
PAIRS = [(method, kind) for method in ADAPTERS for supported in method.supports for kind in KINDS[supported]]
STEPS = 8
SMALL = {  # settings that make a fit cheap
    "ngboost": {"estimators": 5},
    "sklearn-forest": {"trees": 5},
    "sklearn-extra-trees": {"trees": 5},
    "numpyro-nuts": {"steps_multiplier": 1, "max_tree_depth": 2},
    "vbll-package": {"covariance": "diagonal"},
    "gpytorch-svgp": {"inducing": 20},
}
NETWORKS = {"torch-uncertainty-ensemble": 5}  # trained by each, where that is not one
UNCOUNTED = ("sklearn-gp", "sklearn-bayesian-ridge", "sklearn-forest", "sklearn-extra-trees", "ngboost")
IN_EPOCHS = ("sklearn-mlp",)  # no less than one
IN_TREES = ("numpyro-nuts",)  # as deep as they come
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def usable(method, **settings):
    """An adapter, if its library is there."""
    made = method(**settings)
    try:
        made.check()
    except UserError as missing:
        pytest.skip(str(missing))
    return made


def fitted(method, kind, steps=STEPS, seed=0):
    """Predictive and targets of the first split, and the gradients spent."""
    task = TASKS.get(TASK[kind])
    cell = Cell(task, method, task.rules[0], 0, seed, Budget("few", steps, 10, 1, ""))
    pack = stack([cell], torch.device("cpu"))
    found, history = estimate(method, pack)
    (predictive,) = Evaluator(found).test
    return predictive, torch.as_tensor(pack.data.y[pack.splits[0].test]), history.gradients


@pytest.mark.parametrize(("method", "kind"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_fits_predicts_and_repeats(method, kind, data_root):
    """Finite and normalised numbers, the same once more; as many gradients as the budget grants."""
    made = usable(method, **SMALL.get(method.name, {}))
    (one, y, spent), (other, _, _) = fitted(made, kind), fitted(made, kind)
    for part, again in zip(one, other, strict=True):
        assert part.shape[1] == len(y)
        assert bool(part.isfinite().all())
        torch.testing.assert_close(part, again, rtol=0, atol=0)
    if kind == "classification":
        torch.testing.assert_close(one.log_probs.exp().sum(-1), torch.ones_like(one.log_probs[..., 0]))
    else:
        assert bool((one.scale > 0).all())
    assert bool(one.log_prob(y).isfinite().all())
    if method.name in UNCOUNTED:
        assert spent == 0
    elif method.name in IN_TREES:
        assert 0 < spent <= 4 * 3 * STEPS
    elif method.name in IN_EPOCHS:
        assert spent > 0
    else:
        assert spent == STEPS * NETWORKS.get(method.name, 1)


def marginal(y_train, y, kind):
    """Mean log-likelihood of who knows the training targets alone."""
    if kind == "classification":
        share = np.bincount(y_train.astype(int)) / len(y_train)
        return float(np.log(share[y.astype(int)]).mean())
    centre, sd = y_train.mean(), y_train.std()
    return float((-0.5 * ((y - centre) / sd) ** 2 - np.log(sd) - 0.5 * math.log(2 * math.pi)).mean())


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kind"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_learns_more_than_the_targets_alone(method, kind, data_root):
    task = TASKS.get(TASK[kind])
    y, split = np.asarray(task.data().y, dtype=float), task.splits(task.rules[0])[0]
    predictive, targets, _ = fitted(usable(method), kind, steps=1000)
    assert float(predictive.log_prob(targets).mean()) > marginal(y[split.train], y[split.test], kind) + 0.1


@pytest.mark.parametrize("method", ADAPTERS, ids=lambda method: method.name)
def test_a_missing_library_is_a_sentence(method, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as said:
        method().check()
    assert str(said.value) == f"{method.name} needs {method.library}; install it by `pip install {method.library}`."


@pytest.mark.parametrize("method", ADAPTERS, ids=lambda method: method.name)
def test_definition(method):
    """Named after its library, with a paper, and beside a method of ours that there is."""
    assert method.citation
    assert "adapters" in method.tags
    assert method.implements in {"", *METHODS.names()}
    assert method.__doc__


def test_every_library_has_an_extra_of_its_own():
    """With exactly one requirement, and none of them comes with `dev`."""
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for method in ADAPTERS:
        if method.module == "sklearn":  # which bnnbench needs anyway
            continue
        (requirement,) = extras[method.library.partition("[")[0]]
        assert requirement.startswith(f"{method.library}>=")
        assert not any(requirement.partition(">")[0] in own for own in extras["dev"])


@pytest.mark.parametrize("name", ["laplace-torch-kron", "laplace-torch-last"])
def test_closed_form_is_the_limit_of_many_draws(name, data_root):
    """The library's GLM predictive, against the mixture of linearised networks: mean and variance of a regression."""
    method = usable(METHODS.get(name))
    cell = Cell(TASKS.get("yacht"), method, "10fold", 0, 0, Budget("few", 200, 1000, 1, ""))
    found, _ = estimate(method, stack([cell], torch.device("cpu")))
    (drawn,) = Evaluator(found).test
    (closed,) = Evaluator(replace(found, estimator=replace(method, predictive="glm"))).test
    assert closed.mean.shape[0] == 1
    variance = drawn.mean.var(0) + (drawn.scale**2).mean(0)
    error = drawn.mean.std(0) / math.sqrt(1000)
    assert bool(((drawn.mean.mean(0) - closed.mean[0]).abs() < 5 * error + 1e-4).all())
    torch.testing.assert_close(variance.sqrt(), closed.scale[0], rtol=0.15, atol=0)  # 1,000 draws
