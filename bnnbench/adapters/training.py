"""What adapters of PyTorch libraries share: the model and its energy, minibatches that are counted, Adam under a
one-cycle rate with early stopping, and the network under draws of its weights.

What is minimised is that of our own methods, the energy per datum U(w) = -(1/n) [sum_i log p(y_i | x_i, w) + log p(w)].
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from bnnbench.errors import UserError
from bnnbench.methods.base import Inference
from bnnbench.methods.estimator import Assignment, Examples, Spending
from bnnbench.methods.optimise import one_cycle
from bnnbench.model import GaussianPrior, Params, Predictive
from bnnbench.model.likelihoods import LOG_NOISE, Homoscedastic, Likelihood
from bnnbench.model.predictive import log_mean_exp

CHECKS = 60  # looks at the validation rows in a training, as many as our own methods have at `quick`


@dataclass(frozen=True)
class OneNoise(Assignment):
    """A regression as a library takes it that knows one noise for all inputs: a network of one output, and a learned
    `log_noise` under the prior N(-1, 1)."""

    def network(self, outputs: int | None = None) -> nn.Module:
        return super().network(1 if outputs is None else outputs)

    @property
    def likelihood(self) -> Likelihood:
        return Homoscedastic()


def with_one_noise(problem: Assignment) -> Assignment:
    """The task itself, or with one noise for all inputs where its network says one for each."""
    several = problem.kind == "regression" and problem.likelihood.outputs > 1
    return OneNoise(**vars(problem)) if several else problem


def need_gaussian_prior(method: Inference, problem: Assignment) -> None:
    """Raise UserError where the task's prior is none that the library knows."""
    if not isinstance(problem.prior, GaussianPrior):
        kind = type(problem.prior).__name__
        raise UserError(f"{method.name} needs a Gaussian prior, and this task has a {kind}.")


