r"""NumPyro: the No-U-Turn sampler on the task's multilayer perceptron, in JAX, over all training rows at once.

The model is written as its documentation has it, in weights u = w / s ~ N(0, 1), s the prior's scale.
"""

# The library is an extra; where it is missing, pyright takes the name for this file.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from bnnbench.adapters.base import Adapter
from bnnbench.adapters.training import need_gaussian_prior, predicted, sampled
from bnnbench.errors import UserError
from bnnbench.methods.base import METHODS, at_most, evenly, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.model import Predictive
from bnnbench.model.likelihoods import LOG_NOISE, SCALE_FLOOR
from bnnbench.nets import MLP


@METHODS.register
@dataclass(frozen=True)
class NumPyroNUTS(Adapter):
    """NUTS with its adaptation of step size and diagonal mass in the first half of its iterations. There are as many as
    the budget allows if every tree were as deep as it may be; each leapfrog step counts as a gradient, though it is one
    over all rows, as by `hmc`.

    Attributes:
        max_tree_depth: a trajectory has at most 2^depth - 1 leapfrog steps.
        steps_multiplier: leapfrog steps in multiples of the budget's number of updates.
        samples: draws kept, evenly.
    """

    name: ClassVar[str] = "numpyro-nuts"
    library, module = "numpyro", "numpyro"
    citation: ClassVar[str] = "Hoffman & Gelman 2014, JMLR 15; Phan et al. 2019, arXiv 1912.11554"
    implements: ClassVar[str] = "hmc"
    family: ClassVar[str] = "exact"
    max_tree_depth: int = 6
    steps_multiplier: int = 20
    samples: int = 100

    def check(self) -> None:
        positive(self, "max_tree_depth", "steps_multiplier", "samples")
        at_most(self, 12, "max_tree_depth")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        import jax
        from numpyro.infer import MCMC, NUTS

        need_gaussian_prior(self, problem)
        network = problem.network()
        if type(network) is not MLP:
            raise UserError(
                f"{self.name} knows multilayer perceptrons alone, and this task has a {type(network).__name__}."
            )
        scales = {name: float(problem.prior.scale_of(value)) for name, value in network.named_parameters()}
        model = bayesian(network, scales, problem)
        steps = budget.steps * self.steps_multiplier
        count = max(4, steps // (2**self.max_tree_depth - 1))
        kernel = NUTS(model, max_tree_depth=self.max_tree_depth)
        chain = MCMC(kernel, num_warmup=count // 2, num_samples=count - count // 2, progress_bar=False)
        x, y = (np.asarray(values) for values in train)
        key, given = jax.random.PRNGKey(seed % 2**32), {"extra_fields": ("num_steps",)}
        for phase in (
            lambda: chain.warmup(key, x, y, collect_warmup=True, **given),
            lambda: chain.run(key, x, y, **given),
        ):
            phase()
            budget.spend(int(np.sum(chain.get_extra_fields()["num_steps"])))
        kept = evenly(0, count - count // 2, self.samples)
        draws = {name: np.asarray(values)[kept] for name, values in chain.get_samples().items()}
        return problem, {name: values * scales.get(name, 1.0) for name, values in draws.items()}

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        problem, arrays = fitted
        values = {name: torch.as_tensor(own, dtype=torch.float32) for name, own in arrays.items()}
        noise = values.pop(LOG_NOISE, None)
        draws = [dict(zip(values, own, strict=True)) for own in zip(*values.values(), strict=True)]
        return predicted(problem, sampled(problem.network(), draws, x), noise)


def bayesian(network: MLP, scales: Mapping[str, float], problem: Assignment) -> Callable[..., None]:
    """p(w) p(y | x, w) as a model of the library."""
    import jax
    import numpyro
    from numpyro.distributions import Normal

    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    observe, depth = LIKELIHOODS[problem.kind](problem), len(network.layers)

    def model(x: Any, y: Any) -> None:
        weights = {
            name: numpyro.sample(name, Normal(0, 1).expand(shape).to_event()) * scales[name]
            for name, shape in shapes.items()
        }
        for i in range(depth):
            x = x @ weights[f"layers.{i}.weight"].T + weights[f"layers.{i}.bias"]
            x = jax.nn.relu(x) if i < depth - 1 else x
        numpyro.sample("y", observe(x), obs=y)

    return model


def _regression(problem: Assignment) -> Callable[[Any], Any]:
    import jax
    import numpyro
    from jax import numpy as jnp
    from numpyro.distributions import Normal

    def heteroscedastic(outputs: Any) -> Any:
        return Normal(outputs[:, 0], SCALE_FLOOR + jax.nn.softplus(outputs[:, 1]))

    def learned(outputs: Any) -> Any:
        return Normal(outputs[:, 0], SCALE_FLOOR + jnp.exp(numpyro.sample(LOG_NOISE, Normal(-1, 1))))

    def known(outputs: Any) -> Any:
        return Normal(outputs[:, 0], noise)

    if problem.learns_noise:
        return learned
    noise = None if (given := problem.noise()) is None else float(given)
    return heteroscedastic if noise is None else known


def _classification(problem: Assignment) -> Callable[[Any], Any]:
    from numpyro.distributions import Categorical

    return lambda outputs: Categorical(logits=outputs)


LIKELIHOODS: dict[str, Callable[[Assignment], Callable[[Any], Any]]] = {
    "regression": _regression,
    "classification": _classification,
}
