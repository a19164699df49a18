r"""Repulsive deep ensembles: members that push each other apart as functions.

With f_i the outputs of member i on the minibatch's inputs and k an RBF kernel between these, member i descends

    U(w_i) + (1/n) log sum_j k(f_i, f_j),

in which f_j stands still: what is added to the gradient of log p(w_i | data) is

    - (df_i/dw_i)^T  sum_j grad_{f_i} k(f_i, f_j) / sum_j k(f_i, f_j),

away from where a kernel density estimate finds many members. This is the paper's `kde-fWGD`, a discretised Wasserstein
gradient flow of the KL divergence; of its three estimates of the density's gradient this one needs no linear solver.
Weights can be far apart and mean the same function, which repulsion in weight space cannot see. In another way than the
paper, the prior is that of the weights, as for all methods here, and not one of functions whose gradient is estimated
from draws.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.func import grad_and_value, vmap

from bnnbench.errors import UserError
from bnnbench.methods.base import METHODS, Info, positive
from bnnbench.methods.ensemble import DeepEnsemble
from bnnbench.methods.kernels import median_rbf, squared_distances
from bnnbench.methods.optimise import AdamState, adam_update, one_cycle
from bnnbench.methods.space import LogUniform, Space
from bnnbench.model import Batch, Params, Problem


@METHODS.register
@dataclass(frozen=True)
class RepulsiveEnsemble(DeepEnsemble):
    """Deep ensemble with repulsion between its members' functions. All members see the same minibatch, whose inputs are
    those that the functions are compared at: they differ by their starts and by the repulsion.

    Attributes:
        members: number of networks.
        lr: peak learning rate of each.
        repulsion: factor of the repulsion; 1 is the paper's.
    """

    name = "ensemble-repulsive"
    takes_rounded_products = False  # its force is a difference of outputs that nearly agree
    version = 1
    citation = "D'Angelo & Fortuin 2021, arXiv 2106.11642"
    repulsion: float = 1.0

    @classmethod
    def space(cls) -> Space:
        return {**super().space(), "repulsion": LogUniform(0.1, 10.0)}

    def check(self) -> None:
        super().check()
        positive(self, "repulsion")
        if self.members < 2:
            raise UserError(f"{self.name}.members must be at least 2, not {self.members}; one member is `map`.")

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        batch = problem.minibatch(key)

        def objective(params: Params) -> tuple[Tensor, Tensor]:
            out = vmap(lambda member: problem.apply(member, batch.x))(params)
            energy = vmap(lambda member, f: energy_of(problem, member, f, batch))(params, out)
            force = self.force(out.detach())  # constant, so that every member moves by its own part of the sum alone
            return energy.sum() - self.repulsion / problem.n * (force * out).sum(), energy.mean()

        gradient, (_, loss) = grad_and_value(objective, has_aux=True)(state.params)
        rate = one_cycle(problem.t, problem.steps, self.lr)
        return adam_update(state, gradient, problem.t, rate), {"loss": loss}

    def force(self, out: Tensor) -> Tensor:
        """-sum_j grad_{f_i} k(f_i, f_j) / sum_j k(f_i, f_j) at outputs [members, B, outputs]."""
        kernel = median_rbf(squared_distances({"out": out}))
        return kernel.slope(out) / kernel.values.sum(1)[:, None, None]


def energy_of(problem: Problem, params: Params, out: Tensor, batch: Batch) -> Tensor:
    """The energy of `Problem.energy`, where the network's outputs are known."""
    log_likelihood = problem.likelihood.log_prob(params, out, batch.y)
    return -(batch.weight * log_likelihood).mean() - problem.log_prior(params) / problem.n
