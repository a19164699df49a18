"""Normalizing flows as methods of density tasks: a flow and Adam; what is minimised is the task's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.func import functional_call

from bnnbench import flows, random
from bnnbench.errors import UserError
from bnnbench.flows import Chain, Constant, Flow, Inverse
from bnnbench.methods.base import METHODS, MOST_LAYERS, Info, Method, at_most, positive
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.methods.space import RATE, Integer, Space
from bnnbench.model import DensityPredictive, Params, Predictive, Problem
from bnnbench.model.density_problem import DensityProblem, Unfitted
from bnnbench.model.posteriors import FunctionSpace, structure, tree
from bnnbench.random import Span

STARTING_DRAWS = 1024  # for what starts from data
WIDE = 64  # wider networks within flows learn more slowly


@tree
class FittedDensity(FunctionSpace):
    """A density: in closed form, or estimated with samples of a latent variable's noise.

    Attributes:
        sampled: whether it is estimated.
    """

    params: Params
    sampled: bool = structure()

    def size(self, samples: int) -> int:
        return samples if self.sampled else 1

    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> Tensor:
        return density(problem).latent_noise(key, span)

    def predict(self, sample: Tensor, problem: Problem, x: Tensor) -> Predictive:
        return DensityPredictive(density(problem).log_weights(self.params, x, sample))

    def parameters(self, key: Tensor, problem: Problem) -> Params:
        return self.params


@dataclass(frozen=True)
class FlowFit(Method):
    """A flow, fitted by Adam.

    Attributes:
        lr: peak learning rate of the one-cycle schedule.
        layers: of the flow.
        width: of the two hidden layers of its networks, where it has some. Above 64 they learn at lr * 64 / width, for
            the steps of all weights of a unit add up (Yang et al. 2022, arXiv 2203.03466).

    Class attributes:
        make: the family of `bnnbench.flows`.
        without: settings of others that mean nothing to this flow.
    """

    tags = ("flow",)
    supports = ("density", "variational")
    make: ClassVar[Callable[..., Flow]]
    without: ClassVar[tuple[str, ...]] = ()
    lr: float = 3e-3
    layers: int = 8
    width: int = 64
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        shape = {} if "width" in cls.without else {"width": Integer(16, 256)}
        return {"lr": RATE, **shape}

    def check(self) -> None:
        positive(self, "lr", "layers", "width")
        at_most(self, MOST_LAYERS, "layers")
        for name in self.without:
            if getattr(self, name) != getattr(type(self), name):
                raise UserError(f"{self.name} has no {name}: leave {self.name}.{name} out.")

    def flow(self, dim: int, context: int, sampled: bool) -> Flow:
        """The flow before training, by default what the family makes.

        Args:
            sampled: whether the fit draws from it and so wants its inverse in closed form, rather than its density.
        """
        del sampled
        return self.make(dim, **self._shape(context))

    def prepare(self, problem: Problem) -> Problem:
        return problem.with_network(self.placed(problem.network))

    def placed(self, network: nn.Module) -> nn.Module:
        """A copy of a task's network with the flow in its place."""
        network = copy.deepcopy(network)
        place = next((module for module in network.modules() if isinstance(module, Unfitted)), None)
        if place is None:
            raise TypeError(f"{self.name} needs a density to fit, not a {type(network).__name__}")
        flow = self.flow(place.dim, place.context, place.sampled).to(next(place.parameters()))
        if network is place:
            return flow
        network.flow = flow
        return network

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        return adam_init(problem.init_params(key))

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        wide = [name for name in state.params if ".conditioner." in name] if self.width > WIDE else []
        pace = dict.fromkeys(wide, WIDE / self.width)
        return adam_step(lambda params: density(problem).loss(key, params), state, problem, self.lr, pace)

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> FittedDensity:
        del draws
        return FittedDensity(state.params, density(problem).sampled)

    def _shape(self, context: int) -> dict[str, Any]:
        return {"layers": self.layers, "hidden": (self.width, self.width), "context": context}


@METHODS.register
@dataclass(frozen=True)
class NoFlow(FlowFit):
    """A normal distribution with independent dimensions: what a flow must beat."""

    name = "flow-gaussian"
    citation = "a diagonal normal distribution"
    without = ("layers", "width")
    layers: int = 1

    def flow(self, dim: int, context: int, sampled: bool) -> Flow:
        del context, sampled
        return Flow(Chain([Constant(dim)]))


