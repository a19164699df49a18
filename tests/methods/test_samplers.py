"""Preconditioned, cyclical and Hamiltonian stochastic gradient samplers, by many chains in parallel.

On a linear model with known noise and exact gradients a sampler whose preconditioner stands still is a linear
recursion z <- F z + c + N(0, Q), whose stationary law is a Gaussian with the covariance S = F S F^T + Q. The tests
solve that for themselves, start 4,000 chains from the law, and look whether they stay in it.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import make_problem, normal
from scipy import stats
from scipy.linalg import solve_discrete_lyapunov
from torch.func import vmap
from torch.testing import assert_close

from bnnbench import random
from bnnbench.checks.problems import KnownNoise
from bnnbench.methods.csgmcmc import CyclicalSGMCMC
from bnnbench.model.parameters import flatten, unflatten
from bnnbench.methods.psgld import PSGLD, Preconditioned
from bnnbench.methods.sghmc import SGHMC, Moving
from bnnbench.methods.sgld import SGLD
from bnnbench.model import Heteroscedastic, Homoscedastic, Problem

CHAINS, STEPS = 4000, 60
FROZEN = 1 - 1e-13  # decay of a preconditioner that stands still
GENERATOR = torch.Generator().manual_seed(1)
N = 30
X = torch.randn(N, 2, generator=GENERATOR, dtype=torch.float64)
Y = X @ torch.tensor([1.0, -0.5]).double() + 0.3 + 0.5 * torch.randn(N, generator=GENERATOR, dtype=torch.float64)
DESIGN = torch.cat([X, torch.ones(N, 1).double()], 1)  # weights, then the bias; prior N(0, 1): sqrt(2 / fan-in) = 1
PRECISION = DESIGN.T @ DESIGN / 0.25 + torch.eye(3).double()
COV = torch.linalg.inv(PRECISION)
MEAN = COV @ DESIGN.T @ Y / 0.25
A = (PRECISION / N).numpy()  # Hessian of the energy per datum
SQUARE = torch.tensor([0.3, 1.0, 2.0]).double()  # running mean square gradients


class FullBatch(Problem):
    """A problem whose minibatch is all of its rows."""

    def minibatch(self, key):
        return self._gather(self.rows.index, self.rows.weight)


def linear(**settings):
    return FullBatch(**vars(make_problem(X, Y, KnownNoise(), hidden=(), **settings)))


def at(problem, t):
    return replace(problem, t=torch.tensor(float(t), dtype=torch.float64))


PROBLEM = linear(steps=1000)
LIKE = PROBLEM.init_params(random.key(0))


def run(method, states, steps=STEPS, problem=PROBLEM, t=lambda i: 0):
    """All chains; the infos of all steps [steps, chains]."""
    step = vmap(lambda k, s, now: method.update(k, s, replace(problem, t=now)), (0, 0, None), randomness="error")
    keys, infos = random.split(random.key(3), CHAINS), []
    for i in range(steps):
        states, info = step(random.fold_in(keys, i), states, torch.tensor(float(t(i))).double())
        infos.append(info)
    return states, {name: torch.stack([info[name] for info in infos]) for name in infos[0]}


def sample(mean, cov):
    z = torch.randn(CHAINS, len(mean), generator=GENERATOR, dtype=torch.float64)
    return mean + z @ torch.linalg.cholesky(torch.as_tensor(cov)).T


def spread(flat):
    return vmap(lambda v: unflatten(v, LIKE))(flat)


def repeated(values):
    return spread(torch.as_tensor(values).expand(CHAINS, 3))


def same_law(flat, mean, cov):
    """6 sigma in every mean and every product: 9 comparisons, once in 10^7."""
    sd = cov.diagonal().sqrt()
    z = (flat - mean) / sd
    corr = cov / torch.outer(sd, sd)
    assert (z.mean(0).abs() < 6 / math.sqrt(CHAINS)).all()
    assert ((z.T @ z / CHAINS - corr).abs() < 6 * math.sqrt(2 / CHAINS)).all()


def flat_of(params):
    return torch.cat([value.reshape(CHAINS, -1) for value in params.values()], 1)


def virial(infos, cov, temperature):
    """n E[w grad U] / P by the law that the chains are in; 6 standard errors, from chains apart; T for small steps."""
    found = infos["temperature_configurational"].mean(0)
    expected = float(torch.trace(PRECISION @ cov)) / 3
    assert abs(float(found.mean()) - expected) < 6 * float(found.std()) / math.sqrt(CHAINS)
    assert expected == pytest.approx(temperature, rel=0.1)


def langevin(h, heat, G):
    """Stationary covariance of w <- w - h G A (w - m) + N(0, 2 h heat G)."""
    G = np.diag(G)
    return torch.from_numpy(solve_discrete_lyapunov(np.eye(3) - h * G @ A, 2 * h * heat * G))


@pytest.mark.parametrize("temperature", [1.0, 0.25])
@pytest.mark.parametrize("method", [SGLD, CyclicalSGMCMC, PSGLD])
def test_langevin_stays_in_its_law(method, temperature):
    """The recursion's own law, which is N(m, T Sigma) up to 10 % at this step."""
    h, t, settings = 0.02, 0, {"floor": 1.0}
    if method is CyclicalSGMCMC:  # the middle of a cycle's last stage, at half its share of the peak
        t = 225  # cycles of 250 steps
        h, settings = 0.02 * 0.5 * (1 + math.cos(0.9 * math.pi)), {"lr": 0.02, "floor": 0.0}
        h, settings["lr"] = 20 * h, 0.4
    G = np.ones(3)
    if method is PSGLD:
        settings |= {"decay": FROZEN, "stabiliser": 0.1}
        G = 1 / (0.1 + SQUARE.sqrt().numpy())
    cov = langevin(h, temperature / N, G)
    start = spread(sample(MEAN, cov))
    state = Preconditioned(start, repeated(SQUARE)) if method is PSGLD else start
    method = method(**({"lr": h} | settings), temperature=temperature)
    state, infos = run(method, state, t=lambda i: t)
    same_law(flat_of(state.params if isinstance(state, Preconditioned) else state), MEAN, cov)
    virial(infos, cov, temperature)
    assert ((cov - temperature * COV).abs() < 0.1 * temperature * COV.diagonal().max()).all()
    assert_close(infos["step_size"], torch.full_like(infos["step_size"], h))


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_sghmc_stays_in_its_law(temperature):
    """(w, v) of v <- (1 - alpha) v - h M^-1 A (w - m) + N(0, 2 alpha h (T/n) M^-1), w <- w + v; the kinetic
    temperature, n E[v M v] / (h P), is that of the same law."""
    h, alpha, M = 1e-2, 0.3, 0.1 + SQUARE.sqrt().numpy()
    push = -h * np.diag(1 / M) @ A
    F = np.block([[np.eye(3) + push, (1 - alpha) * np.eye(3)], [push, (1 - alpha) * np.eye(3)]])
    Q = np.kron(np.ones((2, 2)), np.diag(2 * alpha * h * temperature / N / M))
    joint = torch.from_numpy(solve_discrete_lyapunov(F, Q))
    z = sample(torch.cat([MEAN, torch.zeros(3).double()]), joint)
    ones, root = repeated(torch.ones(3).double()), repeated(SQUARE.sqrt())
    factor = {name: torch.ones(CHAINS).double() for name in LIKE}
    state = Moving(spread(z[:, :3]), spread(z[:, 3:]), root, repeated(SQUARE), ones, factor)
    method = SGHMC(lr=h, floor=1.0, burn_in=0.0, friction=alpha, stabiliser=0.1, temperature=temperature)
    state, infos = run(method, state)
    same_law(
        torch.cat([flat_of(state.params), flat_of(state.velocity)], 1),
        torch.cat([MEAN, torch.zeros(3).double()]), joint,
    )  # fmt: skip
    cov = joint[:3, :3]
    virial(infos, cov, temperature)
    assert ((cov - temperature * COV).abs() < 0.1 * temperature * COV.diagonal().max()).all()
    kinetic = infos["temperature_kinetic"].mean(0)
    expected = float((joint.diagonal()[3:] * torch.from_numpy(M)).sum()) * N / h / 3
    assert abs(float(kinetic.mean()) - expected) < 6 * float(kinetic.std()) / math.sqrt(CHAINS)
    assert expected == pytest.approx(temperature, rel=0.25)
    assert (infos["noise_deficit"] == 0).all()
    assert_close(flat_of(state.square), SQUARE.expand(CHAINS, 3), rtol=0, atol=0)


