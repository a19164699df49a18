r"""Rank-1 Bayesian networks: shared weights, and a distribution over rank-1 factors on them alone,

    W o (r s^T),    q(r, s) = (1/K) sum_k N(m_k, diag(sigma_k^2)),    p(r, s) = N(1, prior_sd^2 I),

K components, each with biases b_k of its own; W and b are point estimates under the task's prior. A minibatch is
divided among the components as in `bnnbench.methods.batch_ensemble`, each row having one draw of its component's
factors, r = m + sigma eps. The objective per datum is

    L = -(1/B) sum_i log p(y_i | x_i, W, b_k(i), r_i, s_i) - (1/(nK)) sum_k log p(W, b_k) + (1/(nK)) sum_k KL(q_k || p).

By the convexity of the KL its last term is no less than KL(q || p) / n, so that n L is an upper bound of the mixture's
negative evidence lower bound, the log-joint of the point estimates included. An update costs one minibatch gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from bnnbench import random
from bnnbench.layers import keyed
from bnnbench.layers.noisy import gaussian_kl
from bnnbench.layers.rank_one import with_factors
from bnnbench.methods.base import METHODS, Info, Method, positive
from bnnbench.methods.batch_ensemble import (
    assigned,
    by_layer,
    factors,
    layers_of,
    network,
    of_member,
    of_rows,
    shared,
)
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.methods.space import PRIOR_SCALE, RATE, LogUniform, Space
from bnnbench.model import Batch, Params, Problem
from bnnbench.model.posteriors import Posterior, perturbed, tree


@tree
class RankOneMixture(Posterior):
    """Shared weights times rank-1 factors from a mixture of K Gaussians; sample j is of component j mod K.

    Attributes:
        params: as in `bnnbench.methods.batch_ensemble`, with the means of the factors. sd: their standard deviations.
    """

    params: Params
    sd: Params

    def size(self, samples: int) -> int:
        return self._count * max(1, samples // self._count)

    def sample(self, key: Tensor, problem: Problem, span: int | random.Span) -> Params:
        del problem
        start, stop = (0, span) if isinstance(span, int) else (span.start, span.stop)
        component = torch.arange(start, stop, device=key.device) % self._count

        def one(key: Tensor, k: Tensor) -> Params:
            own = {name: value[k] if of_member(name) else value for name, value in self.params.items()}
            return network(own | drawn(key, own, {name: value[k] for name, value in self.sd.items()}))

        return vmap(one)(random.split(key, span), component)

    @property
    def _count(self) -> int:
        return len(next(iter(self.sd.values())))


@METHODS.register
@dataclass(frozen=True)
class RankOne(Method):
    """Rank-1 Bayesian network with a mixture of Gaussians over its factors, at the cost of one network.

    Attributes:
        components: number of components, K.
        lr: peak learning rate of the one-cycle schedule.
        spread: standard deviation of the means of the factors around 1 at the start.
        sigma: standard deviation of the factors under q at the start.
        prior_sd: standard deviation of the factors under their prior.
        beta: weight of the KL; other values than 1 are another target.
        prior_scale: factor of the scale of the shared weights' prior.
    """

    name = "rank-1"
    citation = "Dusenberry et al. 2020, arXiv 2005.07186"
    tags = ("variational", "other-target")
    components: int = 4
    lr: float = 1e-2
    spread: float = 0.1
    sigma: float = 0.03
    prior_sd: float = 0.1
    beta: float = 1.0
    prior_scale: float = 1.0
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        return {
            "lr": RATE,
            "spread": LogUniform(0.01, 1.0),
            "sigma": LogUniform(0.003, 0.3),
            "prior_sd": LogUniform(0.01, 1.0),
            "prior_scale": PRIOR_SCALE,
        }

    def check(self) -> None:
        positive(self, "components", "lr", "spread", "sigma", "prior_sd", "beta", "prior_scale")

    def prepare(self, problem: Problem) -> Problem:
        return problem.with_network(with_factors(problem.network))

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        params, sd = by_layer(problem.init_params(key), self.components), {}
        for layer in layers_of(params):
            for factor, size in zip("rs", params[f"weight.{layer}"].shape, strict=False):
                one = params[f"weight.{layer}"].new_ones(self.components, size)
                params[f"{factor}.{layer}"], sd[f"{factor}.{layer}"] = one, self.spread * one
        rho = {f"rho.{name}": torch.log(torch.expm1(self.sigma * torch.ones_like(v))) for name, v in sd.items()}
        return adam_init(params | drawn(random.fold_in(key, 1), params, sd) | rho)

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        batch = problem.minibatch(key)

        def objective(params: Params) -> tuple[Tensor, Info]:
            means, sd = moments_of(params)
            nll = self.nll(key, means, sd, batch, problem)
            energy = nll - log_prior(means, problem) / problem.n
            kl = divergence(means, sd, self.prior_sd) / problem.n
            return energy + self.beta * kl, {"nll": nll, "kl": kl}

        return adam_step(objective, state, problem, self.lr)

    def nll(self, key: Tensor, means: Params, sd: Params, batch: Batch, problem: Problem) -> Tensor:
        """An estimate of -(1/n) sum_i E_q log p(y_i | x_i), every row with factors of its own."""
        which = assigned(random.fold_in(key, 1), len(batch.weight), self.components).to(batch.weight)
        rows = of_rows(means, which)
        rows |= drawn(random.fold_in(key, 2), rows, {name: which @ value for name, value in sd.items()})
        with keyed(key, factors=factors(rows)):
            return problem.mean_nll(shared(means), batch)

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> RankOneMixture:
        del draws, problem
        return RankOneMixture(*moments_of(state.params))


def moments_of(params: Params) -> tuple[Params, Params]:
    """All parameters but the scales of q, the factors by their means, and the factors' standard deviations."""
    means = {name: value for name, value in params.items() if not name.startswith("rho.")}
    return means, {name[4:]: F.softplus(value) for name, value in params.items() if name.startswith("rho.")}


def drawn(key: Tensor, means: Params, sd: Params) -> Params:
    """A draw of the factors, which are what has a standard deviation."""
    return perturbed(key, {name: means[name] for name in sd}, sd)


def log_prior(means: Params, problem: Problem) -> Tensor:
    """log p of the shared weights, plus the mean of log p(b_k) over the components, 0-dim."""
    terms = [problem.log_prior(shared(means))]
    for name, value in means.items():
        if name.startswith("bias."):
            terms.append(problem.prior.log_density(value, problem.prior.scale_of(value[0])).sum(1).mean())
    return torch.stack(terms).sum()


def divergence(means: Params, sd: Params, prior_sd: float | Tensor) -> Tensor:
    """Mean over the components of KL(N(m_k, sigma_k^2) || N(1, prior_sd^2)), 0-dim."""
    scale = {name: prior_sd * torch.ones_like(value) for name, value in sd.items()}
    of_components = [gaussian_kl(means[name] - 1, value, scale[name]).sum(1).mean() for name, value in sd.items()]
    return torch.stack(of_components).sum()
