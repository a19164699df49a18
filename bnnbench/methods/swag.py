r"""SWA-Gaussian: a Gaussian fitted to the last iterates of an optimiser at a constant learning rate.

A MAP fit comes first, and the iterates go on from its best state on the validation rows, where early stopping ends it.
Among the iterates nothing is chosen: their spread stands for the posterior's. With the kept ones w_1 ... w_K, their
mean m, elementwise variance d and the deviations from it of the last R, D = (w_{K-R+1} - m, ..., w_K - m),

    q(w) = N(m, (diag(d) + D D^T / (R - 1)) / 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.utils._pytree import tree_map

from bnnbench.errors import UserError
from bnnbench.methods.base import METHODS, Info, Method, evenly, fraction, positive
from bnnbench.methods.optimise import AdamState, adam_init, adam_update, one_cycle, phase_end, selection_end
from bnnbench.methods.space import PRIOR_SCALE, RATE, LogUniform, Space
from bnnbench.model import Params, Problem
from bnnbench.model.parameters import sample_moments
from bnnbench.model.posteriors import LowRankGaussian, Point


@METHODS.register
@dataclass(frozen=True)
class SWAG(Method):
    """SWAG after a one-cycle MAP fit; the iterates are those of Adam.

    Attributes:
        lr: peak learning rate of the fit. swa_lr: constant learning rate after it.
        burn_in: fraction of the steps that the fit gets.
        early_stopping: whether the iterates go on from the fit's best state, and not from its last.
        samples: iterates kept, K. rank: deviations of the low-rank part, R.
        scale: factor of the covariance; 1 is the paper's.
        prior_scale: factor of the prior's scale.
    """

    name = "swag"
    version = 2
    citation = "Maddox et al. 2019, arXiv 1902.02476"
    tags = ("ensembles",)
    takes_rounded_products = True
    step_field = "swa_lr"
    prunable = True
    lr: float = 1e-2
    swa_lr: float = 3e-3
    burn_in: float = 0.75
    samples: int = 50
    rank: int = 20
    scale: float = 1.0
    prior_scale: float = 1.0
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        return {
            "lr": RATE,
            "swa_lr": LogUniform(0.0001, 0.03),
            "scale": LogUniform(0.25, 4.0),
            "prior_scale": PRIOR_SCALE,
        }

    @property
    def early_stopping_fraction(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.burn_in

    def check(self) -> None:
        positive(self, "lr", "swa_lr", "burn_in", "samples", "scale", "prior_scale")
        fraction(self, "burn_in")
        if not 2 <= self.rank <= self.samples:
            limits = f"between 2 and {self.name}.samples ({self.samples})"
            raise UserError(f"{self.name}.rank must lie {limits}, not {self.rank}.")

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        return adam_init(problem.init_params(key))

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        end = phase_end(self.burn_in, torch.full_like(problem.t, problem.steps))
        # The best state's running means are of another step: Adam begins again, corrections included.
        state = tree_map(lambda new, old: torch.where(problem.t == end, new, old), adam_init(state.params), state)
        gradient, loss = grad_and_value(problem.energy)(state.params, problem.minibatch(key))
        fitting = problem.t < end
        rate = torch.where(fitting, one_cycle(problem.t / self.burn_in, problem.steps, self.lr), self.swa_lr)
        t = torch.where(fitting, problem.t, problem.t - end)
        return adam_update(state, gradient, t, rate), {"loss": loss, "step_size": rate}

    def schedule(self, steps: int) -> Sequence[int]:
        return evenly(selection_end(self.burn_in, steps), steps, self.samples)

    def collect(self, state: AdamState) -> Params:
        return state.params

    def posterior(self, state: AdamState, draws: Params | None, problem: Problem) -> Point | LowRankGaussian:
        if draws is None:
            return Point(state.params)
        mean, sd = sample_moments(draws)
        deviations = {name: value[-self.rank :] - mean[name] for name, value in draws.items()}
        return LowRankGaussian(mean, sd, deviations, torch.as_tensor(0.5 * self.scale).to(problem.t))
