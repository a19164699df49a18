"""The certified posteriors against NUTS of another library, on the model written anew in its language.

Nothing of bnnbench is used but the data: the density is coded here from the tasks' documentation, and BlackJAX draws.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats
from helpers import make_problem

import bnnbench
from bnnbench.model.problem import Batch
from bnnbench.tasks import TASKS

jax = pytest.importorskip("jax")
blackjax = pytest.importorskip("blackjax")
jnp = jax.numpy
CHAINS, WARM_UP, DRAWS, FIT = 4, 300, 300, 500
LARGEST_TREE = 8  # trajectories of 255 steps


class Model:
    """A task's network, prior and likelihood over standardised data.

    A weight is sqrt(2 / fan-in) times a standard normal, a bias a standard normal; the noise is floor + softplus of the
    second output, or floor + exp(a) for one number a ~ N(-1, 1).
    """

    def __init__(self, name, root):
        task = TASKS.get(name)
        data, split = task.data(root), task.splits(task.rules[0], root)[0]
        x, y = np.asarray(data.x, float), np.asarray(data.y, float).ravel()
        self.shift, self.unit = y[split.train].mean(), y[split.train].std()
        centred = (x - x[split.train].mean(0)) / x[split.train].std(0)
        self.x, self.test = jnp.array(centred[split.train]), jnp.array(centred[split.test])
        self.y = jnp.array((y[split.train] - self.shift) / self.unit)
        self.floor, self.shared = task.noise_floor, task.noise == "homoscedastic"
        self.widths = [x.shape[1], *task.hidden, 1 if self.shared else 2]

    def draw(self, key):
        """From the prior."""
        layers = []
        for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False):
            key, one, two = jax.random.split(key, 3)
            layers.append((jax.random.normal(one, (fan_in, fan_out)), jax.random.normal(two, (fan_out,))))
        return {"layers": layers, "noise": jnp.array(-1.0)}

    def moments(self, params, x):
        """Mean and standard deviation at every row."""
        for i, (weight, bias) in enumerate(params["layers"]):
            x = (jax.nn.relu(x) if i else x) @ (weight * jnp.sqrt(2 / len(weight))) + bias
        spread = jnp.exp(params["noise"]) * jnp.ones(len(x)) if self.shared else jax.nn.softplus(x[:, 1])
        return x[:, 0], self.floor + spread

    def log_joint(self, params):
        """Of the training targets and the parameters, but for a constant."""
        mean, sd = self.moments(params, self.x)
        weights = sum((weight**2).sum() + (bias**2).sum() for weight, bias in params["layers"])
        likelihood = -(((self.y - mean) / sd) ** 2 / 2 + jnp.log(sd)).sum()
        return likelihood - weights / 2 - (params["noise"] + 1) ** 2 / 2


def descend(model, start):
    """A short fit by Adam: a chain that begins at the prior's draw spends its warm-up falling."""
    rates = 0.9, 0.999

    def step(carry, t):
        params, first, second = carry
        slope = jax.grad(model.log_joint)(params)
        first = jax.tree.map(lambda m, g: rates[0] * m + (1 - rates[0]) * g, first, slope)
        second = jax.tree.map(lambda v, g: rates[1] * v + (1 - rates[1]) * g**2, second, slope)
        sizes = 0.01 / (1 - rates[0] ** t), 1 / (1 - rates[1] ** t)
        move = jax.tree.map(lambda m, v: sizes[0] * m / (jnp.sqrt(sizes[1] * v) + 1e-8), first, second)
        return (jax.tree.map(jnp.add, params, move), first, second), None

    zero = jax.tree.map(jnp.zeros_like, start)
    return jax.lax.scan(step, (start, zero, zero), jnp.arange(1.0, FIT + 1))[0][0]


