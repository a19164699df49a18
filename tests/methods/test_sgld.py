"""SGLD: samples of known posteriors, by many chains in parallel."""

import math

import pytest
import torch
from helpers import make_problem
from scipy import stats
from torch import Tensor
from torch.func import vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.checks.problems import KnownNoise
from bnnbench.methods.sgld import SGLD
from bnnbench.model import Batch, Heteroscedastic, Homoscedastic
from bnnbench.model.predictive import normal_log_density

CHAINS = 1000


def chains(problem, method: SGLD, start=None) -> Tensor:
    """The last states of all chains, flat [CHAINS, weights]."""
    keys = random.split(random.key(0), CHAINS)
    state = vmap(lambda k: method.init(k, problem))(keys)

    def one(key, state, t):
        return method.update(key, state, type(problem)(**{**vars(problem), "t": t}))[0]

    step = vmap(one, in_dims=(0, 0, None), randomness="error")
    for t in range(problem.steps):
        state = step(random.fold_in(keys, t), state, torch.tensor(float(t)).to(problem.t))
    return torch.cat([value.reshape(CHAINS, -1) for value in state.values()], 1)


@pytest.mark.parametrize("likelihood", [Heteroscedastic(), Homoscedastic()])
def test_without_data_it_returns_the_prior(likelihood):
    """Kolmogorov-Smirnov of 1,000 chains for each weight, Bonferroni: a false alarm in 10^4. A step h contracts the
    distance to the start by h / scale^2 and inflates the variance by h / (2 scale^2), 1.3 % here."""
    x, y = torch.randn(10, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(10)
    problem = make_problem(x, y, likelihood, hidden=(3,), weight=torch.zeros(10), steps=400)
    flat = chains(problem, SGLD(lr=0.05, final_lr_fraction=0.2))
    scales = {2: 1.0, 3: math.sqrt(2 / 3)}  # by fan-in; 1 for biases
    priors = []
    for name, value in problem.init_params(random.key(0)).items():
        scale = scales[value.shape[1]] if value.dim() == 2 else 1.0
        priors += [(-1.0 if name == "log_noise" else 0.0, scale)] * value.numel()
    levels = [stats.kstest(column, "norm", args).pvalue for column, args in zip(flat.T.numpy(), priors, strict=True)]
    assert len(levels) == flat.shape[1]
    assert min(levels) > 1e-4 / len(levels)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_conjugate_linear_regression(temperature):
    """The closed-form posterior N(m, T S) of a linear network with known noise, the batch the whole of the data.

    Mean and covariance of 1,000 chains within 6 standard errors (13 + 13 comparisons: once in 10^7) plus the
    discretisation, which inflates a variance by a relative (h / 4) n / variance < 2 %.
    """
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    y = x @ torch.tensor([1.0, -0.5]).double() + 0.3 + 0.5 * torch.randn(30, generator=generator).double()
    problem = make_problem(x, y, KnownNoise(), hidden=(), steps=500)
    problem = FullBatch(**vars(problem))
    assert_close(problem.minibatch(random.key(0)), Batch(x, y, torch.ones(30).double()))
    flat = chains(problem, SGLD(lr=0.02, final_lr_fraction=0.1, temperature=temperature))

    design = torch.cat([x, torch.ones(30, 1).double()], 1)  # weights, then the bias
    precision = design.T @ design / 0.25 + torch.eye(3)  # prior N(0, 1): sqrt(2 / fan-in) = 1 for two inputs
    cov = torch.linalg.inv(precision)
    mean = cov @ design.T @ y / 0.25
    cov = temperature * cov
    sd = cov.diagonal().sqrt()
    assert ((flat.mean(0) - mean).abs() < 6 * sd / math.sqrt(CHAINS)).all()
    error = (torch.cov(flat.T) - cov) / torch.outer(sd, sd)
    assert (error.abs() < 6 * math.sqrt(2 / CHAINS) + 0.02).all()


class FullBatch(type(make_problem(torch.zeros(1, 1), torch.zeros(1)))):
    """A problem whose minibatch is all of its rows."""

    def minibatch(self, key):
        return self.over_data(lambda batch: batch)


@pytest.mark.parametrize(("n", "temperature", "t"), [(10, 1.0, 0), (40, 1.0, 0), (10, 0.25, 0), (10, 1.0, 100)])
def test_one_step(n, temperature, t):
    """w - h grad U + sqrt(2 h T / n) xi, h falling by a cosine from lr to a part of it; 5 sigma on the noise's sd."""
    x, y = torch.zeros(40, 30).double(), torch.zeros(40).double()
    weight = (torch.arange(40) < n).double()
    problem = FullBatch(**vars(make_problem(x, y, KnownNoise(), hidden=(20,), weight=weight)))
    problem = type(problem)(**{**vars(problem), "t": torch.tensor(float(t)).double()})
    method = SGLD(lr=0.01, final_lr_fraction=0.3, temperature=temperature)
    state = method.init(random.key(0), problem)
    batch = problem.minibatch(random.key(0))
    params = {name: value.clone().requires_grad_() for name, value in state.items()}
    energy = -normal_log_density(batch.y, problem.apply(params, batch.x)[:, 0], torch.tensor(0.5)) * weight
    (energy.sum() / n - problem.log_prior(params) / n).backward()
    new, _ = method.update(random.key(5), state, problem)
    h = 0.01 if t == 0 else 0.003
    xi = torch.cat([(new[k] - state[k] + h * params[k].grad).flatten() for k in state])
    xi /= math.sqrt(2 * h * temperature / n)
    assert abs(xi.mean()) < 5 / math.sqrt(len(xi))
    assert abs(xi.std() - 1) < 5 / math.sqrt(2 * len(xi))


@pytest.mark.parametrize(
    ("steps", "burn_in", "samples"), [(3000, 0.5, 50), (50, 0.5, 50), (50, 0.9, 3), (7, 0.0, 7), (1, 0.5, 50)]
)
def test_schedule(steps, burn_in, samples):
    """Evenly spaced after burn-in, the last step among them, never more than there are."""
    kept = list(SGLD(burn_in=burn_in, samples=samples).schedule(steps))
    assert len(kept) == min(samples, steps - int(burn_in * steps))
    assert kept == sorted(set(kept))
    assert kept[0] >= int(burn_in * steps)
    assert kept[-1] == steps - 1
    if len(kept) > 2:
        gaps = torch.tensor(kept).diff()
        assert gaps.max() - gaps.min() <= 1


def test_predicts_by_its_draws():
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    problem = make_problem(x, x[:, 0])
    draws = vmap(problem.init_params)(random.split(random.key(0), 4))
    last, method = problem.init_params(random.key(1)), SGLD()
    mixture = method.posterior(last, draws, problem).predictive(random.key(0), problem, x, 99)
    for s in range(4):
        own = method.posterior({k: v[s] for k, v in draws.items()}, None, problem)
        assert_close(mixture.mean[s], own.predictive(random.key(0), problem, x, 99).mean[0])


def test_a_budget_of_fewer_samples_takes_draws_evenly():
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    problem = make_problem(x, x[:, 0])
    draws = vmap(problem.init_params)(random.split(random.key(0), 6))
    posterior = SGLD().posterior(None, draws, problem)
    assert [posterior.size(samples) for samples in (3, 6, 99)] == [3, 6, 6]
    few = posterior.sample(random.key(0), problem, 3)
    assert_close(few, {name: value[[1, 3, 5]] for name, value in draws.items()}, rtol=0, atol=0)
    part = posterior.sample(random.key(0), problem, random.Span(1, 3, 3))
    assert_close(part, {name: value[[3, 5]] for name, value in draws.items()}, rtol=0, atol=0)
