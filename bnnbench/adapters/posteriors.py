r"""posteriors: its SGLD, SGHMC, diagonal variational inference and diagonal Laplace approximation.

As its documentation has it, the log-posterior is one per datum, with a temperature to match:

    log_posterior(w, batch) = mean_i log p(y_i | x_i, w) + (1/n) log p(w),    temperature = 1 / n,

under the task's likelihood and prior, `log_noise` among the weights where one is learned. A step size is then the same
number as in our own methods.
"""

# The library is an extra; where it is missing, pyright takes the name for this file.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from bnnbench.adapters.base import Adapter
from bnnbench.adapters.training import (
    Model,
    linearised,
    log_prior,
    map_model,
    minibatches,
    need_gaussian_prior,
    predicted,
    rates,
    sampled,
    with_one_noise,
)
from bnnbench.methods.base import METHODS, evenly, fraction, positive
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.space import RATE, LogUniform, Space
from bnnbench.model import Params, Predictive
from bnnbench.model.likelihoods import LOG_NOISE

ROWS = 16  # of a pass for the curvature, whose time grows with their square


@dataclass(frozen=True)
class _Posteriors(Adapter):
    library, module = "posteriors", "posteriors"

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        model, draws = fitted[0], self.draws(fitted[1], samples)
        noise = torch.stack([draw[LOG_NOISE] for draw in draws]) if LOG_NOISE in draws[0] else None
        return predicted(model.problem, sampled(model, draws, x), noise)

    def draws(self, found: Any, samples: int) -> list[Params]:
        """Draws of all weights from what was fitted."""
        raise NotImplementedError


