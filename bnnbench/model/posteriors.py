r"""Posteriors: what training leaves, as something to sample from and to predict with.

A method returns one of these kinds from `Method.posterior`, written for ONE network. All are trees of tensors that pass
through `torch.func.vmap`; the engine samples once and predicts many rows with the samples:

    predictive(x) = posterior.predict(posterior.sample(key, problem, span), problem, x).

Noise belongs to a sample and never to the rows: chunks of rows or of samples give the numbers of the whole.
"""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar, dataclass_transform

import torch
from torch import Tensor
from torch.func import jvp, vmap
from torch.utils._pytree import register_pytree_node, tree_leaves, tree_map

from bnnbench import random
from bnnbench.model.likelihoods import Params
from bnnbench.model.parameters import noise, sample_moments, stacked
from bnnbench.model.predictive import Predictive, each
from bnnbench.model.problem import Problem
from bnnbench.random import Span

P = TypeVar("P", bound=type)


def structure(default: Any = dataclasses.MISSING) -> Any:
    """A field of a posterior that is no tensor: equal in all replicas of a pack."""
    return dataclasses.field(default=default, metadata={"structure": True})


@dataclass_transform(frozen_default=True, field_specifiers=(structure,))
def tree(cls: P) -> P:
    """Make a class of posteriors a frozen dataclass whose fields are trees of tensors, but for `structure` fields."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)
    leaves = [field.name for field in fields if "structure" not in field.metadata]
    fixed = [field.name for field in fields if "structure" in field.metadata]

    def flatten(posterior: Any) -> tuple[list[Any], tuple[Any, ...]]:
        return [getattr(posterior, name) for name in leaves], tuple(getattr(posterior, name) for name in fixed)

    def unflatten(values: Any, context: Any) -> Any:
        return cls(**dict(zip(leaves, values, strict=True)), **dict(zip(fixed, context, strict=True)))

    register_pytree_node(cls, flatten, unflatten)
    return cls


class Posterior(ABC):
    """A posterior over the functions that a network computes.

    Class attributes:
        shares_pass: whether all samples share a pass through the network, so that more of them at a time cost less.
        in_memory: whether training left the samples, so that to take all of them costs no memory.
    """

    shares_pass: ClassVar[bool] = False
    in_memory: ClassVar[bool] = False

    def size(self, samples: int) -> int:
        """Components of the predictive mixture where a budget grants so many samples; all of them by default."""
        return samples

    @abstractmethod
    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> Any:
        """Samples, each leaf stacked along a leading dimension: of parameters, by name, unless a kind says otherwise.

        Args:
            span: how many, or which part of how many; the parts are those of the whole.
        """

    def predict(self, sample: Any, problem: Problem, x: Tensor) -> Predictive:
        """The mixture of these samples at inputs x [N, ...] in original units; differentiable in x."""
        return problem.predict(sample, x)

    def weights_of(self, sample: Any) -> Params | None:
        """The network's weights in these samples, stacked; None where samples are no weights."""
        return sample if isinstance(sample, dict) else None

    def moments(self) -> tuple[Params, Params] | None:
        """Mean and standard deviation of every weight; None where weights have no distribution."""
        return None

    def parameters(self, key: Tensor, problem: Problem) -> Params | None:
        """One draw of the network's parameters; None where there is no such thing."""
        return {name: value[0] for name, value in self.sample(key, problem, 1).items()}

    def predictive(self, key: Tensor, problem: Problem, x: Tensor, samples: int) -> Predictive:
        """The whole predictive mixture at inputs x [N, ...] in original units."""
        return self.predict(self.sample(key, problem, self.size(samples)), problem, x)


@tree
class Point(Posterior):
    """A point estimate of the parameters."""

    params: Params

    def size(self, samples: int) -> int:
        del samples
        return 1

    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> Params:
        del key, problem, span
        return stacked(self.params)


