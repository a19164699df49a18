"""Adam and the one-cycle schedule against torch.optim, step by step."""

import pytest
import torch
from helpers import make_problem, normal
from torch.testing import assert_close

from bnnbench import random
from bnnbench.methods import configure
from bnnbench.methods.map import MAP
from bnnbench.methods.optimise import adam_init, adam_update, one_cycle

X = torch.linspace(-1, 1, 30, dtype=torch.float64)[:, None]
Y = torch.sin(3 * X[:, 0])


def test_adam():
    target = torch.tensor([3.0, -2.0, 1e-4], dtype=torch.float64)
    scale = torch.tensor([1.0, 100.0, 1e-9], dtype=torch.float64)  # the last gradient is of the size of epsilon
    theirs = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([theirs], lr=0.05)
    fit = adam_init({"w": torch.zeros(3, dtype=torch.float64)})
    for t in range(50):
        optimiser.zero_grad()
        (scale * (theirs - target) ** 2).sum().backward()
        optimiser.step()
        gradient = 2 * scale * (fit.params["w"] - target)
        fit = adam_update(fit, {"w": gradient}, torch.tensor(float(t), dtype=torch.float64), 0.05)
        assert_close(fit.params["w"], theirs.detach(), rtol=1e-10, atol=1e-12)


def test_paces_are_groups_of_their_own_rate():
    theirs = [torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    optimiser = torch.optim.Adam([{"params": theirs[:1]}, {"params": theirs[1:], "lr": 0.05 / 4}], lr=0.05)
    fit = adam_init({name: torch.ones(2, dtype=torch.float64) for name in "ab"})
    for t in range(20):
        optimiser.zero_grad()
        sum((one**4).sum() for one in theirs).backward()
        optimiser.step()
        gradient = {name: 4 * value**3 for name, value in fit.params.items()}
        fit = adam_update(fit, gradient, torch.tensor(float(t), dtype=torch.float64), 0.05, pace={"b": 0.25})
    for mine, other in zip(fit.params.values(), theirs, strict=True):
        assert_close(mine, other.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [50, 3000])
def test_one_cycle(steps):
    """PyTorch's phases end a step earlier (at 0.25 steps - 1, and at steps - 1); ours follow the same curve."""
    parameter = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=0.1, total_steps=steps, pct_start=0.25, div_factor=25, final_div_factor=400
    )
    rates = []
    for _ in range(steps):
        rates.append(theirs.get_last_lr()[0])
        optimiser.step()
        if len(rates) < steps:
            theirs.step()
    t = torch.arange(steps, dtype=torch.float64)
    ours = one_cycle(t, steps, 0.1)
    steepest = 0.1 * (torch.pi / 2) / (0.25 * steps)  # of the curve, per step
    assert (ours - torch.tensor(rates, dtype=torch.float64)).abs().max() < 2 * steepest
    assert_close(ours[0], torch.tensor(0.1 / 25, dtype=torch.float64))
    assert one_cycle(torch.tensor(0.25 * steps), steps, 0.1).item() == pytest.approx(0.1)
    assert one_cycle(torch.tensor(float(steps)), steps, 0.1).item() == pytest.approx(0.1 / 1e4)
    peak = int(ours.argmax())
    assert (ours[: peak + 1].diff() > 0).all()
    assert (ours[peak:].diff() < 0).all()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_one_cycle_of_the_shortest_budgets_is_finite(steps):
    rates = one_cycle(torch.arange(steps), steps, 0.1)
    assert rates.isfinite().all()
    assert (rates > 0).all()


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_map_is_adam_on_the_energy(scale):
    """The whole of MAP against a loop of torch.optim over the same minibatches, the objective written out."""
    problem = MAP(prior_scale=scale).target(make_problem(X, Y, steps=30))
    keys = random.split(random.key(0), 30)
    state = MAP(0.01).init(random.key(1), problem)
    theirs = {name: value.clone().requires_grad_() for name, value in state.params.items()}
    optimiser = torch.optim.Adam(theirs.values(), lr=1.0)
    for t in range(30):
        now = type(problem)(**{**vars(problem), "t": torch.tensor(float(t), dtype=torch.float64)})
        state, info = MAP(0.01).update(keys[t], state, now)
        batch = problem.minibatch(keys[t])
        hidden = (batch.x @ theirs["layers.0.weight"].T + theirs["layers.0.bias"]).relu()
        out = hidden @ theirs["layers.1.weight"].T + theirs["layers.1.bias"]
        component = normal(out[:, 0], 1e-3 + torch.nn.functional.softplus(out[:, 1]))
        prior = [
            normal(0.0, scale * ((2 / v.shape[1]) ** 0.5 if v.dim() == 2 else 1.0)).log_prob(v).sum()
            for v in theirs.values()
        ]
        loss = -component.log_prob(batch.y).mean() - sum(prior) / 30
        assert_close(info["loss"], loss.detach())
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = float(one_cycle(now.t, 30, 0.01))
        optimiser.step()
        assert_close(state.params, {name: value.detach() for name, value in theirs.items()}, rtol=1e-7, atol=1e-9)


def test_map_predicts_with_one_component():
    problem = make_problem(X, Y)
    state = MAP().init(random.key(1), problem)
    assert MAP().posterior(state, None, problem).predictive(random.key(0), problem, X, 7).mean.shape == (1, 30)
    assert configure(MAP, {"lr": "1e-4"}) == MAP(1e-4)
