"""Microcanonical Langevin: its integrator against the closed forms, its energy, and its known bias."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import make_problem, walk
from torch.func import vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.checks.checks import linear_regression
from bnnbench.checks.problems import KnownNoise
from bnnbench.experiment.threads import threads
from bnnbench.methods.mclmc import MCLMC, EnsembleMCLMC, EnsembleMCMC, turn
from bnnbench.model.parameters import flatten

GENERATOR = torch.Generator().manual_seed(2)
N = 40
X = torch.randn(N, 3, generator=GENERATOR, dtype=torch.float64)
Y = X @ torch.tensor([1.0, -0.5, 0.2]).double() + 0.5 * torch.randn(N, generator=GENERATOR, dtype=torch.float64)
ONE = torch.ones((), dtype=torch.float64)


def linear(**settings):
    return make_problem(X, Y, KnownNoise(), hidden=(), **settings)


@pytest.mark.parametrize("h", [1e-3, 0.3, 5.0, 400.0])
def test_turn_against_the_hyperbolic_functions(h):
    """u <- (u + e (sinh + (e.u)(cosh - 1))) / (cosh + (e.u) sinh), of unit length, and (d - 1) log of the denominator;
    in double precision as far as cosh does not overflow."""
    u = torch.randn(6, generator=GENERATOR, dtype=torch.float64)
    u, g = u / u.norm(), torch.randn(6, generator=GENERATOR, dtype=torch.float64)
    scale = {"a": 2 * ONE, "b": 0.5 * ONE}
    slope = -torch.cat([2 * g[:2], 0.5 * g[2:]])
    turned, kinetic = turn({"a": u[:2], "b": u[2:]}, {"a": g[:2], "b": g[2:]}, scale, h * ONE)
    e, delta = slope / slope.norm(), h * slope.norm() / 5
    along, cosh, sinh = e @ u, torch.cosh(delta), torch.sinh(delta)
    below = cosh + along * sinh
    assert_close(flatten(turned), (u + e * (sinh + along * (cosh - 1))) / below)
    assert_close(kinetic, 5 * below.log())
    assert flatten(turned).norm() == pytest.approx(1)


def test_a_huge_gradient_does_not_overflow():
    turned, kinetic = turn({"a": torch.tensor([0.6, 0.8])}, {"a": torch.tensor([1e15, 0.0])}, {"a": torch.ones(())},
                           torch.ones(()))  # fmt: skip
    assert_close(turned["a"], torch.tensor([-1.0, 0.0]), atol=1e-6, rtol=0)
    assert kinetic.isfinite()


@pytest.mark.parametrize("slope", [0.0, 1e-25, 1e-20])
def test_at_the_bottom_of_a_valley_nothing_turns(slope):
    """A slope whose square float32 holds no more; its steps used to be lost, one after the other, until their size was
    0 and the chain stood still."""
    direction = torch.tensor([0.6, 0.8])
    with threads(1):  # numbers below 1e-38 are 0, as in all training
        turned, kinetic = turn({"a": direction}, {"a": torch.tensor([slope, 0])}, {"a": torch.ones(())}, torch.ones(()))
    assert_close(turned["a"], direction)
    assert kinetic.abs() < 1e-6


def errors(size, steps):
    """The error of the energy after a path of the same length without refreshment."""
    method = MCLMC(num_chains=2, length=1e9, burn_in=0.0)
    problem = replace(linear(), steps=steps)
    state = method.init(random.key(0), problem)
    total = torch.zeros(2, dtype=torch.float64)
    scale = {name: problem.scale_of(name, value[0]) for name, value in state.params.items()}
    for _ in range(steps):
        walk = state._replace(size=torch.full_like(state.size, size))
        moved, direction, kinetic = vmap(lambda w: method._move(w, problem))(walk)
        there = vmap(lambda p: torch.func.grad_and_value(method._energy)(p, problem))(moved)
        direction, more = vmap(lambda u, g: turn(u, g, scale, size / 2 * ONE))(direction, there[0])
        total = total + there[1] - state.energy + kinetic + more
        state = state._replace(params=moved, gradient=there[0], energy=there[1], direction=direction)
    return total


def test_energy_is_conserved_to_second_order():
    """Half the step, a quarter of the error at the end of the same path."""
    found = [errors(0.4 / steps, steps) for steps in (50, 100, 200)]
    ratios = torch.stack([found[0] / found[1], found[1] / found[2]])
    assert ((ratios - 4).abs() < 0.4).all()


def test_the_step_is_adapted_to_the_wanted_error_and_then_fixed():
    sizes, found = [], []
    method = MCLMC(num_chains=8, burn_in=0.5, energy_variance=5e-4)

    def each(t, state, info):
        sizes.append(state.size.clone())
        found.append(float(info["energy_error"]))

    walk(method, linear(), 800, each)
    assert (sizes[400] == sizes[-1]).all()
    assert (sizes[380] != sizes[390]).any()
    assert sum(found[400:]) / 400 / 4 == pytest.approx(5e-4, rel=0.6)  # four weights


def spread(size, steps=3000, chains=64):
    """Mean over weights of variance / true variance, at a fixed step size, with its standard error."""
    method = MCLMC(num_chains=chains, burn_in=0.0, step=size / 2)  # sqrt(4 weights) = 2
    kept = []
    walk(method, linear(), steps, lambda t, s, i: kept.append(vmap(flatten)(s.params)) if t > 500 else None)
    design = torch.cat([X, torch.ones(N, 1).double()], 1)
    scale = torch.tensor([math.sqrt(2 / 3)] * 3 + [1.0]).double()
    cov = torch.linalg.inv(design.T @ design / 0.25 + torch.diag(1 / scale**2))
    mean = cov @ design.T @ Y / 0.25
    z = (torch.stack(kept) - mean).square().mean(0) / cov.diagonal()  # [chains, weights]
    each = z.mean(1)
    return each.mean().item(), each.std().item() / math.sqrt(chains)


@pytest.mark.slow
def test_the_bias_shrinks_with_the_square_of_the_step():
    """There is no Metropolis test: a step that is long for the posterior widens it, a fourth as much at half the step;
    at the step that the energy's error asks for, the bias is below 5 %."""
    (long, e1), (half, e2) = spread(0.16), spread(0.08)
    assert long - 1 > 5 * e1
    assert half - 1 < (long - 1) / 2 + 3 * math.hypot(e1, e2)
    small, error = spread(0.03)
    assert abs(small - 1) < 0.05 + 3 * error


