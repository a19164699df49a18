"""The problem a method sees: its energy, minibatches, weights and standardisation."""

import math

import pytest
import torch
from helpers import FIT, PAIRS, make_cells, make_pack, make_problem, normal
from torch import distributions as D
from torch.func import functional_call, vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.model import Categorical, GaussianPrior, Heteroscedastic, Homoscedastic
from bnnbench.nets import MLP, fan_in, initialise

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(20, 3, generator=GENERATOR, dtype=torch.float64)
Y = torch.randn(20, generator=GENERATOR, dtype=torch.float64)
KINDS = {
    "heteroscedastic": (Heteroscedastic(), Y),
    "homoscedastic": (Homoscedastic(), Y),
    "classification": (Categorical(3), torch.arange(20) % 3),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def problem_of(kind: str, **changes):
    likelihood, y = KINDS[kind]
    return make_problem(X, y, likelihood, **changes)


def log_joint(kind, params, weight):
    """log p(data, params) by torch.distributions, from nothing of ours but the network."""
    _, y = KINDS[kind]
    net = MLP(3, (5,), {"heteroscedastic": 2, "homoscedastic": 1, "classification": 3}[kind]).double()
    out = functional_call(net, {k: v for k, v in params.items() if k != "log_noise"}, (X,))
    prior = sum(
        normal(0.0, math.sqrt(2 / v.shape[1]) if v.dim() == 2 else 1.0).log_prob(v).sum()
        for k, v in params.items()
        if k != "log_noise"
    )
    if kind == "classification":
        logs = D.Categorical(logits=out).log_prob(y)
    elif kind == "homoscedastic":
        logs = normal(out[:, 0], 1e-3 + params["log_noise"].exp()).log_prob(y)
        prior = prior + normal(-1.0, 1.0).log_prob(params["log_noise"])
    else:
        logs = normal(out[:, 0], 1e-3 + torch.nn.functional.softplus(out[:, 1])).log_prob(y)
    return (weight * logs).sum(), prior


WEIGHTS = {
    "all": torch.ones(20, dtype=torch.float64),
    "padded": (torch.arange(20) < 13).double(),
    "bootstrap": torch.tensor([0.0, 2.0, 1.0, 3.0, 0.0] * 4, dtype=torch.float64),
    "none": torch.zeros(20, dtype=torch.float64),
}


@every_kind
@pytest.mark.parametrize("weights", WEIGHTS)
def test_energy_is_the_log_joint_over_n(kind, weights):
    """The mean over 4,000 minibatches is -(1/n) log p(data, w); 5 sigma alarms once in 10^6 each. Its prior term is
    exact, and without data it is all there is."""
    weight = WEIGHTS[weights]
    problem = problem_of(kind).subset(weight)
    params = problem.init_params(random.key(1))
    data, prior = log_joint(kind, params, weight)
    n = max(float(weight.sum()), 1.0)
    assert float(problem.n) == n
    assert_close(problem.log_prior(params), prior)
    energies = vmap(lambda k: problem.energy(params, problem.minibatch(k)))(random.split(random.key(2), 4000))
    error = energies.mean() + (data + prior) / n
    assert abs(error) <= 5 * energies.std() / math.sqrt(4000) + 1e-12
    if weights == "none":
        assert_close(energies, -prior.expand(4000), rtol=1e-12, atol=0)
    total = problem.over_data(lambda batch: (batch.weight * problem.log_likelihood(params, batch)).sum(), chunk=7)
    assert_close(total, data)


def test_minibatches_draw_every_row_equally_and_padding_never():
    """chi^2 of 64,000 draws among 20 rows; the 1 - 10^-6 quantile at 19 degrees of freedom is 63.6."""
    index = torch.cat([torch.arange(20), torch.zeros(30, dtype=torch.int64)])
    problem = problem_of("heteroscedastic")
    padded = torch.cat([torch.ones(20), torch.zeros(30)]).double()
    rows = problem.rows._replace(index=index, weight=padded)
    problem = type(problem)(**{**vars(problem), "rows": rows})
    batch = vmap(problem.minibatch)(random.split(random.key(0), 8000))
    assert batch.x.shape == (8000, 8, 3)
    assert (batch.weight == 1).all()
    counts = torch.stack([(batch.y == y).sum() for y in Y]).double()
    assert counts.sum() == 64000
    assert ((counts - 3200) ** 2 / 3200).sum() < 63.6
    assert_close(problem.over_data(lambda b: b.weight.sum()), torch.tensor(20.0, dtype=torch.float64))


@pytest.mark.parametrize("task", [task for method, task in PAIRS if method == "map"])
def test_train_rows_are_standardised_by_themselves_alone(task):
    pack = make_pack(make_cells("map", task))
    for r, split in enumerate(pack.splits):
        rows = type(pack.problem.rows)(*(value[r] for value in pack.problem.rows))
        problem = pack.problem_of(pack.problem.table, rows, pack.problem.t)
        assert float(problem.n) == FIT[r] == len(split.train)
        x = problem.over_data(lambda b: (b.weight[:, None] * b.x).sum(0)) / FIT[r]
        xx = problem.over_data(lambda b: (b.weight[:, None] * b.x**2).sum(0)) / FIT[r]
        assert_close((x, xx), (torch.zeros_like(x), torch.ones_like(x)))
        if task == "classification":
            assert problem.over_data(lambda b: b.y.max()).dtype == torch.int64
            continue
        y = problem.over_data(lambda b: torch.stack([(b.weight * b.y).sum(), (b.weight * b.y**2).sum()])) / FIT[r]
        assert_close(y, torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_predictions_come_back_in_the_targets_unit():
    """Targets in another unit: the same network, another standardisation; the density changes by the Jacobian."""
    problem = problem_of("heteroscedastic")
    params = {k: v[None] for k, v in problem.init_params(random.key(0)).items()}
    ten = torch.tensor(10.0, dtype=torch.float64)
    other = type(problem)(**{**vars(problem), "rows": problem.rows._replace(y_shift=3 * ten, y_scale=ten)})
    got = other.predict(params, X).log_prob(30 + 10 * Y)
    assert_close(got, problem.predict(params, X).log_prob(Y) - math.log(10))


def test_inputs_of_a_prediction_are_standardised():
    problem = problem_of("homoscedastic")
    params = problem.init_params(random.key(0))
    shift, scale = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([1.0, 10.0, 0.1]).double()
    moved = type(problem)(**{**vars(problem), "rows": problem.rows._replace(x_shift=shift, x_scale=scale)})
    stacked = {k: v[None] for k, v in params.items()}
    assert_close(moved.predict(stacked, shift + scale * X).mean, problem.predict(stacked, X).mean)
    assert_close(problem.predict(stacked, X).mean[0], problem.apply(params, X)[:, 0])


def test_with_prior_changes_the_prior_alone():
    problem = problem_of("heteroscedastic")
    params = problem.init_params(random.key(0))
    wide, batch = problem.with_prior(GaussianPrior(3.0)), problem.minibatch(random.key(0))
    assert_close(wide.mean_nll(params, batch), problem.mean_nll(params, batch))
    assert wide.log_prior(params) != problem.log_prior(params)


def test_initialisation_is_pytorchs_distribution():
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)) by the Kolmogorov-Smirnov distance; c = 2.7 alarms once in 10^6."""
    network = MLP(40, (300,), 2)
    params = initialise(network, random.key(0))
    assert {k: v.shape for k, v in params.items()} == {k: v.shape for k, v in network.state_dict().items()}
    for name, value in params.items():
        layer = 40 if name.startswith("layers.0") else 300
        if value.dim() == 2:
            assert fan_in(value) == layer
        u = (value.flatten() * math.sqrt(layer) / 2 + 0.5).sort().values
        assert (u >= 0).all()
        assert (u <= 1).all()
        distance = (u - (torch.arange(len(u)) + 0.5) / len(u)).abs().max()
        assert distance < 2.7 / math.sqrt(len(u)) + 0.5 / len(u)
    flat = torch.cat([v.flatten() for v in params.values()])
    assert len(flat.unique()) > 0.99 * len(flat)  # no draw serves two layers
