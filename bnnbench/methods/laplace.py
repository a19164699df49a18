r"""Laplace approximations: a Gaussian around the MAP, with the curvature that the log-joint has there.

    q(u) = N(u_map, T (H + delta I)^{-1}),    u = w / s, s the prior's scale, so that delta = 1 is the task's prior,

H the generalised Gauss-Newton matrix with the Fisher information of the outputs: whole, of the last layer alone,
Kronecker-factored per layer (Ritter et al. 2018, "A scalable Laplace approximation for neural networks"), or its
diagonal. delta is added to the eigenvalues, which is exact, and not shared out to the two factors by square roots as by
Ritter et al. The predictive is by default that of the network linearised in its weights at the MAP, the model
whose posterior the Gauss-Newton matrix belongs to (Immer et al. 2021, arXiv 2008.08216). A learned noise has a Gaussian
of its own: the Fisher information between it and the weights is zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers.taps import tap_names, with_taps
from bnnbench.methods.base import METHODS, one_of, positive
from bnnbench.methods.curvature import dense, diagonal, kronecker
from bnnbench.methods.gaussians import Covariance, from_matrices, to_matrices
from bnnbench.methods.map import MAP
from bnnbench.methods.optimise import AdamState
from bnnbench.model import GaussianPrior, Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.parameters import dot, noise
from bnnbench.model.posteriors import Linearised, Posterior, structure, tree

PREDICTIVES = ("linearised", "sampled")
PRECISIONS = ("task", "marglik")
STRUCTURES = ("dense", "kronecker")
DENSE_LIMIT = 15_000  # coordinates of a whole curvature


class Gaussian(NamedTuple):
    """The posterior: N(params, s^2 covariance), the covariance being that of u = w / s.

    `scale` holds s of every parameter, 0-dim. `log_noise` in it is the standard deviation of the learned noise.
    """

    params: Params
    scale: Params
    covariance: Covariance


@tree
class Curved(Posterior):
    """N(mean, sd^2 covariance) of the parameters of some layers; the others stay at their means.

    Attributes:
        sd: standard deviation of a parameter whose u has one of 1, 0-dim; of `log_noise` its own.
        covariance: of u, ready for draws. layers: names of the layers that have a distribution.
    """

    mean: Params
    sd: Params
    covariance: Any
    layers: tuple[str, ...] = structure()

    def sample(self, key: Tensor, problem: Problem, span: int | random.Span) -> Params:
        del problem
        like = to_matrices(self.mean, self.layers)
        own = {name: value for name, value in self.mean.items() if name == LOG_NOISE}

        def one(key: Tensor) -> Params:
            z = noise(key, like | own)
            change = from_matrices(self.covariance.colour({name: z[name] for name in like}), self.mean)
            change |= {name: z[name] for name in own}
            return {name: mean + self.sd[name] * change[name] for name, mean in self.mean.items()}

        return vmap(one)(random.split(key, span))

    def moments(self) -> tuple[Params, Params]:
        sd = from_matrices(self.covariance.sd(to_matrices(self.mean, self.layers)), self.mean)
        sd |= {name: torch.ones_like(value) for name, value in self.mean.items() if name == LOG_NOISE}
        return self.mean, {name: self.sd[name] * value for name, value in sd.items()}


@dataclass(frozen=True)
class _Laplace(MAP):
    """What the Laplace approximations share; trained exactly like `map`.

    Attributes:
        predictive: "linearised" in the weights, or "sampled": the network itself under weight samples.
        precision: delta, "task" being 1; "marglik" the one in 1e-4 ... 1e4 of the greatest Laplace marginal
            likelihood; a number, as text, delta itself. The MAP is that of the task's prior in any case, so that other
            values than "task" give mean and covariance two priors: no posterior, which tables mark.
        temperature: factor of the covariance; 1 is the posterior.
    """

    tags = ("laplace",)
    family = "exact"
    predictive: str = "linearised"
    precision: str = "task"
    temperature: float = 1.0

    curvature: ClassVar[Callable[..., Covariance]]
    layers: ClassVar[slice] = slice(None)  # which layers have a distribution

    def check(self) -> None:
        super().check()
        positive(self, "temperature")
        one_of(self, "predictive", PREDICTIVES)
        if self.precision not in PRECISIONS and not _is_positive(self.precision):
            words = " or ".join((*PRECISIONS, "a positive number"))
            raise UserError(f"{self.name}.precision must be {words}, not {self.precision!r}.")

    def prepare(self, problem: Problem) -> Problem:
        if not isinstance(problem.prior, GaussianPrior):
            raise UserError(f"{self.name} needs a Gaussian prior, and this task has a {type(problem.prior).__name__}.")
        with_taps(problem.network)  # raises for layers that are not supported
        return problem

    def finish(self, key: Tensor, state: AdamState, problem: Problem) -> Gaussian:
        del key
        problem = problem.with_network(with_taps(problem.network))
        params, names = state.params, tap_names(problem.network)[self.layers]
        scale = {name: problem.scale_of(name, value) for name, value in params.items()}
        u = to_matrices({name: (value / scale[name]).double() for name, value in params.items()}, names)

        def choose(eigenvalues: Callable[[], Tensor]) -> Tensor:
            if self.precision == "marglik":
                return best_precision(eigenvalues(), dot(u, u))
            return torch.full_like(dot(u, u), 1.0 if self.precision == "task" else float(self.precision))

        covariance = self.curvature(problem, params, names, choose)
        if LOG_NOISE in params:
            information = problem.rows.weight.sum() * problem.likelihood.noise_fisher(params)
            scale[LOG_NOISE] = (information + 1).rsqrt()  # its prior has variance 1
        return Gaussian(params, scale, covariance)

    def posterior(self, state: Any, draws: Any, problem: Problem) -> Posterior:
        covariance = getattr(state, "covariance", None)
        if covariance is None:  # before `finish`
            return super().posterior(state, draws, problem)
        free = tuple(self._free(state.params))
        sd = {name: value * self.temperature**0.5 for name, value in state.scale.items()}
        gaussian = Curved(state.params, sd, covariance.prepared(), tuple(self._layers(state.params)))
        return gaussian if self.predictive == "sampled" else Linearised(state.params, gaussian, free)

    def _layers(self, names: Iterable[str]) -> list[str]:
        """Names of the layers that have a distribution."""
        return [name.rpartition(".")[0] for name in names if name.rpartition(".")[2] == "weight"][self.layers]

    def _free(self, names: Collection[str]) -> list[str]:
        """Names of their parameters."""
        layers = set(self._layers(names))
        return [name for name in names if name.rpartition(".")[0] in layers and name != LOG_NOISE]

    def _refuse_dense(self, problem: Problem, remedy: str) -> None:
        """Raise where a dense curvature of these parameters would be too large."""
        params = dict(problem.network.named_parameters())
        count = sum(params[name].numel() for name in self._free(params))
        if count > DENSE_LIMIT:
            raise UserError(
                f"A dense curvature holds at most {DENSE_LIMIT:,} parameters: {count:,} would need "
                f"{5 * 8 * count**2 / 1e9:.0f} GB; {remedy}."
            )


def best_precision(eigenvalues: Tensor, square: Tensor) -> Tensor:
    """The delta of the greatest evidence among 61 in [1e-4, 1e4], 0-dim.

    Laplace's evidence as a function of delta (Immer et al. 2021, arXiv 2104.04975), for eigenvalues l [P] and
    square = |u_map|^2: const + (P log delta - delta |u_map|^2 - sum log(l + delta)) / 2.
    """
    grid = torch.logspace(-4, 4, 61, dtype=eigenvalues.dtype, device=eigenvalues.device)
    logs = torch.stack([torch.log1p(eigenvalues / delta).sum() for delta in grid.unbind()])
    return grid.gather(0, (-grid * square - logs).argmax()[None])[0]


@METHODS.register
@dataclass(frozen=True)
class LaplaceKron(_Laplace):
    """Kronecker-factored curvature of each layer; layers are independent."""

    name = "laplace-kron"
    citation = "Ritter et al. 2018, ICLR; Immer et al. 2021, arXiv 2008.08216"
    curvature = staticmethod(kronecker)


@METHODS.register
@dataclass(frozen=True)
class LaplaceDiag(_Laplace):
    """The curvature's diagonal; all weights are independent."""

    name = "laplace-diag"
    citation = "MacKay 1992; Immer et al. 2021, arXiv 2008.08216"
    family = "mean-field"
    curvature = staticmethod(diagonal)


