"""Hamiltonian Monte Carlo: its draws, its integrator, its adaptation, and NumPyro's answers on a small network."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import make_problem, normal, walk
from torch.func import vmap
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves, tree_map

from bnnbench import random
from bnnbench.checks.checks import CURVED
from bnnbench.checks.problems import KnownNoise
from bnnbench.checks.sample import CPU, budget
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import stack
from bnnbench.engine.train import train
from bnnbench.methods.hmc import HMC
from bnnbench.model import Homoscedastic
from bnnbench.model.parameters import flatten

GENERATOR = torch.Generator().manual_seed(1)
N, CHAINS = 30, 400
X = torch.randn(N, 2, generator=GENERATOR, dtype=torch.float64)
Y = X @ torch.tensor([1.0, -0.5]).double() + 0.3 + 0.5 * torch.randn(N, generator=GENERATOR, dtype=torch.float64)


def linear(**settings):
    return make_problem(X, Y, KnownNoise(), hidden=(), **settings)


def flat(params):
    """[chains, weights]."""
    return vmap(flatten)(params)


def test_conjugate_linear_regression():
    """The closed-form posterior N(m, T S) of a linear network with known noise, which the Metropolis test makes exact:
    means and products of 400 chains, each over six draws 60 updates apart, within 6 sigma, 27 comparisons, once in
    10^7. (Without the test the variance of the last replica is a quarter too large.) Three replicas side by side: the
    posterior, a cold one under a wider prior, and without data the prior."""
    temperature, scale = (torch.tensor(v, dtype=torch.float64) for v in ([1.0, 0.3, 1.0], [1.0, 2.0, 1.0]))
    weight = torch.ones(3, N).double() * torch.tensor([[1.0], [1.0], [0.0]]).double()
    steps, problem, keys, infos, kept = 760, linear(steps=760), random.split(random.key(0), 3), [], []

    def parts(temperature, factor, counts):
        method = HMC(num_chains=CHAINS, temperature=temperature, prior_scale=factor, max_leapfrog_steps=20, step=0.1)
        return method, method.target(problem.subset(counts))

    def start(key, *settings):
        method, own = parts(*settings)
        return method.init(key, own)

    def update(key, state, now, *settings):
        method, own = parts(*settings)
        return method.update(key, state, replace(own, t=now))

    state = vmap(start)(keys, temperature, scale, weight)
    step = vmap(update, (0, 0, None, 0, 0, 0), randomness="error")
    for t in range(steps):
        now = torch.tensor(float(t), dtype=torch.float64)
        state, info = step(random.fold_in(keys, t + 1), state, now, temperature, scale, weight)
        infos.append(info)
        if t >= 400 and t % 60 == 39:
            kept.append(state.position.params)
    design = torch.cat([X, torch.ones(N, 1).double()], 1)  # weights, then the bias; sqrt(2 / fan-in) = 1
    for i in range(3):
        precision = design.T @ (weight[i][:, None] * design) / 0.25 + torch.eye(3).double() / scale[i] ** 2
        cov = torch.linalg.inv(precision)
        mean, cov = cov @ design.T @ (weight[i] * Y) / 0.25, temperature[i] * cov
        sd = cov.diagonal().sqrt()
        draws = torch.stack([flat({name: value[i] for name, value in params.items()}) for params in kept])
        assert len(draws) == 6
        z = (draws - mean) / sd
        each = torch.cat([z[..., None], z[..., None] * z[..., None, :] - cov / torch.outer(sd, sd)], -1).mean(0)
        assert (each.mean(0).abs() < 6 * each.std(0) / math.sqrt(CHAINS)).all()
        last = {name: torch.stack([info[name][i] for info in infos[-100:]]).mean() for name in infos[0]}
        assert last["divergent"] == 0
        # Under way, a leapfrog of step h has a kinetic energy lower by h^2 / 8 of it and a potential higher by as much.
        assert last["temperature_kinetic"] == pytest.approx(float(temperature[i]), rel=0.2)
        assert last["temperature_configurational"] == pytest.approx(float(temperature[i]), rel=0.2)


# The integrator.


def own_energy(params, momentum, temperature):
    """E / T + |r|^2 / 2 of one chain of a network with at most one hidden layer, written out."""
    w = params
    out = X @ w["layers.0.weight"].T + w["layers.0.bias"]
    out = out.relu() @ w["layers.1.weight"].T + w["layers.1.bias"] if "layers.1.bias" in w else out
    energy = -normal(out[:, 0], (1e-3 + w["log_noise"].exp()).expand(N)).log_prob(Y).sum()
    for name, value in w.items():
        scale = math.sqrt(2 / value.shape[1]) if value.dim() == 2 else 1.0
        energy -= normal(-1.0 if name == "log_noise" else 0.0, scale).log_prob(value).sum()
    return energy / temperature + 0.5 * sum((r**2).sum() for r in momentum.values())


def flight(problem, method, state, size, steps):
    """One trajectory of full likelihood, without a Metropolis test, and the errors of their energy [chains]."""
    one = torch.ones((), dtype=torch.float64)
    state = state._replace(left=one * 1e9, size=one * size, power=one)
    now = replace(problem, t=0 * one + 50)

    def energies(s):
        each = [{k: v[c] for k, v in s.present.params.items()} for c in range(4)]
        push = [{k: v[c] for k, v in s.momentum.items()} for c in range(4)]
        return torch.stack([own_energy(w, r, method.temperature) for w, r in zip(each, push, strict=True)])

    before = energies(state)
    state = state._replace(start=before)
    for _ in range(steps):
        state, _ = method.update(random.key(0), state, now)
    return state, energies(state) - before


def test_energy_is_conserved_to_second_order():
    """Half the step, a quarter of the error at the end of the same path: of H written out by hand, at T = 0.5.
    A linear network whose noise is learned: the energy is smooth, and no quadratic form."""
    problem, method = make_problem(X, Y, Homoscedastic(), hidden=()), HMC(num_chains=4, temperature=0.5)
    state = method.init(random.key(3), problem)
    errors = []
    for steps in (40, 80, 160):
        errors.append(flight(problem, method, state, 0.1 / steps, steps)[1])
    ratios = torch.stack([errors[0] / errors[1], errors[1] / errors[2]])
    assert ((ratios - 4).abs() < 0.2).all()
    assert (errors[2].abs() > 1e-6).all()
    assert (errors[2].abs() < 0.1).all()


def test_trajectories_are_reversible():
    """Forward, the momentum reversed, and back: the start, its momentum reversed."""
    problem, method = make_problem(X, Y, Homoscedastic(), hidden=(3,)), HMC(num_chains=4)
    state = method.init(random.key(3), problem)
    there, _ = flight(problem, method, state, 0.02, 25)
    assert (flat(there.present.params) - flat(state.present.params)).norm(dim=1).min() > 0.1
    returning = there._replace(momentum={name: -value for name, value in there.momentum.items()})
    back, _ = flight(problem, method, returning, 0.02, 25)
    assert_close(flat(back.present.params), flat(state.present.params), rtol=0, atol=1e-8)
    assert_close(flat(back.momentum), -flat(state.momentum), rtol=0, atol=1e-8)
    assert_close(flat(there.position.params), flat(state.position.params), rtol=0, atol=0)  # not yet accepted


def test_lost_trajectories_are_refused():
    """A step of 50 leads to energies out of bounds, or to NaN: the chains stay, and say so; new trajectories begin."""
    problem, method = linear(), HMC(num_chains=4)
    state = walk(method, problem, 20)
    for size in (50.0, 1e200, math.nan):
        broken = state._replace(size=torch.tensor(size).double(), left=torch.tensor(30.0).double())
        after, info = method.update(random.key(0), broken, replace(problem, t=torch.tensor(90.0).double()))
        assert_close(after.position, state.position, rtol=0, atol=0)
        assert_close(after.present, state.position, rtol=0, atol=0)
        assert info["divergent"] == 1
        assert after.size.isfinite()
        assert after.left < 1e4


# Adaptation.


def test_burn_in_is_annealed_and_then_all_is_fixed():
    """The likelihood's power rises from 0 to 1 in the first half of the burn-in and stays; after the burn-in the step
    is one number, of which trajectories take 0.9 or 1.1; a trajectory's length is `length`, and the acceptance near
    its target of 0.9."""
    powers, steps, sizes, lefts, accepted = [], [], [], [], []

    def each(t, state, info):
        powers.append(float(state.power))
        steps.append(float(state.adaptation.log_step.exp()))
        sizes.append(float(state.size))
        lefts.append(float(state.left))
        accepted.append(float(info["acceptance"]))

    method = HMC(num_chains=8, step=0.1, burn_in=0.6, max_leapfrog_steps=30, length=0.5)
    walk(method, linear(), 500, each)
    assert powers[0] < 0.01
    assert powers == sorted(powers)
    assert 0.03 < powers[100] < 0.31  # (2/3)^3, less what the trajectory under way has missed
    assert all(power == 1 for power in powers[180:])
    late = range(335, 500)
    assert len({steps[t] for t in late}) == 1
    assert len({steps[t] for t in range(180, 300)}) > 5
    assert min(steps[180:300]) < steps[-1] < max(steps[180:300])  # an average of those tried, and none of them
    assert min(abs(steps[-1] / step - 1) for step in steps[:300]) > 1e-9
    assert {round(sizes[t] / steps[t], 9) for t in late} == {0.9, 1.1}
    begins = [t for t in late if lefts[t] > lefts[t - 1]]
    assert len(begins) > 5
    for t in begins:
        assert lefts[t] == min(30, math.ceil(0.5 / sizes[t]))
    assert max(lefts[:140]) <= 25
    assert 0.75 < sum(accepted[335:]) / len(accepted[335:]) < 0.99


def test_power_leaves_the_prior_at_the_start():
    """The first trajectories are under the prior: `start` is the Hamiltonian without the likelihood."""
    problem, method = linear(), HMC(num_chains=4, start="prior")
    state = method.init(random.key(0), problem)
    prior = normal(0.0, 1.0).log_prob(flat(state.present.params)).sum(1)
    assert_close(state.start, -prior + 0.5 * flat(state.momentum).square().sum(1))


def test_half_of_the_chains_start_from_an_ensemble():
    """In the first updates the last two of four chains go down to the least-squares fit, by one gradient each, and the
    others stay; then trajectories begin, those of the fitted chains under the whole likelihood."""
    problem, method = linear(), HMC(num_chains=4, fit=0.5, lr=0.1, step=0.01)
    design = torch.cat([X, torch.ones(N, 1).double()], 1)
    precision = design.T @ design / 0.25 + torch.eye(3).double()
    mode = torch.linalg.solve(precision, design.T @ Y / 0.25)
    begin, states = method.init(random.key(0), replace(problem, steps=400)), []
    walk(method, problem, 400, lambda t, state, info: states.append(state))
    assert_close(flat(states[198].present.params)[:2], flat(begin.present.params)[:2], rtol=0, atol=0)
    assert_close(flat(states[199].position.params)[2:], mode.expand(2, 3), rtol=0, atol=1e-3)
    prior, fit = (normal(0.0, 1.0).log_prob(flat(states[199].position.params)).sum(1), states[199].position.nll)
    power = torch.tensor([states[199].power] * 2 + [1.0] * 2)
    kinetic = 0.5 * flat(states[199].momentum).square().sum(1)
    assert_close(states[199].start, power * fit - prior + kinetic)
    assert states[199].divergent.sum() == 0
    assert (flat(states[220].present.params) != flat(states[199].present.params)).all()


@pytest.mark.parametrize(("start", "fitted"), [("prior", 0), ("both", 2), ("ensemble", 4)])
def test_start(start, fitted):
    method = HMC(num_chains=4, fit=0.5, start=start)
    problem = replace(linear(), steps=100, t=torch.tensor(10.0).double())
    state = method.init(random.key(0), problem)
    after, _ = method.update(random.key(1), state, problem)
    moved = (flat(after.present.params) != flat(state.present.params)).all(1)
    assert moved.tolist() == [False] * (4 - fitted) + [True] * fitted


# Draws.


def test_weights_are_chain_after_chain():
    """Draw s of chain c, of 3 draws and 2 chains, is component 3 c + s; moments are over all of them."""
    draws = {"w": torch.tensor([[[0.0], [10.0]], [[1.0], [11.0]], [[2.0], [12.0]]])}  # [draws, chains, 1]
    posterior = HMC().posterior(None, draws, None)
    found = posterior.sample(random.key(0), None, posterior.size(99))["w"]
    assert found.flatten().tolist() == [0, 1, 2, 10, 11, 12]
    mean, sd = posterior.moments()
    assert float(mean["w"]) == 6
    assert float(sd["w"]) == pytest.approx(found.std(correction=0).item())
    state = HMC(num_chains=2).init(random.key(0), linear())
    assert_close(HMC(num_chains=2).posterior(state, None, None).sample(random.key(0), None, 2), state.position.params)


@pytest.mark.parametrize(("steps", "burn_in", "samples"), [(1000, 0.5, 100), (10, 0.5, 100), (100, 0.9, 3)])
def test_schedule(steps, burn_in, samples):
    kept = list(HMC(burn_in=burn_in, samples=samples).schedule(steps))
    assert len(kept) == min(samples, steps - int(burn_in * steps))
    assert kept == sorted(set(kept))
    assert kept[0] >= burn_in * steps
    assert kept[-1] == steps - 1


def test_diagnose():
    fine = {
        "certified": 1.0,
        "rhat_95": 1.01,
        "rhat_all": 1.05,
        "rhat_log_joint": 1.05,
        "ess_median": 400,
        "trajectories_divergent": 0.0,
    }
    method = HMC()
    assert method.diagnose(fine) == ""
    for name, value, sentence in [
        ("rhat_95", 1.0101, "R-hat of 95 % of the predictions is 1.010, more than 1.01"),
        ("rhat_all", math.nan, "the largest R-hat of a prediction is nan, more than 1.05"),
        ("rhat_log_joint", 1.24, "R-hat of the log joint density is 1.240, more than 1.05"),
        ("ess_median", 399.4, "the median effective sample size is 399, less than 400"),
        ("trajectories_divergent", 0.002, "0.20% of the trajectories diverged, more than 0.1%"),
    ]:
        assert method.diagnose(fine | {name: value}) == f"not certified: {sentence}"
    assert "exploded" in method.diagnose(fine | {"draws_exploded": 0.5})


# NumPyro 0.22.0, NUTS, 24 chains of 2,000 draws after 2,000 of warm-up, target acceptance 0.9, split R-hat < 1.007,
# 0.6 % divergent; effective sizes 15,000 to 24,000 of f, 4,466 of log_noise. The model:
#
#   x = jnp.linspace(-2, 2, 20); y = jnp.sin(2 * x) + 0.2 * jnp.cos(37 * jnp.arange(20))
#   probe = jnp.array([-3.0, -1.0, 0.0, 1.5, 3.0])
#   net = lambda x, w: jax.nn.relu(x[:, None] * w["a"] + w["b"]) @ w["c"] + w["d"]
#   def model():
#       w = {"a": numpyro.sample("a", dist.Normal(0, 2**0.5).expand([5])),
#            "b": numpyro.sample("b", dist.Normal(0, 1).expand([5])),
#            "c": numpyro.sample("c", dist.Normal(0, 0.4**0.5).expand([5])),
#            "d": numpyro.sample("d", dist.Normal(0, 1))}
#       noise = numpyro.sample("noise", dist.Normal(-1, 1))
#       numpyro.deterministic("f", net(probe, w))
#       numpyro.sample("y", dist.Normal(net(x, w), 1e-3 + jnp.exp(noise)), obs=y)
#   mcmc = MCMC(NUTS(model, target_accept_prob=0.9), num_warmup=2000, num_samples=2000, num_chains=24,
#               chain_method="vectorized"); mcmc.run(jax.random.key(0))      # with jax_enable_x64
#
# Mean and standard deviation of f at the five probes and of log_noise:
NUMPYRO_MEAN = [3.227, -1.1363, 0.1407, 0.2101, -2.0836, -2.7894]
NUMPYRO_SD = [0.1787, 0.0684, 0.0443, 0.0456, 0.2209, 0.2881]


def numpyro_problem():
    x = torch.linspace(-2, 2, 20, dtype=torch.float64)
    y = torch.sin(2 * x) + 0.2 * torch.cos(37 * torch.arange(20).double())
    return make_problem(x[:, None], y, Homoscedastic(), hidden=(5,))


@pytest.mark.slow
def test_numpyro_agrees():
    """Means of f at five probes and of log_noise, and E[((. - mean) / sd)^2] where the data are: 10 comparisons within
    5 standard errors by the spread of 100 chains, and 0.02 for NumPyro's own error: a false alarm in 10^5.

    Beyond the data one chain in a hundred may sit in a rare mode, so there the means are medians over chains.
    """
    chains = against_numpyro(100, 20_000, 150)  # [mean or square, chains, 6]
    inner, outer = [1, 2, 3, 5], [0, 4]
    found, error = chains[:, :, inner].mean(1), chains[:, :, inner].std(1) / 10
    assert error.max() < 0.1
    assert (found.abs() < 5 * error + 0.02).all()
    middle = chains[0][:, outer].quantile(torch.tensor([0.16, 0.5, 0.84]).double(), 0)
    assert (middle[1].abs() < 5 * 1.25 * (middle[2] - middle[0]) / 2 / 10 + 0.02).all()


def test_lost_trajectories_lose_no_cell():
    """A step far too large: energies and gradients overflow, the test refuses the trajectory, and the chain stays where
    it was. The optimiser of the starts learned from such gradients, once it was done, and made the cell diverged."""
    method = HMC(step=2.0)
    cells = [Cell(CURVED, method, "known", 0, seed, budget(method, 400)) for seed in range(4)]
    fitted, history = train(stack(cells, CPU), False)
    assert history.curves["divergent"].max() > 0
    assert fitted.live.all()


def test_a_chain_is_sound_in_the_middle_of_a_lost_trajectory():
    problem, method = linear(steps=10), HMC(num_chains=2)
    state = method.init(random.key(0), problem)
    lost = tree_map(lambda leaf: leaf * torch.nan, state.present)
    finished = method.finish(random.key(1), state._replace(present=lost, momentum=lost.params), problem)
    assert all(leaf.isfinite().all() for leaf in tree_leaves(finished))
    assert_close(finished.position, state.position)


def against_numpyro(chains, steps, leapfrogs):
    """[2, chains, 6]: each chain's mean of z = (f - mean) / sd, and of z^2 - 1."""
    problem = replace(numpyro_problem(), steps=steps)
    method = HMC(num_chains=chains, step=0.05, max_leapfrog_steps=leapfrogs)
    probe, kept = torch.tensor([-3.0, -1.0, 0.0, 1.5, 3.0]).double()[:, None], []
    compiled = torch.compile(lambda k, s, now: method.update(k, s, replace(problem, t=now))[0], fullgraph=True)
    state = method.init(random.key(0), problem)
    keys = random.split(random.key(1), steps)
    for t in range(steps):
        state = compiled(keys[t], state, torch.tensor(float(t), dtype=torch.float64))
        if t >= 0.55 * steps and t % 20 == 0:
            w = state.position.params
            hidden = (probe @ w["layers.0.weight"].transpose(1, 2) + w["layers.0.bias"][:, None]).relu()
            out = hidden @ w["layers.1.weight"].transpose(1, 2) + w["layers.1.bias"][:, None]
            kept.append(torch.cat([out[..., 0], w["log_noise"][:, None]], 1))
    z = (torch.stack(kept) - torch.tensor(NUMPYRO_MEAN)) / torch.tensor(NUMPYRO_SD)
    return torch.stack([z.mean(0), z.square().mean(0) - 1])