@tree
class Draws(Posterior):
    """Weight samples that training left: ensemble members, draws of Markov chains.

    Attributes:
        params: stacked along a leading dimension.
        thinned: whether a budget of fewer samples takes as many of them, evenly spaced, in place of all.
    """

    in_memory = True
    params: Params
    thinned: bool = structure(default=True)

    def size(self, samples: int) -> int:
        kept = self._kept
        return max(1, min(kept, samples)) if self.thinned else kept

    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> Params:
        del key, problem
        if isinstance(span, int):
            span = Span(0, self.size(span), self.size(span))
        kept = self._kept
        which = [(i + 1) * kept // span.total - 1 for i in range(span.start, span.stop)]
        return {name: value[which] for name, value in self.params.items()}

    def moments(self) -> tuple[Params, Params]:
        return sample_moments(self.params)

    @property
    def _kept(self) -> int:
        return len(next(iter(self.params.values())))


@tree
class FactorisedGaussian(Posterior):
    """w ~ N(mean, sd^2), independent weights."""

    mean: Params
    sd: Params

    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> Params:
        del problem
        return vmap(lambda k: perturbed(k, self.mean, self.sd))(random.split(key, span))

    def moments(self) -> tuple[Params, Params]:
        return self.mean, self.sd


def perturbed(key: Tensor, mean: Params, sd: Params) -> Params:
    """One reparametrised draw mean + sd * eps of all parameters."""
    eps = noise(key, mean)
    return {name: torch.addcmul(value, sd[name], eps[name].to(value)) for name, value in mean.items()}


@tree
class LowRankGaussian(Posterior):
    """w ~ N(mean, factor (diag(sd^2) + D D^T / (R - 1))), D the R deviations [R, ...].

    Maddox et al. 2019, arXiv 1902.02476, equation 5, where the factor is 1/2.
    """

    mean: Params
    sd: Params
    deviations: Params
    factor: Tensor

    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> Params:
        del problem
        rank = len(next(iter(self.deviations.values())))

        def one(k: Tensor) -> Params:
            eps, low = noise(k, self.mean), random.normal(random.fold_in(k, 1), (rank,))
            return {
                name: m + self.factor**0.5
                * (self.sd[name] * eps[name]
                   + torch.tensordot(low.to(m), self.deviations[name], 1) / max(rank - 1, 1) ** 0.5)
                for name, m in self.mean.items()
            }  # fmt: skip

        return vmap(one)(random.split(key, span))

    def moments(self) -> tuple[Params, Params]:
        low = {name: (value**2).sum(0) / max(len(value) - 1, 1) for name, value in self.deviations.items()}
        return self.mean, {name: (self.factor * (self.sd[name] ** 2 + low[name])) ** 0.5 for name in self.mean}


@tree
class Linearised(Posterior):
    """The network linearised in its weights around `centre`: f(x, w_0) + J(x) (w - w_0), w from another posterior.

    Attributes:
        centre: w_0. weights: what w is sampled from. free: names of the parameters that differ from w_0.
    """

    shares_pass = True
    centre: Params
    weights: Posterior
    free: tuple[str, ...] = structure()

    def size(self, samples: int) -> int:
        return self.weights.size(samples)

    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> Params:
        return self.weights.sample(key, problem, span)

    def predict(self, sample: Params, problem: Problem, x: Tensor) -> Predictive:
        x = problem.standardise(x)
        moved = {name: self.centre[name] for name in self.free}

        def component(weights: Params) -> Predictive:
            change = {name: weights[name] - mean for name, mean in moved.items()}
            out = jvp(lambda w: problem.apply(self.centre | w, x), (moved,), (change,))
            return problem.component(weights, out[0] + out[1])

        with warnings.catch_warnings():  # the first jvp of a process compiles formulas of torch's by a deprecated call
            warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
            return vmap(component)(sample)

    def moments(self) -> tuple[Params, Params] | None:
        return self.weights.moments()


@tree
class Mixture(Posterior):
    """A mixture of K posteriors of one kind with equal weights: p(w) = (1/K) sum_k p_k(w).

    Every part has as many components of the predictive, first those of part 0. A sample is one of each part, as a
    tuple; parts that a span does not reach are empty in it.

    Attributes:
        parts: the K posteriors as one, every tensor with a leading dimension K.
    """

    parts: Any

    @property
    def shares_pass(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.parts.shares_pass

    @property
    def in_memory(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.parts.in_memory

    def size(self, samples: int) -> int:
        return self._count * self._part(0).size(max(1, samples // self._count))

    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> tuple[Any, ...]:
        span = Span(0, span, span) if isinstance(span, int) else span
        drawn, first = {}, 0
        for k in range(self._count):
            own = span.total // self._count + (k < span.total % self._count)
            start, stop = (min(max(place - first, 0), own) for place in (span.start, span.stop))
            if start < stop:
                drawn[k] = self._part(k).sample(random.fold_in(key, k), problem, Span(start, stop, own))
            first += own
        empty = tree_map(lambda leaf: leaf[:0], next(iter(drawn.values())))
        return tuple(drawn.get(k, empty) for k in range(self._count))

    def predict(self, sample: tuple[Any, ...], problem: Problem, x: Tensor) -> Predictive:
        reached = [(k, own) for k, own in enumerate(sample) if len(tree_leaves(own)[0])]
        return each(lambda *found: torch.cat(found), *(self._part(k).predict(own, problem, x) for k, own in reached))

    def weights_of(self, sample: tuple[Any, ...]) -> Params | None:
        found = [self._part(k).weights_of(own) for k, own in enumerate(sample)]
        return None if found[0] is None else tree_map(lambda *values: torch.cat(values), *found)

    def parameters(self, key: Tensor, problem: Problem) -> Params | None:
        return self._part(0).parameters(random.fold_in(key, 0), problem)

    @property
    def _count(self) -> int:
        return len(tree_leaves(self.parts)[0])

    def _part(self, k: int) -> Any:
        return tree_map(lambda leaf: leaf[k], self.parts)


class FunctionSpace(Posterior):
    """A posterior whose samples are functions, each named by a key: of a process, of dropout masks, of a density.

    By default a single component in closed form.
    """

    def size(self, samples: int) -> int:
        del samples
        return 1

    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> Any:
        """Keys [S, 2] of the functions."""
        del problem
        return random.split(key, span)

    @abstractmethod
    def predict(self, sample: Any, problem: Problem, x: Tensor) -> Predictive: ...

    def parameters(self, key: Tensor, problem: Problem) -> Params | None:
        return None