class WrongEnergy(MCLMC):
    """The gradient per datum in place of that of the sum."""

    def _energy(self, params, problem):
        return super()._energy(params, problem) / 4


@pytest.mark.slow
def test_a_wrong_energy_is_caught():
    verdicts = {verdict.name: verdict.passed for verdict in linear_regression(WrongEnergy())}
    assert verdicts["linear regression: temperature"] is False


def test_a_lost_step_is_not_made():
    """An infinite energy: the chain stays, and goes on in another direction."""
    method, problem = MCLMC(num_chains=2), linear()
    state = walk(method, problem, 20)
    broken = state._replace(size=torch.tensor([1e200, float(state.size[1])]).double())
    after, info = method.update(random.key(5), broken, replace(problem, t=5 * ONE))
    assert (after.params["layers.0.weight"][0] == state.params["layers.0.weight"][0]).all()
    assert (after.params["layers.0.weight"][1] != state.params["layers.0.weight"][1]).all()
    assert (vmap(flatten)(after.direction)[0] != vmap(flatten)(state.direction)[0]).all()
    assert info["loss"].isfinite()
    assert after.size.isfinite().all()


def test_ensemble_chains_start_at_their_members():
    """Of eight chains all are near the least-squares fit when sampling begins."""
    method, states = EnsembleMCLMC(fit=0.5, lr=0.1), []
    walk(method, linear(), 400, lambda t, state, info: states.append(state))
    design = torch.cat([X, torch.ones(N, 1).double()], 1)
    scale = torch.tensor([math.sqrt(2 / 3)] * 3 + [1.0]).double()
    precision = design.T @ design / 0.25 + torch.diag(1 / scale**2)
    mode = torch.linalg.solve(precision, design.T @ Y / 0.25)
    assert_close(vmap(flatten)(states[199].params), mode.expand(8, 4), rtol=0, atol=1e-3)
    assert EnsembleMCMC().start == "ensemble"
    assert EnsembleMCMC().diagnose({"rhat_all": 9.0}) == ""


def test_weights_are_chain_after_chain():
    draws = {"w": torch.tensor([[[0.0], [10.0]], [[1.0], [11.0]]])}  # [draws, chains, 1]
    posterior = MCLMC().posterior(None, draws, None)
    assert posterior.sample(random.key(0), None, 4)["w"].flatten().tolist() == [0, 1, 10, 11]
