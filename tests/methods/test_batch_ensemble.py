"""BatchEnsemble against a loop over rows and members with explicit weights W o (r s^T)."""

import pytest
import torch
import torch.nn.functional as F
from helpers import make_problem, normal
from torch import nn
from torch.func import vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.checks.checks import linear_regression
from bnnbench.errors import UserError
from bnnbench.layers import keyed
from bnnbench.methods import batch_ensemble, configure
from bnnbench.methods.batch_ensemble import BatchEnsemble, assigned, factors, networks, of_rows, shared
from bnnbench.methods.map import MAP
from bnnbench.methods.optimise import adam_step
from bnnbench.model import Categorical, Homoscedastic

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(20, 3, generator=GENERATOR, dtype=torch.float64)
IMAGES = torch.randn(20, 2 * 6 * 6, generator=GENERATOR, dtype=torch.float64)
CONVOLUTION = {"stride": 2, "padding": 1}
METHOD = BatchEnsemble(members=3, spread=0.5)


def cnn():
    return nn.Sequential(nn.Unflatten(1, (2, 6, 6)), nn.Conv2d(2, 3, 3, **CONVOLUTION), nn.Tanh(), nn.Flatten(),
                         nn.Linear(27, 4, bias=False)).double()  # fmt: skip


def problem_of(kind):
    if kind == "mlp":
        return make_problem(X, X[:, 0].sin(), Homoscedastic(), batch_size=7)
    return make_problem(IMAGES, torch.arange(20) % 4, Categorical(4), batch_size=7).with_network(cnn())


# The oracle: one row and one member at a time, the networks written out.


def weight(params, layer, k):
    """W o (r s^T) of one member, by loops over outputs and inputs."""
    W, r, s = params[f"weight.{layer}"], params[f"r.{layer}"][k], params[f"s.{layer}"][k]
    return torch.stack([torch.stack([W[o, i] * r[o] * s[i] for i in range(len(s))]) for o in range(len(r))])


def outputs(params, k, x, kind):
    if kind == "mlp":
        h = torch.relu(weight(params, "layers.0", k) @ x + params["bias.layers.0"][k])
        return weight(params, "layers.1", k) @ h + params["bias.layers.1"][k]
    h = F.conv2d(x.reshape(1, 2, 6, 6), weight(params, "1", k), params["bias.1"][k], **CONVOLUTION)
    return weight(params, "4", k) @ torch.tanh(h).reshape(-1)


def log_prior(params, k, kind):
    total = 0.0
    for layer in ("layers.0", "layers.1") if kind == "mlp" else ("1", "4"):
        w = weight(params, layer, k)
        total = total + normal(0, (2 / w[0].numel()) ** 0.5).log_prob(w).sum()
        if f"bias.{layer}" in params:
            total = total + normal(0, 1).log_prob(params[f"bias.{layer}"][k]).sum()
    return total + (normal(-1, 1).log_prob(params["log_noise"]) if kind == "mlp" else 0)


def energy(params, batch, first, kind, members=3):
    """The mean of the members' energies, row i being of member (i + first) mod K."""
    nll = 0.0
    for i in range(7):
        out = outputs(params, (i + first) % members, batch.x[i], kind)
        if kind == "mlp":
            nll = nll - normal(out[0], 1e-3 + params["log_noise"].exp()).log_prob(batch.y[i])
        else:
            nll = nll - out.log_softmax(0)[batch.y[i]]
    return nll / 7 - sum(log_prior(params, k, kind) for k in range(members)) / (20 * members)


def agrees(method, kind):
    """Whether loss and gradients of the method's first update are those of the oracle, for one of the members to
    begin with."""
    problem = method.prepare(problem_of(kind))
    for seed in range(3):
        key = random.key(seed)
        state = method.init(random.key(9), problem)
        new, info = method.update(key, state, problem)
        batch = problem.minibatch(key)
        losses = [energy(state.params, batch, first, kind) for first in range(3)]
        near = [abs(float(loss - info["loss"])) < 1e-9 for loss in losses]
        if sum(near) != 1:
            return False
        gradient = torch.func.grad(energy)(state.params, batch, near.index(True), kind)
        for name, value in gradient.items():
            if not torch.allclose(new.mean[name], 0.1 * value, rtol=1e-7, atol=1e-10):  # Adam's first running mean
                return False
    return True


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_objective_is_the_mean_of_the_members_energies(kind):
    assert agrees(METHOD, kind)