@METHODS.register
@dataclass(frozen=True)
class LaplaceLast(_Laplace):
    """The last layer alone; the other layers stay at the MAP.

    Attributes:
        structure: "dense" for its whole curvature, or "kronecker" where that has too many numbers.
    """

    name = "laplace-last"
    version = 2
    citation = "Kristiadi et al. 2020, arXiv 2002.10118; Daxberger et al. 2021, arXiv 2106.14806"
    layers = slice(-1, None)
    structure: str = "dense"

    def check(self) -> None:
        super().check()
        one_of(self, "structure", STRUCTURES)

    def prepare(self, problem: Problem) -> Problem:
        prepared = super().prepare(problem)
        if self.structure == "dense":
            self._refuse_dense(problem, "use laplace-last.structure=kronecker")
        return prepared

    def curvature(self, *arguments: Any) -> Covariance:
        return (dense if self.structure == "dense" else kronecker)(*arguments)


@METHODS.register
@dataclass(frozen=True)
class LaplaceFull(_Laplace):
    """The whole curvature of all layers, for networks of at most 15,000 parameters."""

    name = "laplace-full"
    citation = "MacKay 1992; Immer et al. 2021, arXiv 2008.08216"
    tags = ("laplace", "references")
    vmappable = False
    curvature = staticmethod(dense)

    def prepare(self, problem: Problem) -> Problem:
        self._refuse_dense(problem, "use laplace-kron")
        return super().prepare(problem)


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False
