r"""BatchEnsemble: members that share every weight matrix up to a rank-1 matrix of factors, their fast weights,

    W_k = W o (r_k s_k^T),    with biases b_k of each member's own.

A minibatch is divided among the members, and one product with W serves all of them (`bnnbench.layers.rank_one`). The
objective is the mean of the members' energies U(w) = -(1/n) log p(data, w), each estimated on its part of the rows,

    L = -(1/B) sum_i log p(y_i | x_i, w_k(i)) - (1/(nK)) sum_k log p(w_k),    k(i) = (i + j) mod K,

with a random j every step. So the prior is that of the members' weights, where the paper decays W alone, and one member
is `map` in other coordinates. An update costs one minibatch gradient, of whose rows a member sees 1/K: one network is
trained, not K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from bnnbench import random
from bnnbench.layers import keyed
from bnnbench.layers.rank_one import Factors, product, with_factors
from bnnbench.methods.base import METHODS, Info, Method, one_of, positive
from bnnbench.methods.gaussians import parameter_name
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.methods.space import PRIOR_SCALE, RATE, LogUniform, Space
from bnnbench.model import Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.posteriors import Draws

STARTS = ("signs", "normal")


@METHODS.register
@dataclass(frozen=True)
class BatchEnsemble(Method):
    """MAP networks that share their weights but for rank-1 factors, trained together at the cost of one.

    The parameters are, by layer, `weight.` [out, in, ...], and of all members `bias.` and `r.` [K, out], `s.` [K, in].

    Attributes:
        members: number of members, K.
        lr: peak learning rate of the one-cycle schedule.
        start: of the factors, random "signs" or "normal" numbers around 1.
        spread: standard deviation of normal ones.
        prior_scale: factor of the prior's scale.
    """

    name = "batch-ensemble"
    citation = "Wen et al. 2020, arXiv 2002.06715"
    tags = ("ensembles",)
    family = "point"
    takes_rounded_products = True
    members: int = 4
    lr: float = 3e-3
    start: str = "normal"
    spread: float = 0.1
    prior_scale: float = 1.0
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "spread": LogUniform(0.01, 1.0), "prior_scale": PRIOR_SCALE}

    def check(self) -> None:
        positive(self, "members", "lr", "spread", "prior_scale")
        one_of(self, "start", STARTS)

    def prepare(self, problem: Problem) -> Problem:
        return problem.with_network(with_factors(problem.network))

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        params = by_layer(problem.init_params(key), self.members)
        for number, layer in enumerate(layers_of(params)):
            weight = params[f"weight.{layer}"]
            for place, factor in enumerate("rs"):
                own = random.fold_in(random.fold_in(key, 1), 2 * number + place)
                params[f"{factor}.{layer}"] = self._start(own, weight.shape[place]).to(weight)
        return adam_init(params)

    def _start(self, key: Tensor, size: int) -> Tensor:
        """One kind of factors of a layer at their start, [K, size]."""
        shape = (self.members, size)
        if self.start == "signs":
            return 2.0 * random.bernoulli(key, 0.5, shape) - 1
        return 1 + self.spread * random.normal(key, shape)

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        batch = problem.minibatch(key)
        which = assigned(random.fold_in(key, 1), len(batch.weight), self.members).to(batch.weight)

        def energy(params: Params) -> Tensor:
            with keyed(key, factors=factors(of_rows(params, which))):
                nll = problem.mean_nll(shared(params), batch)
            return nll - vmap(problem.log_prior)(networks(params)).mean() / problem.n

        return adam_step(energy, state, problem, self.lr)

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> Draws:
        del draws, problem
        return Draws(networks(state.params), thinned=False)


def layers_of(params: Params) -> list[str]:
    """Names of the layers."""
    return [name.removeprefix("weight.") for name in params if name.startswith("weight.")]


def by_layer(params: Params, members: int) -> Params:
    """Parameters of a plain network under the names used here: one weight for all members, a bias for each."""
    found = {}
    for name, value in params.items():
        layer, _, kind = name.rpartition(".")
        if name == LOG_NOISE or kind == "weight":
            found[name if name == LOG_NOISE else f"weight.{layer}"] = value
        else:
            found[f"bias.{layer}"] = value.expand(members, *value.shape).clone()
    return found


def shared(params: Params) -> Params:
    """What all members have in common, under the network's names."""
    found = {parameter_name(layer, "weight"): params[f"weight.{layer}"] for layer in layers_of(params)}
    return found | {name: value for name, value in params.items() if name == LOG_NOISE}


def assigned(key: Tensor, rows: int, members: int) -> Tensor:
    """Which member each row of a minibatch is of, (i + j) mod K with a random j: truth values [rows, K]."""
    number = torch.arange(rows, device=key.device) + random.randint(key, (), members)
    return (number % members)[:, None] == torch.arange(members, device=key.device)


def of_member(name: str) -> bool:
    """Whether every member has a parameter of its own, by its name."""
    return name.startswith(("r.", "s.", "bias."))


def of_rows(params: Params, which: Tensor) -> Params:
    """The parameters with those of each row's member, [B, ...], in place of those of all members."""
    return {name: which @ value if of_member(name) else value for name, value in params.items()}


def factors(params: Params) -> dict[str, Factors]:
    """The factors of every row, or of every member, by layer."""
    kinds = {layer: [f"{kind}.{layer}" for kind in ("r", "s", "bias")] for layer in layers_of(params)}
    return {layer: Factors(params[r], params[s], params.get(bias)) for layer, (r, s, bias) in kinds.items()}


def network(params: Params) -> Params:
    """The weights of one member, under the network's names; its parameters have no dimension of members here."""
    found = {name: value for name, value in params.items() if name == LOG_NOISE}
    for layer, (r, s, bias) in factors(params).items():
        found[parameter_name(layer, "weight")] = product(params[f"weight.{layer}"], r, s)
        if bias is not None:
            found[parameter_name(layer, "bias")] = bias
    return found


def networks(params: Params) -> Params:
    """The weights of all members [K, ...]."""
    own = {name: value for name, value in params.items() if of_member(name)}
    return vmap(lambda one: network(params | one))(own)
