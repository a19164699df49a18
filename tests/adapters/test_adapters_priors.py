"""The prior that a library is given is the task's: sqrt(2 / fan-in) for weights and 1 for biases, on diabetes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence

from bnnbench.adapters import bayesian_torch, ivon_opt, posteriors, torch_uncertainty, training, vbll
from bnnbench.checks.problems import task as known_task
from bnnbench.engine.cell import Cell
from bnnbench.engine.estimate import assignment
from bnnbench.engine.pack import stack
from bnnbench.methods.map import MAP
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import Budget

pytestmark = pytest.mark.filterwarnings("ignore")

SCALES = [
    math.sqrt(2 / 10),
    1.0,
    math.sqrt(2 / 100),
    1.0,
    math.sqrt(2 / 100),
    1.0,
]  # weights and biases of 10-100-100-2


def given(task, rule="10fold"):
    return assignment(stack([Cell(task, MAP(), rule, 0, 0, Budget("few", 5, 10, 1, ""))], torch.device("cpu")))


@pytest.fixture(scope="module")
def diabetes():
    return given(TASKS.get("diabetes"))


def test_log_posterior_of_posteriors():
    """Per datum, of a linear model with noise 0.5, against SciPy."""
    problem = given(known_task(64, rows=64), "known")
    model, rng = training.Model(problem), np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=7).astype(np.float32)
    weights = posteriors.parameters(model)
    found, _ = posteriors.log_posterior(model, 64)(weights, (torch.as_tensor(x), torch.as_tensor(y)))
    w, b = (value.numpy() for value in weights.values())
    wanted = norm.logpdf(y, x @ w[0] + b, 0.5).mean()
    wanted += (norm.logpdf(w, 0, math.sqrt(2 / 3)).sum() + norm.logpdf(b, 0, 1).sum()) / 64
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_model_and_groups_of_ivon(diabetes):
    model = training.Model(diabetes)
    assert [scale.item() for scale in model.scales.values()] == pytest.approx(SCALES)
    assert [scale for _, scale in ivon_opt.scales(model)] == pytest.approx(SCALES)


def test_layers_of_torch_uncertainty(diabetes):
    pytest.importorskip("torch_uncertainty", exc_type=ImportError)
    torch.manual_seed(0)
    network = torch_uncertainty.TorchUncertaintyBBP().converted(diabetes)
    network(torch.zeros(1, 10))
    for i, layer in enumerate(network.layers):
        weight, bias = layer.weight_sampler.weight, layer.bias_sampler.weight
        wanted = Normal(0.0, SCALES[2 * i]).log_prob(weight).sum() + Normal(0.0, 1.0).log_prob(bias).sum()
        torch.testing.assert_close(layer.log_prior, wanted)


def test_layers_of_bayesian_torch(diabetes):
    pytest.importorskip("bayesian_torch", exc_type=ImportError)
    network = bayesian_torch.BayesianTorchFlipout().converted(diabetes)
    found = bayesian_torch.moments(network)
    assert [scale.unique().tolist() for *_, scale in found.values()] == [pytest.approx([scale]) for scale in SCALES]
    each = [kl_divergence(Normal(mean, sd), Normal(0.0, scale)).sum() for mean, sd, scale in found.values()]
    torch.testing.assert_close(bayesian_torch.summed_kl(network), torch.stack(each).sum())
    draws = [bayesian_torch.drawn(network)["layers.0.weight"] for _ in range(2000)]
    mean, sd, _ = found["layers.0.weight"]
    z = (torch.stack(draws) - mean) / sd
    assert abs(z.mean().item()) < 5 / math.sqrt(z.numel())
    assert z.std().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("task", "scale"), [("diabetes", 1.0), ("digits", 4.0)])
def test_layer_of_vbll(task, scale):
    """What the package calls the prior's scale is a variance."""
    pytest.importorskip("vbll")
    problem = given(TASKS.get(task))
    assert float(problem.prior.scale) == scale  # of classifications 4
    _, head = vbll.headless(problem.network())
    layer = vbll.LAYERS[problem.kind](vbll.VBLLPackage(covariance="diagonal"), head, problem, 64)
    assert layer.prior_scale == pytest.approx(scale**2 * 2 / 100)
    assert layer.regularization_weight == 1 / 64
