r"""Deep ensembles with adversarial training: each member also fits its minibatch moved to where its loss grows.

With l(x) the mean negative log-likelihood of a minibatch at inputs x, and r the range of each input,

    x' = x + epsilon r sign(grad_x l(x)),    L = (l(x) + l(x')) / 2 - (1/n) log p(w)

(fast gradient sign method, Goodfellow et al. 2015, arXiv 1412.6572). The published loss is l(x) + l(x') and has no
prior, so that Adam takes the same steps for half of it; half of it leaves a datum the weight against the prior that it
has without adversarial training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from bnnbench import random
from bnnbench.methods.base import METHODS, Info, positive
from bnnbench.methods.ensemble import DeepEnsemble
from bnnbench.methods.optimise import AdamState, adam_update, one_cycle
from bnnbench.methods.space import LogUniform, Space
from bnnbench.model import Params, Problem
from bnnbench.model.posteriors import Draws


class Attacked(NamedTuple):
    """Members, and for each of them the range of the inputs [members, ...], in the network's units."""

    fit: AdamState
    reach: Tensor


@METHODS.register
@dataclass(frozen=True)
class AdversarialEnsemble(DeepEnsemble):
    """Deep ensemble whose members are trained on adversarial examples, too.

    An update takes half a minibatch and its adversarial twin, and so costs the one minibatch gradient that all methods
    get: the gradient by the inputs comes with that by the weights. Published trainings spend two.

    Attributes:
        epsilon: how far each input is moved, as a fraction of its range in the training rows.
    """

    name = "ensemble-adversarial"
    version = 1
    citation = "Lakshminarayanan et al. 2017, arXiv 1612.01474, section 2.3"
    tags = ("ensembles", "other-target")
    family = ""
    epsilon: float = 0.01

    @classmethod
    def space(cls) -> Space:
        return {**super().space(), "epsilon": LogUniform(0.001, 0.1)}

    def check(self) -> None:
        super().check()
        positive(self, "epsilon")

    def init(self, key: Tensor, problem: Problem) -> Attacked:
        reach = input_range(problem)
        return Attacked(super().init(key, problem), reach.expand(self.members, *reach.shape).clone())

    def update(self, key: Tensor, state: Attacked, problem: Problem) -> tuple[Attacked, Info]:
        half = replace(problem, batch_size=max(problem.batch_size // 2, 1))

        def one(k: Tensor, member: AdamState, reach: Tensor) -> tuple[AdamState, Tensor]:
            return self.step(k, member, reach, half)

        fit, loss = vmap(one)(random.split(key, self.members), state.fit, state.reach)
        return state._replace(fit=fit), {"loss": loss.mean()}

    def step(self, key: Tensor, member: AdamState, reach: Tensor, problem: Problem) -> tuple[AdamState, Tensor]:
        """One step of one member down L, and L."""
        batch = problem.minibatch(key)

        def nll(params: Params, x: Tensor) -> Tensor:
            return 0.5 * problem.mean_nll(params, batch._replace(x=x))

        (clean, slope), loss = grad_and_value(nll, argnums=(0, 1))(member.params, batch.x)
        moved = self.moved(batch.x, reach, slope)

        def rest(params: Params) -> Tensor:
            return nll(params, moved) - problem.log_prior(params) / problem.n

        attacked, further = grad_and_value(rest)(member.params)
        gradient = {name: value + attacked[name] for name, value in clean.items()}
        rate = one_cycle(problem.t, problem.steps, self.lr)
        return adam_update(member, gradient, problem.t, rate), loss + further

    def moved(self, x: Tensor, reach: Tensor, slope: Tensor) -> Tensor:
        """x' from x and the gradient of the loss by x."""
        return x + self.epsilon * reach * slope.sign()

    def posterior(self, state: Attacked, draws: Any, problem: Problem) -> Draws:
        return super().posterior(state.fit, draws, problem)


def input_range(problem: Problem, chunk: int = 1024) -> Tensor:
    """Largest less smallest value of each input among the training rows, in the network's units; of images one range a
    channel, as they are standardised. Padding repeats a row and changes nothing."""
    shift, index = problem.rows.x_shift, problem.rows.index
    shared = (0, *(axis + 1 for axis, size in enumerate(shift.shape) if size == 1))
    parts = [problem.table.x[index[start : start + chunk]] for start in range(0, index.shape[0], chunk)]
    low = torch.stack([part.amin(shared, keepdim=True)[0] for part in parts]).amin(0)
    high = torch.stack([part.amax(shared, keepdim=True)[0] for part in parts]).amax(0)
    return ((high - low) / problem.rows.x_scale).to(problem.t.dtype)
