"""NUTS of BlackJAX on a regression network, the model written anew in JAX; a program of its own, for JAX has threads
that a process which forks must not have.

    python nuts_peer.py density|draws IN.npz OUT.npz
"""

import sys
from functools import partial

import blackjax
import jax
import jax.numpy as jnp
import numpy as np

CHAINS, WARM_UP, DRAWS, FIT = 4, 300, 300, 500
LARGEST_TREE = 8  # trajectories of 255 steps


class Model:
    """A task's network, prior and likelihood over standardised data.

    A weight is sqrt(2 / fan-in) times a standard normal, a bias a standard normal; the noise is floor + softplus of the
    second output, or floor + exp(a) for one number a ~ N(-1, 1).
    """

    def __init__(self, given):
        self.x, self.y, self.test = (jnp.array(given[name]) for name in ("x", "y", "test"))
        self.floor, self.shared = float(given["floor"]), bool(given["shared"])
        self.widths = [int(width) for width in given["widths"]]

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


def density(model):
    """The log joint of four networks from the prior, with their parameters."""
    found = {}
    for seed in range(4):
        params = model.draw(jax.random.key(seed))
        for i, (weight, bias) in enumerate(params["layers"]):
            found |= {f"{seed}/weight{i}": weight, f"{seed}/bias{i}": bias}
        found[f"{seed}/noise"], found[f"{seed}/log_joint"] = params["noise"], model.log_joint(params)
    return found


def draws(model):
    """Means and log scales at the test rows, [chains, draws, rows], and which trajectories diverged."""
    run = jax.jit(jax.vmap(partial(chain, model)))
    means, log_scales, divergent = run(jax.random.split(jax.random.key(0), CHAINS))
    return {"means": means, "log_scales": log_scales, "divergent": divergent}


if __name__ == "__main__":
    what, source, target = sys.argv[1:]
    with np.load(source) as arrays:
        answer = {"density": density, "draws": draws}[what](Model(arrays))
    np.savez(target, **{name: np.asarray(values) for name, values in answer.items()})
