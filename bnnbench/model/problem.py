"""The problem: all that a method may see of a task, for one network on one split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.model.likelihoods import LOG_NOISE, Likelihood, Params
from bnnbench.model.predictive import Predictive
from bnnbench.model.priors import Prior
from bnnbench.nets import initialise


class Batch(NamedTuple):
    """B examples: standardised inputs [B, ...], targets [B], weights [B] (0 for padding)."""

    x: Tensor
    y: Tensor
    weight: Tensor


class Table(NamedTuple):
    """The whole data set of a task, in original units, shared by all replicas of a pack: x [N, ...], y [N].

    Numbers are float64, in which large offsets leave them their digits; pixels in [0, 1] are float32.
    """

    x: Tensor
    y: Tensor


class Rows(NamedTuple):
    """The training rows of one split and what was measured on them.

    `index` [M] points into the table and is padded by repetition up to the longest split of the pack; `weight` [M] is
    0 for padding; `count` is the number of rows that are not padding, `total` the sum of the weights and at least 1
    (no data: all weights 0). Standardisation: (x - x_shift) / x_scale, in the table's dtype; a column that is constant
    in the training rows has an infinite scale and is 0 whatever it holds.
    """

    index: Tensor
    weight: Tensor
    count: Tensor
    total: Tensor
    x_shift: Tensor
    x_scale: Tensor
    y_shift: Tensor
    y_scale: Tensor


@dataclass(frozen=True)
class Problem:
    """Network, likelihood, prior and data of one split; padding and standardisation live in here.

    Attributes:
        batch_size: rows of a minibatch, the same in all splits.
        steps: number of updates of this budget.
        t: the present step, a 0-dim tensor, for schedules.
    """

    network: nn.Module
    likelihood: Likelihood
    prior: Prior
    table: Table
    rows: Rows
    batch_size: int
    steps: int
    t: Tensor

    @property
    def n(self) -> Tensor:
        """Effective number of training rows, a 0-dim tensor: the sum of their weights, and at least 1."""
        return self.rows.total

    def init_params(self, key: Tensor) -> Params:
        """Start of all parameters: the network's, and the likelihood's own (`log_noise`)."""
        params = initialise(self.network, key)
        return params | self.likelihood.init_params(next(iter(params.values())))

    def minibatch(self, key: Tensor) -> Batch:
        """`batch_size` training rows drawn with replacement; weights make the mean over it an estimate of the
        mean over the n rows, so that a subset with unequal weights needs no other code."""
        place = random.randint(key, (self.batch_size,), self.rows.count)
        return self._gather(self.rows.index[place], self.rows.weight[place] * self.rows.count / self.n)

    def _gather(self, index: Tensor, weight: Tensor) -> Batch:
        x, y = self.table.x[index], self.table.y[index]
        if y.is_floating_point():
            y = self.standardise_target(y).to(weight.dtype)
        return Batch(self.standardise(x), y, weight)

    def standardise(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Inputs in original units to the network's units, rounded to the network's dtype (or another) at the end."""
        return ((x - self.rows.x_shift) / self.rows.x_scale).to(dtype or self.t.dtype)

    def standardise_target(self, y: Tensor) -> Tensor:
        """Targets of a regression in original units to the network's units, in the table's dtype."""
        return (y - self.rows.y_shift) / self.rows.y_scale

    def apply(self, params: Params, x: Tensor) -> Tensor:
        """Outputs [B, outputs] of the network at standardised inputs."""
        weights = {name: value for name, value in params.items() if name != LOG_NOISE}
        return functional_call(self.network, weights, (x,))

    def log_likelihood(self, params: Params, batch: Batch) -> Tensor:
        """log p(y | x, params) per example, shape [B], on the standardised target."""
        return self.likelihood.log_prob(params, self.apply(params, batch.x), batch.y)

    def log_prior(self, params: Params) -> Tensor:
        """log p(params), 0-dim: the prior over weights and the likelihood's over its own parameters."""
        weights = {name: value for name, value in params.items() if name != LOG_NOISE}
        return self.prior.log_prob(weights) + self.likelihood.log_prior(params)

    def mean_nll(self, params: Params, batch: Batch) -> Tensor:
        """Estimate of -(1/n) sum_i w_i log p(y_i | x_i, params)."""
        return -(batch.weight * self.log_likelihood(params, batch)).mean()

    def energy(self, params: Params, batch: Batch) -> Tensor:
        """U = -(1/n) log p(data, params), estimated on a minibatch; the posterior is exp(-n U), temperature 1/n."""
        return self.mean_nll(params, batch) - self.log_prior(params) / self.n

    def over_data(self, f: Callable[[Batch], Any], chunk: int = 1024) -> Any:
        """Sum of f over all training rows, in chunks; f returns tensors already summed with `batch.weight`."""
        total: Any = None
        index, weight = self.rows.index, self.rows.weight
        for start in range(0, index.shape[0], chunk):
            part = f(self._gather(index[start : start + chunk], weight[start : start + chunk]))
            total = part if total is None else tree_map(torch.add, total, part)
        return total

    def predict(self, params: Params, x: Tensor) -> Predictive:
        """The mixture over stacked parameter samples (leading dimension S) at inputs in original units."""
        x = self.standardise(x)
        return vmap(lambda sample: self.component(sample, self.apply(sample, x)))(params)

    def component(self, params: Params, out: Tensor) -> Predictive:
        """One component of the predictive mixture, in original units, from network outputs."""
        return self.likelihood.predictive(params, out, self.rows.y_shift, self.rows.y_scale)

    def with_prior(self, prior: Prior) -> Problem:
        """The same problem under another prior; methods that use it have another target."""
        return replace(self, prior=prior)

    def scaled(self, factor: float | Tensor) -> Problem:
        """The same problem with the prior's scale multiplied by a factor."""
        return self.with_prior(replace(self.prior, scale=self.prior.scale * factor))

    def scale_of(self, name: str, value: Tensor) -> Tensor:
        """Scale of the prior of one parameter, 0-dim: of a weight, or 1 of `log_noise`."""
        return (
            torch.ones((), dtype=value.dtype, device=value.device) if name == LOG_NOISE else self.prior.scale_of(value)
        )

    def with_network(self, network: nn.Module) -> Problem:
        """The same problem for a converted network (dropout, variational layers)."""
        return replace(self, network=network)

    def subset(self, weights: Tensor) -> Problem:
        """The same problem with the training rows weighted, for the bootstrap; weights [M], all 0 for no data."""
        weights = self.rows.weight * weights
        return replace(self, rows=self.rows._replace(weight=weights, total=weights.sum().clamp(min=1.0)))