@METHODS.register
@dataclass(frozen=True)
class NICE(FlowFit):
    """Additive couplings."""

    name = "flow-nice"
    make = staticmethod(flows.nice)
    citation = "Dinh et al. 2014, arXiv 1410.8516"


@METHODS.register
@dataclass(frozen=True)
class RealNVP(FlowFit):
    """Affine couplings."""

    name = "flow-realnvp"
    make = staticmethod(flows.realnvp)
    citation = "Dinh et al. 2017, arXiv 1605.08803"


@METHODS.register
@dataclass(frozen=True)
class Glow(FlowFit):
    """ActNorm, an invertible matrix and an affine coupling a layer."""

    name = "flow-glow"
    make = staticmethod(flows.glow)
    citation = "Kingma & Dhariwal 2018, arXiv 1807.03039"
    supports = ("density",)  # ActNorm starts from data

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        params, x = problem.init_params(key), density(problem).draws(random.fold_in(key, 1), STARTING_DRAWS)
        fitted = functional_call(problem.network, params, (x,), {"call": "fitted"})
        return adam_init(params | {name: value.clone() for name, value in fitted.items()})


@METHODS.register
@dataclass(frozen=True)
class MAF(FlowFit):
    """Affine autoregressive layers, whose density takes one pass."""

    name = "flow-maf"
    make = staticmethod(flows.maf)
    citation = "Papamakarios et al. 2017, arXiv 1705.07057"
    supports = ("density",)
    layers: int = 5


@METHODS.register
@dataclass(frozen=True)
class IAF(FlowFit):
    """Affine autoregressive layers, of which draws take one pass."""

    name = "flow-iaf"
    make = staticmethod(flows.iaf)
    citation = "Kingma et al. 2016, arXiv 1606.04934"
    supports = ("variational",)
    layers: int = 5


@dataclass(frozen=True)
class _Spline(FlowFit):
    """Attributes:
    bins: of the splines, on [-5, 5].
    """

    citation = "Durkan et al. 2019, arXiv 1906.04032"
    bins: int = 8

    def check(self) -> None:
        super().check()
        positive(self, "bins")
        flows.RationalQuadratic(self.bins)  # too many are refused

    def _shape(self, context: int) -> dict[str, Any]:
        return super()._shape(context) | {"bins": self.bins}


@METHODS.register
@dataclass(frozen=True)
class SplineCoupling(_Spline):
    """Couplings by rational-quadratic splines."""

    name = "flow-spline-coupling"
    make = staticmethod(flows.spline_coupling)
    layers: int = 4


@METHODS.register
@dataclass(frozen=True)
class SplineAutoregressive(_Spline):
    """Autoregressive rational-quadratic splines."""

    name = "flow-spline-ar"
    make = staticmethod(flows.spline_autoregressive)
    supports = ("density",)
    layers: int = 3


@METHODS.register
@dataclass(frozen=True)
class Planar(FlowFit):
    """Planar layers, in closed form in the direction of the fit."""

    name = "flow-planar"
    citation = "Rezende & Mohamed 2015, arXiv 1505.05770"
    without = ("width",)
    lr: float = 1e-2  # at less, modes are lost as the density cools; at 0.03 one fit in five to `energy-2` diverged
    layers: int = 32

    def flow(self, dim: int, context: int, sampled: bool) -> Flow:
        return _towards(sampled, flows.planar(dim, self.layers, context))


@METHODS.register
@dataclass(frozen=True)
class Radial(FlowFit):
    """Radial layers, in closed form both ways."""

    name = "flow-radial"
    citation = "Rezende & Mohamed 2015, arXiv 1505.05770"
    without = ("width",)
    lr: float = 3e-2
    layers: int = 32

    def flow(self, dim: int, context: int, sampled: bool) -> Flow:
        del context
        return _towards(sampled, flows.radial(dim, self.layers))


def density(problem: Problem) -> DensityProblem:
    """The problem as what a flow is fitted to; `prepare` has refused all others."""
    assert isinstance(problem, DensityProblem)
    return problem


def _towards(sampled: bool, flow: Flow) -> Flow:
    """The flow, which leads from noise to data in closed form, or the like from data to noise."""
    assert isinstance(flow.bijection, Inverse)
    return flow if sampled else Flow(flow.bijection.bijection)