# Preconditioned SGLD: the term Gamma.


def test_gamma_is_the_derivative_of_the_preconditioner():
    """Of G_i = 1 / (lambda + sqrt(V_i)) along w_i by finite differences, the gradient written out by hand, against the
    mean over 4,000 keys of what gamma adds to a step; 5 sigma on 13 weights, once in 10^5."""
    x, y = X[:8, :1], Y[:8]
    problem = FullBatch(**vars(make_problem(x, y, KnownNoise(), hidden=(4,))))
    params = {name: 1.5 * value for name, value in problem.init_params(random.key(0)).items()}
    vector, old = flatten(params), 0.3 * torch.rand(13, generator=GENERATOR, dtype=torch.float64) + 0.05

    def preconditioner(v):
        v = v.clone().requires_grad_()
        w = unflatten(v, params)
        out = (x @ w["layers.0.weight"].T + w["layers.0.bias"]).relu() @ w["layers.1.weight"].T + w["layers.1.bias"]
        prior = sum(
            (value / (math.sqrt(2 / value.shape[1]) if value.dim() == 2 else 1.0)).square().sum() / 2
            for value in w.values()
        )
        g = torch.autograd.grad((-normal(out[:, 0], 0.5).log_prob(y).sum() + prior) / 8, v)[0]
        return 1 / (0.1 + (0.6 * old + 0.4 * g**2).sqrt())

    expected = torch.stack(
        [(preconditioner(vector + e) - preconditioner(vector - e))[i] / 2e-6
         for i, e in enumerate(1e-6 * torch.eye(13).double())]
    )  # fmt: skip
    state = Preconditioned(params, unflatten(old, params))
    method = PSGLD(lr=0.1, decay=0.6, stabiliser=0.1, temperature=0.7, floor=1.0, reach=1e6)  # no drift is cut

    def added(key):
        with_it, without = (replace(method, gamma=g).update(key, state, problem)[0].params for g in (True, False))
        return flatten(with_it) - flatten(without)

    found = vmap(added, randomness="error")(random.split(random.key(0), 4000)) / (0.1 * 0.7 / 8)
    assert expected.abs().min() > 1e-3
    assert ((found.mean(0) - expected).abs() < 5 * found.std(0) / math.sqrt(4000) + 1e-5 * expected.abs()).all()


