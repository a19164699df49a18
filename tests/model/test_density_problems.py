"""Problems whose model is a density: what they minimise, against closed forms and brute force."""

import math

import pytest
import torch
from helpers import ThreeNormals
from torch.distributions import Bernoulli, Normal, kl_divergence

from bnnbench import random
from bnnbench.flows import Chain, Constant, Flow, Inverse, maf, realnvp
from bnnbench.model import AutoencoderProblem, DensityProblem, EnergyProblem, GaussianPrior, Rows, Table
from bnnbench.model.autoencoder import CONTEXT, Autoencoder
from bnnbench.model.density_problem import LogDensity

REAL = {"dtype": torch.float64}


def problem_of(cls, dim=3, shift=0.0, scale=1.0, steps=100, t=0.0, **more):
    x, one = torch.zeros(5, dim, **REAL), torch.ones((), **REAL)
    rows = Rows(
        torch.arange(5), one.expand(5), torch.tensor(5), 5 * one, shift + 0 * x[0], scale + 0 * x[0], 0 * one, one
    )
    table = Table(x, x[:, 0])
    return cls(torch.nn.Identity(), LogDensity(), GaussianPrior(), table, rows, 64, steps, t * one, **more)


def gaussian(mean, scale):
    """A flow whose density is a normal with these moments."""
    flow = Flow(Chain([Constant(len(mean))])).double()
    constant = flow.bijection.parts[0]
    constant.log_scale.data, constant.shift.data = -scale.log(), -mean / scale
    return flow


def test_log_density_is_per_original_unit():
    mean, scale = torch.tensor([0.3, -0.2, 0.0], **REAL), torch.tensor([0.5, 1.0, 2.0], **REAL)
    problem = problem_of(DensityProblem, shift=4.0, scale=10.0, draw=ThreeNormals().sample)
    problem = problem.with_network(gaussian(mean, scale))
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), **REAL) * 20
    noise = problem.latent_noise(random.key(0), 9)
    assert noise.shape == (9, 0)
    found = problem.log_weights(dict(problem.network.named_parameters()), x, noise)
    assert found.shape == (1, 7)
    torch.testing.assert_close(found[0], Normal(4 + 10 * mean, 10 * scale).log_prob(x).sum(-1))


def test_draws_are_fitted_by_cross_entropy():
    """Mean over many minibatches against H(p, q) of two normals in closed form."""
    mean, scale = torch.tensor([0.3, -0.2, 0.0], **REAL), torch.tensor([0.5, 1.0, 2.0], **REAL)
    problem = problem_of(DensityProblem, draw=ThreeNormals().sample).with_network(gaussian(mean, scale))
    params = dict(problem.network.named_parameters())
    losses = torch.stack([problem.loss(random.key(seed), params).detach() for seed in range(400)])
    p, q = Normal(torch.zeros(3, **REAL), 1.0), Normal(mean, scale)
    exact = float((kl_divergence(p, q) + p.entropy()).sum())
    assert abs(float(losses.mean()) - exact) < 5 * float(losses.std()) / 20


@pytest.mark.parametrize(("t", "inverse_temperature"), [(0, 0.01), (25, 0.51), (50, 1.0), (99, 1.0)])
def test_energies_are_fitted_by_annealed_reverse_kl(t, inverse_temperature):
    mean, scale = torch.tensor([0.3, -0.2, 0.0], **REAL), torch.tensor([0.5, 1.0, 1.5], **REAL)
    problem = problem_of(EnergyProblem, t=t, log_density=lambda z: ThreeNormals().log_density(z) + 3.0)
    problem = problem.with_network(gaussian(mean, scale))
    params = dict(problem.network.named_parameters())
    losses = torch.stack([problem.loss(random.key(seed), params).detach() for seed in range(400)])
    q, p = Normal(mean, scale), Normal(torch.zeros(3, **REAL), 1.0)
    cross = float((kl_divergence(q, p) + q.entropy()).sum()) - 3.0
    exact = -float(q.entropy().sum()) + inverse_temperature * cross
    assert abs(float(losses.mean()) - exact) < 5 * float(losses.std()) / 20


def tiny_autoencoder(flow):
    model = Autoencoder(flow, 6, (8,)).double()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.5 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel()), **REAL))
    return model


FLOWS = {
    "none": lambda: Flow(Chain([Constant(1)])),
    "iaf": lambda: Flow(Inverse(maf(1, 2, (5,), CONTEXT).bijection)),
}


@pytest.mark.parametrize("name", FLOWS)
def test_importance_weights_average_to_the_likelihood(name):
    """p(x) by a fine grid of the one latent number, from the decoder alone."""
    model = tiny_autoencoder(FLOWS[name]())
    x = (torch.arange(6, **REAL) % 2)[None]
    problem = problem_of(AutoencoderProblem, dim=6, latent=1)
    problem = problem.__class__(**vars(problem) | {"network": model})
    with torch.no_grad():
        z = torch.linspace(-12, 12, 20_001, **REAL)[:, None]
        likelihood = Bernoulli(logits=model.decoder(z)).log_prob(x).sum(-1) + Normal(0.0, 1.0).log_prob(z)[:, 0]
        exact = torch.logsumexp(likelihood, 0) + math.log(24 / 20_000)
        noise = problem.latent_noise(random.key(3), 20_000)
        weights = problem.log_weights(dict(model.named_parameters()), x, noise)[:, 0]
    ratio = (weights - exact).exp()
    assert abs(float(ratio.mean()) - 1) < 5 * float(ratio.std()) / 20_000**0.5 + 1e-6
    assert weights.mean() < exact


@pytest.mark.parametrize(("t", "weight"), [(0.0, 0.01), (10.0, 0.41), (25.0, 1.0), (99.0, 1.0)])
def test_a_fit_of_an_autoencoder_minimises_minus_the_bound_under_kl_annealing(t, weight):
    model = Autoencoder(realnvp(4, 2, (5,), CONTEXT), 6, (8,)).double()
    problem = problem_of(AutoencoderProblem, t=t, dim=6, latent=4).with_network(model)
    params = problem.init_params(random.key(0))
    loss = problem.loss(random.key(1), params)
    x = problem.table.x[:1].expand(64, 6)  # all rows are zeros
    noise = random.normal(random.fold_in(random.key(1), 1), (64, 4)).to(x)
    model.load_state_dict(params)
    z, log_q = model.posterior(x, noise)
    divergence = log_q - Normal(0.0, 1.0).log_prob(z).sum(-1)
    likelihood = Bernoulli(logits=model.decoder(z)).log_prob(x).sum(-1)
    torch.testing.assert_close(loss, (weight * divergence - likelihood).mean())