class DecaysTheSharedWeight(BatchEnsemble):
    """The prior of W, and not of the members' weights."""

    def update(self, key, state, problem):
        batch = problem.minibatch(key)
        which = assigned(random.fold_in(key, 1), len(batch.weight), self.members).double()

        def objective(params):
            with keyed(key, factors=factors(of_rows(params, which))):
                nll = problem.mean_nll(shared(params), batch)
            ones = {name: torch.ones_like(v) for name, v in params.items() if name.startswith(("r.", "s."))}
            return nll - vmap(problem.log_prior)(networks(params | ones)).mean() / problem.n

        return adam_step(objective, state, problem, self.lr)


def test_a_prior_of_the_shared_weight_is_caught():
    assert not agrees(DecaysTheSharedWeight(members=3, spread=0.5), "mlp")


def test_rows_without_members_of_their_own_are_caught(monkeypatch):
    first = lambda key, rows, members: torch.eye(members)[:1].expand(rows, -1)  # noqa: E731
    monkeypatch.setattr(batch_ensemble, "assigned", first)
    assert not agrees(METHOD, "mlp")


def test_members_start_apart_and_with_the_plain_network_s_weights():
    """Signs leave every weight its size; W and the biases start where `map` starts."""
    problem = METHOD.prepare(problem_of("mlp"))
    plain = MAP().init(random.key(9), problem).params
    for method in (METHOD, BatchEnsemble(members=3, start="signs")):
        state = method.init(random.key(9), problem)
        for layer in ("layers.0", "layers.1"):
            assert_close(state.params[f"weight.{layer}"], plain[f"{layer}.weight"], rtol=0, atol=0)
            assert_close(state.params[f"bias.{layer}"], plain[f"{layer}.bias"].expand(3, -1), rtol=0, atol=0)
        draws = method.posterior(state, None, problem).sample(random.key(0), problem, 3)
        assert all(len(value.unique(dim=0)) == 3 for name, value in draws.items() if name.endswith("weight"))
        if method.start == "signs":
            assert_close(draws["layers.0.weight"].abs(), plain["layers.0.weight"].abs().expand(3, -1, -1))


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_predictive_is_the_mixture_of_explicit_networks(kind):
    problem = METHOD.prepare(problem_of(kind))
    state = METHOD.init(random.key(9), problem)
    found = METHOD.posterior(state, None, problem).predictive(random.key(0), problem, problem.table.x, 99)
    for k in range(3):
        out = torch.stack([outputs(state.params, k, x, kind) for x in problem.table.x])
        assert_close(found[0][k], out[:, 0] if kind == "mlp" else out.log_softmax(1))
    assert len(found[0]) == 3


@pytest.mark.parametrize(("rows", "members"), [(32, 4), (7, 3), (2, 5)])
def test_rows_are_shared_out_evenly(rows, members):
    """Each row has one member; the numbers of rows differ by one at most, and over many steps every member has its
    share (600 steps; 5 sigma of a member's mean number of rows, at most rows / 2 / sqrt(600))."""
    total = torch.zeros(members)
    for seed in range(600):
        which = assigned(random.key(seed), rows, members)
        assert (which.sum(1) == 1).all()
        counts = which.sum(0)
        assert counts.max() - counts.min() <= 1
        total += counts
    assert ((total / 600 - rows / members).abs() <= 5 * 0.5 / 600**0.5).all()


def test_it_costs_one_network():
    assert BatchEnsemble().num_networks == 1


@pytest.mark.parametrize(("setting", "value"), [("start", "zeros"), ("members", "0"), ("spread", "0")])
def test_settings_out_of_range(setting, value):
    with pytest.raises(UserError, match=rf"^batch-ensemble\.{setting} must"):
        configure(BatchEnsemble, {setting: value})


class PriorOfEach(BatchEnsemble):
    """The priors of all members added up, where their mean belongs."""

    def update(self, key, state, problem):
        return super().update(key, state, problem.scaled(self.members**-0.5))


@pytest.mark.slow
def test_check_catches_a_prior_that_counts_once_a_member():
    verdicts = {verdict.name: verdict.passed for verdict in linear_regression(PriorOfEach(members=16))}
    assert verdicts["linear regression: mean"] is False, verdicts