@pytest.mark.parametrize("gamma", [True, False])
def test_without_gamma_the_law_is_another(gamma):
    """10,000 weights under N(0, 1) alone and G = 1 / (lambda + |w|), lambda = 0.5, from N(0, 1) at the start: with
    Gamma the variance stays 1, without it the density is N(0, 1) (lambda + |w|) and its variance
    (lambda + 2 sqrt(2 / pi)) / (lambda + sqrt(2 / pi)) = 1.615. 6 sigma are 8.5 %; the step of 0.02 distorts by 3 %."""
    size = 10_000
    x = torch.zeros(2, 2).double()
    problem = make_problem(x, x[:, 0], KnownNoise(), hidden=(), weight=x[:, 0])
    w = torch.randn(size, generator=GENERATOR, dtype=torch.float64)
    # each row of `parallel` is a problem of its own with 3 weights of prior scale 1
    parallel = vmap(lambda v: unflatten(v, LIKE))(w[: size // 3 * 3].reshape(-1, 3))
    state = Preconditioned(parallel, {name: torch.ones_like(value) for name, value in parallel.items()})
    method = PSGLD(lr=0.02, floor=1.0, decay=0.0, stabiliser=0.5, gamma=gamma)
    keys = random.split(random.key(1), size // 3)
    step = vmap(lambda k, s: method.update(k, s, problem)[0], randomness="error")
    for i in range(200):
        state = step(random.fold_in(keys, i), state)
    second = torch.cat([value.reshape(-1) for value in state.params.values()]).square().mean()
    root = math.sqrt(2 / math.pi)
    expected = 1.0 if gamma else (0.5 + 2 * root) / (0.5 + root)
    assert float(second) == pytest.approx(expected, rel=6 * math.sqrt(2 / size) + 0.03)


# Drifts that are too long.


def reference_scales():
    """Standard deviations of the prior: sqrt(2 / fan-in) of a matrix, 1 of a bias."""
    return {k: math.sqrt(2 / v.shape[1]) if v.dim() == 2 else 1.0 for k, v in wide().init_params(random.key(0)).items()}


@pytest.mark.parametrize("method", [SGLD, PSGLD, CyclicalSGMCMC, SGHMC])
def test_a_long_drift_is_cut_and_a_short_one_is_left_alone(method):
    """Without noise (T = 1e-30), the step in standard deviations of the prior: with a reach its root mean square is
    that and its direction the same as without."""
    problem, scales = wide(), reference_scales()

    def moved(reach, lr=0.3):
        sampler = method(lr=lr, reach=reach, temperature=1e-30)
        start = sampler.init(random.key(0), problem)
        new, info = sampler.update(random.key(1), start, problem)
        old, new = (flatten({k: v / scales[k] for k, v in sampler.collect(s).items()}) for s in (start, new))
        return new - old, float(info["drift_shortened"])

    free, cut = moved(1e9)
    assert cut == 0
    length = float(free.square().mean().sqrt())
    short, cut = moved(length / 10)
    assert cut == 1
    assert_close(short, free / 10, rtol=1e-5, atol=1e-9)
    same, cut = moved(length * 1.001)
    assert cut == 0
    assert_close(same, free, rtol=0, atol=0)


def test_a_valley_too_narrow_for_the_step_throws_no_chain_out():
    """y ~ N(f(x), softplus^2) of a network with a noise that it thinks is tiny: h P / n is in the thousands. The first
    step without a reach leaves for weights of 10^3 and more; with it a hundred steps of 0.05 prior
    standard deviations lead no further than 50."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    problem = make_problem(x, x[:, 0], Heteroscedastic(), hidden=(20,), steps=100)

    def largest(reach):
        method = SGLD(lr=0.03, reach=reach, floor=0.99)
        state = method.init(random.key(0), problem)
        state["layers.1.bias"] = torch.tensor([0.0, -7.0]).double()  # a noise of 2e-3
        for t in range(100):
            state, _ = method.update(random.key(t), state, at(problem, t))
        return float(flatten(state).abs().max())

    assert not largest(1e9) < 1000
    assert largest(0.05) < 50


# Cyclical SGLD.


def test_cyclical_step_sizes_are_the_paper_s():
    """Zhang et al. 2020, equation 1: alpha_k = alpha_0 / 2 (cos(pi mod(k - 1, K / M) / (K / M)) + 1), k from 1, to a
    part of alpha_0 that is left."""
    for floor in (0.0, 0.2):
        method, problem = CyclicalSGMCMC(lr=0.3, cycles=5, floor=floor), linear(steps=200)
        for k in range(1, 201):
            paper = 0.5 * (math.cos(math.pi * ((k - 1) % 40) / 40) + 1)
            found = method.step_size(at(problem, k - 1))
            assert float(found) == pytest.approx(0.3 * (floor + (1 - floor) * paper), rel=1e-6, abs=1e-9)


def test_cyclical_draws_have_the_posterior_s_temperature():
    """A whole run from the network's start on a regression that the data leave open, where weights warm up slowly: the
    mean of (w - m)' P (w - m) / 3 over 4,000 chains is T at every draw of the last two cycles. 6 standard errors, and
    1 % for the steps, h P / (4 n) at 0.05 of the peak. A chain that is cooled while it explores ends at 0.3 T."""
    noise, temperature = 3.0, 0.5
    problem = FullBatch(**vars(make_problem(X, Y, KnownNoise(noise), hidden=(), steps=200)))
    precision = DESIGN.T @ DESIGN / noise**2 + torch.eye(3).double()
    mean = torch.linalg.solve(precision, DESIGN.T @ Y / noise**2)
    method = CyclicalSGMCMC(lr=0.5, cycles=4, temperature=temperature, samples=20)
    state = vmap(lambda key: method.init(key, problem))(random.split(random.key(0), CHAINS))
    step = vmap(lambda k, s, now: method.update(k, s, replace(problem, t=now))[0], (0, 0, None), randomness="error")
    keys, kept = random.split(random.key(3), CHAINS), set(method.schedule(200))
    for t in range(200):
        state = step(random.fold_in(keys, t), state, torch.tensor(float(t)).double())
        if t >= 100 and t in kept:
            off = flat_of(state) - mean
            found = (off @ precision * off).sum(1) / 3
            assert abs(float(found.mean()) / temperature - 1) < 6 * math.sqrt(2 / 3 / CHAINS) + 0.01


@pytest.mark.parametrize(("steps", "cycles", "samples"), [(3000, 4, 50), (200, 5, 20), (103, 4, 8), (1000, 3, 7)])
def test_cyclical_draws_are_shared_among_the_sampling_stages(steps, cycles, samples):
    """Draws only from the last fifth of a cycle, counts that differ by one at most, none twice."""
    method = CyclicalSGMCMC(cycles=cycles, samples=samples)
    kept = list(method.schedule(steps))
    assert len(kept) == samples
    assert kept == sorted(set(kept))
    phase = np.array(kept) * cycles / steps
    assert (phase % 1 >= 0.8).all()
    counts = np.bincount(phase.astype(int), minlength=cycles)
    assert len(counts) == cycles
    assert counts.max() - counts.min() <= 1


# SGHMC.


def wide(n=40, hidden=50, **settings):
    """A problem of some hundred weights with minibatches of 5."""
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return make_problem(x, x[:, 0].sin(), KnownNoise(), hidden=(hidden,), batch_size=5, **settings)


def moving(params, mean, square, velocity=0.0):
    def full(value):
        return {name: torch.full_like(v, value) for name, v in params.items()}

    factor = {name: torch.ones(()).double() for name in params}
    return Moving(params, full(velocity), full(mean), full(square), full(1.0), factor)


def test_sghmc_noise_makes_room_for_that_of_the_minibatch():
    """Var of the noise 2 alpha h (T/n) / M - h^2 (V - g^2) / M^2, friction 1 - alpha, both by hand; 5 sigma."""
    problem = FullBatch(**vars(wide(hidden=500)))
    params = problem.init_params(random.key(0))
    h, alpha, heat, mean, square, M = 2e-3, 0.05, 0.7 / 40, 0.6, 1.0, 1.5
    method = SGHMC(lr=h, floor=1.0, burn_in=0.0, friction=alpha, stabiliser=0.5, temperature=0.7)
    state = moving(params, mean, square, velocity=0.1)
    new, info = method.update(random.key(1), state, problem)
    batch = problem.minibatch(None)
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    out = (batch.x @ leaves["layers.0.weight"].T + leaves["layers.0.bias"]).relu()
    out = out @ leaves["layers.1.weight"].T + leaves["layers.1.bias"]
    prior = sum((v / (math.sqrt(2 / v.shape[1]) if v.dim() == 2 else 1.0)).square().sum() / 2 for v in leaves.values())
    ((-normal(out[:, 0], 0.5).log_prob(batch.y).sum() + prior) / 40).backward()
    noise = flatten(new.velocity) - (1 - alpha) * 0.1 + h / M * flatten({k: v.grad for k, v in leaves.items()})
    variance = 2 * alpha * h * heat / M - h**2 * (square - mean**2) / M**2
    assert variance < 0.7 * 2 * alpha * h * heat / M  # the correction is seen
    size = len(noise)
    assert abs(noise.mean()) < 5 * math.sqrt(variance / size)
    assert abs(noise.square().mean() / variance - 1) < 5 * math.sqrt(2 / size)
    assert_close(flatten(new.params), flatten(params) + flatten(new.velocity))
    assert info["noise_deficit"] == 0


def test_sghmc_says_so_when_the_step_is_too_large():
    """h^2 (V - g^2) / M^2 > 2 alpha h T / (n M): all weights need negative noise, get none: the cell is in doubt."""
    problem = wide()
    params, method = problem.init_params(random.key(0)), SGHMC(burn_in=0.0, floor=1.0, lr=0.1)
    new, info = method.update(random.key(1), moving(params, 0.0, 1.0), problem)
    again, _ = replace(method, friction=0.05).update(random.key(1), moving(params, 0.0, 1.0), problem)
    assert info["noise_deficit"] == 1
    assert_close(new, again)
    cold, _ = replace(method, temperature=1e-9).update(random.key(1), moving(params, 0.0, 1.0), problem)
    assert_close(new.velocity, cold.velocity, rtol=0, atol=0)  # no noise in either
    _, info = replace(method, lr=1e-4).update(random.key(1), moving(params, 0.0, 1.0), problem)
    assert info["noise_deficit"] == 0
    assert method.diagnose({"noise_deficit": 0.01}) == method.diagnose({}) == ""
    sentence = method.diagnose({"noise_deficit": 0.25})
    assert "25.0% of the weights" in sentence
    assert "sghmc.lr" in sentence


def test_sghmc_learns_the_gradient_s_moments_and_freezes_them():
    """At weights that stand still (a step of 1e-30), the running means come to E g and E g^2 of minibatches, taken here
    over all examples by hand: 20 % in the norm after 400 steps of burn-in. After it not a bit changes."""
    problem = wide(hidden=4, steps=4000)
    params, method = problem.init_params(random.key(0)), SGHMC(lr=1e-30, burn_in=0.5)
    state = method.init(random.key(0), problem)
    step = vmap(lambda k, s, now: method.update(k, s, replace(problem, t=now))[0], (0, 0, None), randomness="error")
    chains = 10
    keys = random.split(random.key(1), chains)
    state = torch.utils._pytree.tree_map(lambda leaf: leaf.expand(chains, *leaf.shape), state)
    for t in range(0, 2000, 5):  # 400 steps within the burn-in
        state = step(random.fold_in(keys, t), state, torch.tensor(float(t)).double())
    each = []
    for i in range(40):
        leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
        out = (problem.table.x[i : i + 1] @ leaves["layers.0.weight"].T + leaves["layers.0.bias"]).relu()
        out = out @ leaves["layers.1.weight"].T + leaves["layers.1.bias"]
        (-normal(out[0, 0], 0.5).log_prob(problem.table.y[i])).backward()
        each.append(flatten({k: v.grad for k, v in leaves.items()}))
    each = torch.stack(each)
    scale = flatten(
        {k: torch.full_like(v, math.sqrt(2 / v.shape[1]) if v.dim() == 2 else 1) for k, v in params.items()}
    )
    mean = each.mean(0) + flatten(params) / scale**2 / 40
    square = each.var(0, correction=0) / 5 + mean**2
    found = vmap(flatten)(state.square).mean(0), vmap(flatten)(state.mean).mean(0)
    assert (found[0] - square).norm() < 0.2 * square.norm()
    assert (found[1] - mean).norm() < 0.2 * mean.norm() + 0.2 * (square / 20).sum().sqrt()
    frozen = step(random.fold_in(keys, 1), state, torch.tensor(2000.0).double())
    for part in ("mean", "square", "window"):
        assert_close(getattr(frozen, part), getattr(state, part), rtol=0, atol=0)
    moved = step(random.fold_in(keys, 1), state, torch.tensor(1999.0).double())
    assert not torch.equal(flatten(moved.square), flatten(state.square))


def test_hyperprior_draws_from_the_conditional_gamma_law():
    """Of each factor given its weights: Gamma(10 + size / 2) of rate 10 + |w / s|^2 / 2; Kolmogorov-Smirnov of 3,000
    draws, a false alarm in 10^4. Only every 50th step; none without the hyperprior."""
    problem, method = wide(hidden=4), SGHMC(lr=1e-30, hyperprior=True)
    state = moving({name: 3 * value for name, value in problem.init_params(random.key(0)).items()}, 0.0, 1.0)
    keys = random.split(random.key(1), 3000)

    def drawn(method, t):
        return vmap(lambda k: method.update(k, state, at(problem, t))[0].precision, randomness="error")(keys)

    factors = drawn(method, 50)
    for name, value in state.params.items():
        scale = math.sqrt(2 / value.shape[1]) if value.dim() == 2 else 1.0
        law = stats.gamma(10 + value.numel() / 2, scale=1 / (10 + float((value / scale).square().sum()) / 2))
        assert stats.kstest(factors[name].numpy(), law.cdf).pvalue > 1e-4 / 4
    levels = torch.corrcoef(torch.stack(list(factors.values())))
    assert (levels - torch.eye(4)).abs().max() < 6 / math.sqrt(3000)
    for unchanged in (drawn(method, 49), drawn(replace(method, hyperprior=False), 50)):
        assert all((factor == 1).all() for factor in unchanged.values())


def test_hyperprior_weighs_the_prior_s_pull():
    """With the factor 3 of a tensor the velocity differs by -h / M (3 - 1) w / (n s^2), s that of a scaled prior."""
    problem, method = wide(hidden=4), SGHMC(lr=0.01, floor=1.0, burn_in=0.0, hyperprior=True, every=7, prior_scale=2.0)
    state = moving(problem.init_params(random.key(0)), 0.0, 1.0)
    thrice = state._replace(precision={name: 3 * value for name, value in state.precision.items()})
    a, b = (method.update(random.key(1), s, at(problem, 1))[0].velocity for s in (thrice, state))
    for name, w in state.params.items():
        scale = 2 * (math.sqrt(2 / w.shape[1]) if w.dim() == 2 else 1.0)
        assert_close(a[name] - b[name], -0.01 / 1.01 * 2 * w / (40 * scale**2), rtol=1e-6, atol=1e-12)


def test_hyperprior_leaves_the_noise_s_own_prior_alone():
    """`log_noise` has the prior N(-1, 1), around another centre and of the likelihood: its factor stays 1."""
    x = torch.zeros(5, 1).double()
    problem = make_problem(x, x[:, 0], Homoscedastic())
    method = SGHMC(hyperprior=True, every=1)
    state = method.init(random.key(0), problem)
    for t in range(3):
        state, _ = method.update(random.key(t), state, at(problem, t))
    assert state.precision["log_noise"] == 1
    assert state.precision["layers.0.weight"] != 1
