"""Densities against torch.distributions, and the units of predictions."""

import math

import pytest
import torch
from torch import distributions as D
from torch.testing import assert_close

from bnnbench.model import (
    Categorical,
    GaussianPrior,
    Heteroscedastic,
    Homoscedastic,
    LaplacePrior,
    ScaleMixturePrior,
)
from bnnbench.model.likelihoods import SCALE_FLOOR

OUT = torch.tensor([[0.3, -2.0], [-1.2, 0.0], [5.0, 4.0], [0.0, -40.0]], dtype=torch.float64)
Y = torch.tensor([0.1, -3.0, 5.5, 0.0005], dtype=torch.float64)
PARAMS = {"log_noise": torch.tensor(-0.7, dtype=torch.float64)}
ZERO, ONE = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)

heteroscedastic = D.Normal(OUT[:, 0], SCALE_FLOOR + torch.log1p(OUT[:, 1].exp()))
homoscedastic = D.Normal(OUT[:, 0], SCALE_FLOOR + math.exp(-0.7))


@pytest.mark.parametrize(
    ("likelihood", "out", "want"),
    [(Heteroscedastic(), OUT, heteroscedastic), (Homoscedastic(), OUT[:, :1], homoscedastic)],
)
def test_gaussian_likelihoods(likelihood, out, want):
    assert likelihood.outputs == out.shape[1]
    assert_close(likelihood.log_prob(PARAMS, out, Y), want.log_prob(Y))


def test_categorical():
    likelihood, classes = Categorical(2), torch.tensor([0, 1, 1, 0])
    assert likelihood.outputs == 2
    assert_close(likelihood.log_prob({}, OUT, classes), D.Categorical(logits=OUT).log_prob(classes))
    component = likelihood.predictive({}, OUT, ZERO, ONE)
    assert_close(component.log_probs.exp(), OUT.softmax(-1))


@pytest.mark.parametrize(("likelihood", "out"), [(Heteroscedastic(), OUT), (Homoscedastic(), OUT[:, :1])])
def test_predictive_is_in_original_units(likelihood, out):
    """y = shift + scale z: p(y) = p(z) / scale, so ten times the unit costs log 10."""
    z = Y
    for shift, scale in [(0.0, 1.0), (-7.0, 10.0)]:
        component = likelihood.predictive(PARAMS, out, shift + ZERO, scale * ONE)
        mixture = type(component)(*(value[None] for value in component))
        want = likelihood.log_prob(PARAMS, out, z) - math.log(scale)
        assert_close(mixture.log_prob(shift + scale * z), want)


def test_noise_starts_at_its_priors_mean_and_has_that_prior():
    start = Homoscedastic().init_params(OUT)
    assert_close(start, {"log_noise": -ONE})
    for value in (-3.0, -1.0, 0.5):
        want = D.Normal(-1.0, 1.0).log_prob(torch.tensor(value))
        assert_close(Homoscedastic().log_prior({"log_noise": torch.tensor(value)}), want)
    assert Heteroscedastic().init_params(OUT) == Categorical(3).init_params(OUT) == {}
    assert Heteroscedastic().log_prior({}) == Categorical(3).log_prior({}) == 0.0


def mixture(scale: float) -> D.Distribution:
    weights = D.Categorical(torch.tensor([0.25, 0.75], dtype=torch.float64))
    return D.MixtureSameFamily(weights, D.Normal(ZERO, torch.stack([scale * ONE, 0.05 * scale * ONE])))


@pytest.mark.parametrize("fan_in_scaled", [True, False])
@pytest.mark.parametrize(
    ("prior", "distribution"),
    [
        (GaussianPrior(0.7), lambda s: D.Normal(ZERO, 0.7 * s)),
        (LaplacePrior(0.7), lambda s: D.Laplace(ZERO, 0.7 * s)),
        (ScaleMixturePrior(0.7, weight=0.25, ratio=0.05), lambda s: mixture(0.7 * s)),
    ],
    ids=["gaussian", "laplace", "mixture"],
)
def test_priors(prior, distribution, fan_in_scaled):
    """Factorised over weights, the scale of a weight matrix following its fan-in; a mixture mixes per weight."""
    prior = type(prior)(**{**vars(prior), "fan_in_scaled": fan_in_scaled})
    generator = torch.Generator().manual_seed(0)
    shapes = {"layer.weight": (3, 8), "layer.bias": (3,), "kernel.weight": (4, 2, 3, 3)}
    params = {k: 0.5 * torch.randn(s, generator=generator, dtype=torch.float64) for k, s in shapes.items()}
    scales = {"layer.weight": math.sqrt(2 / 8), "layer.bias": 1.0, "kernel.weight": math.sqrt(2 / 18)}
    want = sum(distribution(scales[k] if fan_in_scaled else 1.0).log_prob(v).sum() for k, v in params.items())
    assert_close(prior.log_prob(params), want)


def test_the_default_prior_keeps_outputs_of_order_one_at_any_width():
    """Var of an output of a ReLU network under the prior: 2 * second moment of the last hidden layer + 1, and that
    moment grows by 1/2 a layer, so with inputs of length sqrt(d), two hidden layers: 2 * (1/2) * (...) exactly
    2 * h2 + 1, h1 = (2 + 1) / 2, h2 = (2 h1 + 1) / 2. 4,000 draws; 6 sigma alarms once in 10^8."""
    h1 = (2 + 1) / 2
    want = 2 * (2 * h1 + 1) / 2 + 1
    generator = torch.Generator().manual_seed(0)
    for width in (5, 200):
        draws = []
        for _ in range(4000):
            x = torch.ones(10)
            for i, o in ((10, width), (width, width), (width, 1)):
                scale = GaussianPrior().scale_of(torch.empty(o, i))
                x = scale * torch.randn(o, i, generator=generator) @ x + torch.randn(o, generator=generator)
                x = x.relu() if o != 1 else x
            draws.append(x[0] ** 2)
        square = torch.stack(draws)
        assert abs(square.mean() - want) < 6 * square.std() / math.sqrt(4000)
