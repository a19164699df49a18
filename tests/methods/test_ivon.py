"""IVON against its authors' package, step by step with the same noise, and against what it is to come to."""

from dataclasses import replace

import ivon
import pytest
import torch
from helpers import make_problem
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.methods.ivon import IVON
from bnnbench.methods.optimise import one_cycle
from bnnbench.model import Categorical, Heteroscedastic, Homoscedastic, LaplacePrior
from bnnbench.model.parameters import noise

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(40, 3, generator=GENERATOR, dtype=torch.float64)
Y = torch.sin(2 * X[:, 0])
CLASSES = (Y * 1.4).round() + 1
STEPS = 30


def at(problem, t):
    """The problem at a step."""
    return replace(problem, t=torch.tensor(float(t), dtype=torch.float64))


def centre_of(name):
    return -1.0 if name == "log_noise" else 0.0


def scale_of(name, value, factor=1.0):
    """Of the prior; that of the noise has no factor."""
    return 1.0 if name == "log_noise" else factor * ((2 / value.shape[1]) ** 0.5 if value.dim() == 2 else 1.0)


class Peer:
    """The authors' optimiser on the parameters less their prior's means, each a group of its own weight decay."""

    def __init__(self, method, problem, mean):
        self.problem, self.method = problem, method
        self.params = {name: torch.nn.Parameter(value - centre_of(name)) for name, value in mean.items()}
        n = float(problem.n)
        groups = [
            {"params": [self.params[name]], "weight_decay": 1 / (n * scale_of(name, value, method.prior_scale) ** 2)}
            for name, value in mean.items()
        ]
        self.optimiser = ivon.IVON(
            groups, lr=1.0, ess=n / method.temperature, hess_init=method.hess_init, beta1=method.beta1,
            beta2=method.beta2, clip_radius=method.clip, mc_samples=method.samples,
        )  # fmt: skip

    def step(self, t, key, monkeypatch):
        """One step whose draws are the method's, each weight sample seeing its part of the minibatch."""
        problem, samples = self.problem, self.method.samples
        batch = problem.minibatch(key)
        draws = [noise(k, self.params) for k in random.split(key, samples)]
        queue = [draw[name].double() for draw in draws for name in self.params]
        monkeypatch.setattr(torch, "randn", lambda *args, **kwargs: queue.pop(0).reshape(-1))
        rows = len(batch.y) // samples
        for group in self.optimiser.param_groups:
            group["lr"] = float(one_cycle(torch.tensor(float(t)).double(), problem.steps, self.method.lr))
        for i in range(samples):
            part = type(batch)(*(leaf[i * rows : (i + 1) * rows] for leaf in batch))
            with self.optimiser.sampled_params(train=True):
                self.optimiser.zero_grad()
                weights = {name: value + centre_of(name) for name, value in self.params.items()}
                problem.mean_nll(weights, part).backward()
        self.optimiser.step()
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("settings", "likelihood", "y"),
    [
        ({}, Heteroscedastic(), Y),
        ({"samples": 4, "temperature": 0.3, "prior_scale": 2.0}, Homoscedastic(), Y),
        (
            {"samples": 2, "beta2": 0.9, "clip": 0.05, "lr": 0.3, "hess_init": 0.125},
            Categorical(3),
            CLASSES,
        ),  # theirs is a float32
    ],
)
def test_steps_are_those_of_the_authors(settings, likelihood, y, monkeypatch):
    method = IVON(**settings)
    problem = make_problem(X, y, likelihood, hidden=(4,), steps=STEPS)
    aimed = method.target(problem)
    state = method.init(random.key(0), aimed)
    peer = Peer(method, problem, state.mean)
    for t in range(STEPS):
        key = random.fold_in(random.key(1), t)
        peer.step(t, key, monkeypatch)
        state, _ = method.update(key, state, at(aimed, t))
        for (name, theirs), group in zip(peer.params.items(), peer.optimiser.param_groups, strict=True):
            assert_close(state.mean[name] - centre_of(name), theirs.detach(), rtol=1e-8, atol=1e-10)
            precision = (group["hess"] + group["weight_decay"]).reshape(theirs.shape)
            assert_close(state.precision[name], precision, rtol=1e-8, atol=1e-10)
            sigma = (group["ess"] * precision).rsqrt()
            assert_close(method.sd(state)[name], sigma, rtol=1e-8, atol=1e-10)


def test_the_loss_is_the_negative_elbo_over_n():
    """KL by torch.distributions, and the negative log-likelihood at the very weight samples."""
    method, problem = IVON(samples=2), make_problem(X, Y, Homoscedastic(), hidden=(4,))
    state, key = method.init(random.key(0), problem), random.key(1)
    _, info = method.update(key, state, problem)
    sd, kl, nll = method.sd(state), 0.0, 0.0
    for name, mean in state.mean.items():
        loc, scale = (torch.tensor(v, dtype=torch.float64) for v in (centre_of(name), scale_of(name, mean)))
        q, p = torch.distributions.Normal(mean, sd[name]), torch.distributions.Normal(loc, scale)
        kl += torch.distributions.kl_divergence(q, p).sum() / 40
    batch = problem.minibatch(key)
    for i, k in enumerate(random.split(key, 2)):
        draw = noise(k, state.mean)
        weights = {name: mean + sd[name] * draw[name] for name, mean in state.mean.items()}
        part = type(batch)(*(leaf[4 * i : 4 * i + 4] for leaf in batch))
        nll += problem.mean_nll(weights, part) / 2
    assert_close(info["kl"], kl)
    assert_close(info["nll"], nll)
    assert_close(info["loss"], nll + kl)


def test_without_data_it_becomes_the_prior():
    """The gradient is 0: h decays, and the means go to the prior's."""
    problem = make_problem(X, Y, Homoscedastic(), hidden=(2,), weight=torch.zeros(40).double(), steps=500)
    method = IVON(beta2=0.98)
    state = method.init(random.key(0), problem)
    for t in range(500):
        state, _ = method.update(random.fold_in(random.key(1), t), state, at(problem, t))
    for name, value in state.mean.items():
        assert_close(value, torch.full_like(value, centre_of(name)), rtol=0, atol=1e-2)
        assert_close(method.sd(state)[name], torch.full_like(value, scale_of(name, value)), rtol=1e-3, atol=0)


def test_refusals():
    problem = make_problem(X, Y)
    with pytest.raises(UserError, match=r"ivon\.samples must divide the task's minibatches of 8 rows, not be 3\."):
        IVON(samples=3).prepare(problem)
    with pytest.raises(UserError, match="ivon needs a Gaussian prior, and this task has a LaplacePrior"):
        IVON().prepare(make_problem(X, Y, prior=LaplacePrior()))