class Model(nn.Module):
    """The task's network, with the `log_noise` that a homoscedastic likelihood learns.

    Args:
        network: another in its place, as a library has changed it.
    """

    def __init__(self, problem: Assignment, network: nn.Module | None = None) -> None:
        super().__init__()
        self.problem, self.network = problem, problem.network() if network is None else network
        self.log_noise = nn.Parameter(torch.tensor(-1.0)) if problem.learns_noise else None
        self.scales = scales(dict(self.network.named_parameters()), problem)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [N, outputs] of the network."""
        return self.network(x)

    def nll(self, x: Tensor, y: Tensor) -> Tensor:
        """-(1/B) sum_i log p(y_i | x_i, w) of a minibatch, 0-dim."""
        return -self.problem.log_likelihood(self(x), y, self.log_noise).mean()

    def log_prior(self) -> Tensor:
        """log p(w) of all parameters, 0-dim."""
        return log_prior(dict(self.network.named_parameters()), self.scales, self.problem) + self.log_prior_of_noise()

    def log_prior_of_noise(self) -> Tensor | float:
        """log p(log_noise), 0 where nothing is learned."""
        return 0.0 if self.log_noise is None else self.problem.likelihood.log_prior({LOG_NOISE: self.log_noise})

    @torch.no_grad()
    def score(self, examples: Examples, samples: int = 1) -> float:
        """Mean log-likelihood of rows under a mixture of passes; one is enough where the network draws nothing.

        A library's wrapper may answer with several passes at once, [samples N, outputs].
        """
        x, y = examples.tensors()
        outputs = self(x).unflatten(0, (samples, -1))
        each = [self.problem.log_likelihood(own, y, self.log_noise) for own in outputs]
        return float(log_mean_exp(torch.stack(each)).mean())


def scales(weights: Params, problem: Assignment) -> Params:
    """Scale of the prior of every parameter tensor, 0-dim; found once, for a step is short."""
    return {name: problem.prior.scale_of(value).detach() for name, value in weights.items()}


def log_prior(weights: Params, scales: Params, problem: Assignment) -> Tensor:
    """log p(w) of the parameters that have a scale, 0-dim."""
    return torch.stack([problem.prior.log_density(weights[name], own).sum() for name, own in scales.items()]).sum()


def minibatches(train: Examples, problem: Assignment, budget: Spending) -> Iterator[tuple[Tensor, Tensor]]:
    """A minibatch for each step of the budget, of rows drawn with replacement as by all methods; each is counted."""
    x, y = train.tensors()
    for _ in range(budget.steps):
        rows = torch.randint(len(x), (problem.batch_size,))
        budget.spend()
        yield x[rows], y[rows]


def rates(steps: int, peak: float) -> list[float]:
    """The one-cycle learning rate of every step, as all methods have it."""
    return one_cycle(torch.arange(steps, dtype=torch.float64), steps, peak).tolist()


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate


class Best:
    """The state of a module that scored best.

    Args:
        score: of the module as it is; None keeps the last state.
    """

    def __init__(self, module: nn.Module, score: Callable[[], float] | None) -> None:
        self.module, self.score, self.best, self.state = module, score, -np.inf, None

    def offer(self) -> None:
        """Look at the module, and keep it if it is better than before."""
        if self.score is None:
            return
        self.module.eval()
        if (score := self.score()) > self.best:
            self.best, self.state = score, copy.deepcopy(self.module.state_dict())
        self.module.train()

    def restore(self) -> None:
        """Take the module back to where it was best."""
        if self.state is not None:
            self.module.load_state_dict(self.state)
        self.module.eval()


def descend(
    module: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Iterator[tuple[Tensor, Tensor]],
    steps: int,
    lr: float,
    score: Callable[[], float] | None = None,
) -> None:
    """Adam under a one-cycle rate of peak `lr` down the loss of a minibatch; the module is left in evaluation.

    Args:
        score: what early stopping goes by, at `CHECKS` looks; None for the last state.
    """
    optimiser, best = torch.optim.Adam(module.parameters(), lr), Best(module.train(), score)
    every = max(1, steps // CHECKS)
    for step, (rate, (x, y)) in enumerate(zip(rates(steps, lr), batches, strict=True), 1):
        set_rate(optimiser, rate)
        optimiser.zero_grad()
        loss(x, y).backward()
        optimiser.step()
        if step % every == 0 or step == steps:
            best.offer()
    best.restore()


def map_model(
    train: Examples,
    validation: Examples,
    problem: Assignment,
    budget: Spending,
    lr: float,
    *,
    early_stopping: bool,
    network: nn.Module | None = None,
) -> Model:
    """The maximum a posteriori, trained as by `map`.

    Args:
        network: which to train, where it is not a fresh copy of the task's.
    """
    model, n = Model(problem, network), len(train.x)
    score = (lambda: model.score(validation)) if early_stopping else None
    batches = minibatches(train, problem, budget)
    descend(model, lambda x, y: model.nll(x, y) - model.log_prior() / n, batches, budget.steps, lr, score)
    return model.requires_grad_(False)


def by_name(vectors: Tensor, like: Params) -> list[Params]:
    """Vectors [S, P] of parameters, one after the other as in `like`, by name."""
    sizes = [value.numel() for value in like.values()]
    return [
        {name: part.reshape(value.shape) for (name, value), part in zip(like.items(), own.split(sizes), strict=True)}
        for own in vectors
    ]


@torch.no_grad()
def sampled(network: nn.Module, draws: list[Params], x: np.ndarray) -> Tensor:
    """Outputs [S, N, outputs] of a network under draws of its weights."""
    inputs = torch.as_tensor(x, dtype=torch.float32)
    return torch.stack([functional_call(network, draw, (inputs,)) for draw in draws])


@torch.no_grad()
def linearised(network: nn.Module, draws: list[Params], x: np.ndarray) -> Tensor:
    """Outputs [S, N, outputs] of a network that is linear in its weights around those it has.

    f(x, w) = f(x, m) + J(x) (w - m), the model that a Laplace approximation with the Gauss-Newton matrix belongs to.
    """
    mean, inputs = dict(network.named_parameters()), torch.as_tensor(x, dtype=torch.float32)

    def one(draw: Params) -> Tensor:
        change = {name: draw[name] - value if name in draw else torch.zeros_like(value) for name, value in mean.items()}
        found = jvp(lambda weights: functional_call(network, weights, (inputs,)), (mean,), (change,))
        return found[0] + found[1]

    with warnings.catch_warnings():  # the first jvp of a process compiles formulas of torch's by a deprecated call
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
        return torch.stack([one(draw) for draw in draws])


def layers_of(network: nn.Module, *kinds: type[nn.Module]) -> dict[str, nn.Module]:
    """The modules of exactly these types by name, in order."""
    return {name: layer for name, layer in network.named_modules() if type(layer) in kinds}


def predicted(problem: Assignment, outputs: Tensor, log_noise: Tensor | None) -> Predictive:
    """The mixture of outputs [S, N, outputs], with the noise where one is learned, 0-dim or one a component [S]."""
    return problem.predictive(outputs, None if log_noise is None else log_noise.detach())