def chain(model, key):
    """Means and log scales at the test rows, one draw a row."""
    keys = jax.random.split(key, 3)
    state = blackjax.nuts.init(descend(model, model.draw(keys[0])), model.log_joint)
    metric = jnp.ones(sum(leaf.size for leaf in jax.tree.leaves(state.position)))
    begin, adapt, end = blackjax.adaptation.step_size.dual_averaging_adaptation(0.8)
    kernel = partial(blackjax.nuts.build_kernel(), logdensity_fn=model.log_joint, inverse_mass_matrix=metric,
                     max_num_doublings=LARGEST_TREE)  # fmt: skip

    def warm(carry, key):
        state, size = carry
        state, info = kernel(key, state, step_size=jnp.exp(size.log_step_size))
        return (state, adapt(size, info.acceptance_rate)), None

    def draw(state, key):
        state, info = kernel(key, state, step_size=size)
        mean, sd = model.moments(state.position, model.test)
        return state, (mean, jnp.log(sd), info.is_divergent)

    (state, found), _ = jax.lax.scan(warm, (state, begin(0.003)), jax.random.split(keys[1], WARM_UP))
    size = end(found)
    return jax.lax.scan(draw, state, jax.random.split(keys[2], DRAWS))[1]


NAMES = ["fidelity-toy-homoscedastic", "fidelity-toy-heteroscedastic", "fidelity-yacht"]


@pytest.mark.parametrize("name", NAMES)
def test_the_density_is_that_of_bnnbench(name, data_root):
    """Differences of the log joint between random networks."""
    model, task = Model(name, data_root), TASKS.get(name)
    x, y = (torch.tensor(np.asarray(values), dtype=torch.float64) for values in (model.x, model.y))
    problem = make_problem(x, y, task.likelihood("fixed"), hidden=task.hidden)
    drawn = [model.draw(jax.random.key(seed)) for seed in range(4)]
    ours = [-float(problem.n * problem.energy(as_ours(p), Batch(x, y, torch.ones(len(x))))) for p in drawn]
    np.testing.assert_allclose(np.diff(ours), np.diff([float(model.log_joint(p)) for p in drawn]), rtol=1e-4)


def as_ours(params):
    """The same parameters under bnnbench's names, weights and not standardised weights."""
    found = {"log_noise": torch.tensor(float(params["noise"]), dtype=torch.float64)}
    for i, (weight, bias) in enumerate(params["layers"]):
        scaled = np.asarray(weight, float).T * (2 / len(weight)) ** 0.5
        found[f"layers.{i}.weight"], found[f"layers.{i}.bias"] = (
            torch.tensor(scaled),
            torch.tensor(np.array(bias, float)),
        )
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES[:2])  # of yacht it takes hours
def test_nuts_finds_the_certified_posterior(name, data_root):
    """Centre and spread of predicted means and log scales, in standard deviations of the posterior, within the Monte
    Carlo error of the 200 components that are shipped; in the mean over test rows, which are far from independent."""
    model = Model(name, data_root)
    run = jax.jit(jax.vmap(partial(chain, model)))
    means, log_scales, divergent = map(np.asarray, run(jax.random.split(jax.random.key(0), CHAINS)))
    assert divergent.mean() < 1e-3
    with np.load(Path(bnnbench.__file__).parent / "posteriors" / f"{name}.npz") as shipped:
        gold = (shipped["test/mean"] - model.shift) / model.unit, np.log(shipped["test/scale"] / model.unit)
    error = len(gold[0]) ** -0.5
    for drawn, known in zip((means, log_scales), gold, strict=True):
        assert np.quantile(array_stats.rhat(drawn, chain_axis=0, draw_axis=1), 0.95) < 1.05
        drawn = drawn.reshape(-1, drawn.shape[-1])
        spread = drawn.std(0)
        assert np.sqrt(np.mean(((drawn.mean(0) - known.mean(0)) / spread) ** 2)) < 3 * error
        assert np.sqrt(np.mean(np.log(known.std(0) / spread) ** 2)) < 3 * error / 2**0.5