def log_posterior(model: Model, n: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """The log-posterior per datum of weights by name, estimated on a minibatch, with the library's auxiliary output."""
    prior = {f"network.{name}": scale for name, scale in model.scales.items()}

    def estimate(weights: Params, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, y = batch
        own = dict(weights.items())
        found = model.problem.log_likelihood(functional_call(model, own, (x,)), y, own.get(LOG_NOISE)).mean()
        before = log_prior(own, prior, model.problem) + model.problem.likelihood.log_prior(own)
        return found + before / n, torch.zeros(())

    return estimate


def parameters(model: Model) -> Params:
    """Copies of all parameters by name, as the library takes them."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@dataclass(frozen=True)
class _Sampler(_Posteriors):
    """A Markov chain whose step falls by a cosine, as that of `sgld`; draws are kept evenly after the burn-in.

    Attributes:
        lr: step size at the start. final_lr_fraction: fraction of it that is left at the end.
        burn_in: fraction of the steps before the first draw is kept. samples: draws kept.
    """

    family: ClassVar[str] = "exact"
    step_field: ClassVar[str] = "lr"
    num_chains = 1
    lr: float = 3e-2
    final_lr_fraction: float = 0.1
    burn_in: float = 0.5
    samples: int = 50

    @classmethod
    def space(cls) -> Space:
        return {"lr": LogUniform(0.001, 1.0), "final_lr_fraction": LogUniform(0.01, 1.0)}

    def check(self) -> None:
        positive(self, "lr", "samples")
        fraction(self, "burn_in", "final_lr_fraction")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        model, n = Model(problem), len(train.x)

        def rate(step: Tensor) -> Tensor:
            decay = 0.5 * (1 + torch.cos(math.pi * step / budget.steps))
            return self.lr * (self.final_lr_fraction + (1 - self.final_lr_fraction) * decay)

        transform = self.transform(log_posterior(model, n), rate, n)
        state, kept = transform.init(parameters(model)), []
        moments = set(evenly(int(self.burn_in * budget.steps), budget.steps, self.samples))
        for step, batch in enumerate(minibatches(train, problem, budget)):
            state, _ = transform.update(state, batch)
            if step in moments:
                kept.append({name: value.clone() for name, value in state.params.items()})
        return model.requires_grad_(False), kept

    def draws(self, found: Any, samples: int) -> list[Params]:
        return found

    def transform(self, target: Callable[..., Any], rate: Callable[[Tensor], Tensor], n: int) -> Any:
        """The library's transition."""
        raise NotImplementedError


@METHODS.register
@dataclass(frozen=True)
class PosteriorsSGLD(_Sampler):
    """Stochastic gradient Langevin dynamics: w + lr grad log p(w, batch) + N(0, 2 lr T), T = 1 / n.

    Nothing cuts a long step, as `sgld.reach` does in ours.
    """

    name: ClassVar[str] = "posteriors-sgld"
    citation: ClassVar[str] = "Welling & Teh 2011, ICML; Duffield et al. 2025, arXiv 2406.00104"
    implements: ClassVar[str] = "sgld"

    def transform(self, target: Callable[..., Any], rate: Callable[[Tensor], Tensor], n: int) -> Any:
        import posteriors

        return posteriors.sgmcmc.sgld.build(target, rate, temperature=1 / n)


@METHODS.register
@dataclass(frozen=True)
class PosteriorsSGHMC(_Sampler):
    """Stochastic gradient Hamiltonian Monte Carlo: w + lr m, m + lr grad log p(w, batch) - lr alpha m + noise.

    Its step is the same for all weights; that of `sghmc` follows the scale of their gradients. Position and momentum
    are moved from the same state, so that steps have to stay small beside alpha / curvature. The library's own alpha,
    0.01, would need ones too small to move within a budget.

    Attributes:
        alpha: friction.
    """

    name: ClassVar[str] = "posteriors-sghmc"
    citation: ClassVar[str] = "Chen et al. 2014, arXiv 1402.4102; Duffield et al. 2025, arXiv 2406.00104"
    implements: ClassVar[str] = "sghmc"
    alpha: float = 1.0

    @classmethod
    def space(cls) -> Space:
        return {**super().space(), "alpha": LogUniform(0.1, 10.0)}

    def check(self) -> None:
        positive(self, "alpha")
        super().check()

    def transform(self, target: Callable[..., Any], rate: Callable[[Tensor], Tensor], n: int) -> Any:
        import posteriors

        return posteriors.sgmcmc.sghmc.build(target, rate, alpha=self.alpha, temperature=1 / n, momenta=0.0)


@METHODS.register
@dataclass(frozen=True)
class PosteriorsVI(_Posteriors):
    """Variational inference with a factorised normal, one weight sample a step, by the sticking-the-landing gradient.

    Attributes:
        lr: peak learning rate of Adam's one-cycle schedule.
        sigma: standard deviation of q at the start, in units of the prior's scale.
    """

    name: ClassVar[str] = "posteriors-vi"
    citation: ClassVar[str] = "Roeder et al. 2017, arXiv 1703.09194; Duffield et al. 2025, arXiv 2406.00104"
    implements: ClassVar[str] = "bbp-gaussian"
    family: ClassVar[str] = "mean-field"
    lr: float = 2e-2
    sigma: float = 0.02

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "sigma": LogUniform(0.001, 0.2)}

    def check(self) -> None:
        positive(self, "lr", "sigma")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        import posteriors
        import torchopt

        model, n = Model(problem), len(train.x)
        rate, start = rates(budget.steps, self.lr), parameters(model)
        transform = posteriors.vi.diag.build(
            log_posterior(model, n), torchopt.adam(lambda count: rate[min(int(count), budget.steps - 1)]),
            temperature=1 / n,
            init_log_sds={name: torch.full_like(own, self.log_sd(name, own, problem)) for name, own in start.items()},
        )  # fmt: skip
        state = transform.init(start)
        for batch in minibatches(train, problem, budget):
            state, _ = transform.update(state, batch)
        return model.requires_grad_(False), state

    def log_sd(self, name: str, value: Tensor, problem: Assignment) -> float:
        """Logarithm of the standard deviation of q at the start; the prior of `log_noise` has one of 1."""
        return math.log(self.sigma * (1.0 if name == LOG_NOISE else float(problem.prior.scale_of(value))))

    def draws(self, found: Any, samples: int) -> list[Params]:
        import posteriors

        drawn = posteriors.vi.diag.sample(found, (samples,))
        return [{name: value[s] for name, value in drawn.items()} for s in range(samples)]


@METHODS.register
@dataclass(frozen=True)
class PosteriorsLaplace(_Posteriors):
    """Laplace approximation with the diagonal of the Gauss-Newton matrix, around the MAP of `map`; prediction is that
    of the network that is linear in its weights, as by `laplace-diag`.

    The Hessian of a noise that the network says of every input is not definite: where a task's network does, one noise
    is learned with the weights, and stays at its maximum. Passes for the curvature are not counted as gradients.

    Attributes:
        lr: peak learning rate of the MAP's one-cycle schedule.
    """

    name: ClassVar[str] = "posteriors-laplace"
    citation: ClassVar[str] = "Daxberger et al. 2021, arXiv 2106.14806; Duffield et al. 2025, arXiv 2406.00104"
    implements: ClassVar[str] = "laplace-diag"
    family: ClassVar[str] = "mean-field"
    lr: float = 1e-2
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE}

    def check(self) -> None:
        positive(self, "lr")
        super().check()

    def fit(self, train: Examples, validation: Examples, *, problem: Assignment, seed: int, budget: Spending) -> Any:
        import posteriors

        need_gaussian_prior(self, problem)
        problem = with_one_noise(problem)
        model = map_model(train, validation, problem, budget, self.lr, early_stopping=self.early_stopping)

        def forward(weights: Params, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return functional_call(model.network, dict(weights.items()), (batch[0],)), torch.zeros(())

        def log_likelihood(outputs: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
            return problem.log_likelihood(outputs, batch[1], model.log_noise).sum()

        mean = {name: value.detach() for name, value in model.network.named_parameters()}
        prior = {name: torch.ones_like(value) / problem.prior.scale_of(value) ** 2 for name, value in mean.items()}
        transform = posteriors.laplace.diag_ggn.build(forward, log_likelihood, prior)
        state = transform.init(mean)
        for batch in DataLoader(TensorDataset(*train.tensors()), ROWS):
            state, _ = transform.update(state, batch)
        return model, state

    def predict(self, fitted: Any, x: np.ndarray, samples: int) -> Predictive:
        model, state = fitted
        return predicted(model.problem, linearised(model.network, self.draws(state, samples), x), model.log_noise)

    def draws(self, found: Any, samples: int) -> list[Params]:
        import posteriors

        drawn = posteriors.laplace.diag_ggn.sample(found, (samples,))
        return [{name: value[s] for name, value in drawn.items()} for s in range(samples)]
