"""Adam under a one-cycle learning rate, as pure functions of pytrees; shared by all methods that optimise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value

from bnnbench.model import Params, Problem


class AdamState(NamedTuple):
    """Parameters by name, with Adam's running means of their gradient and of its square."""

    params: Params
    mean: Params
    square: Params


def adam_init(params: Params) -> AdamState:
    """A fit before its first step."""
    mean = {name: torch.zeros_like(value) for name, value in params.items()}
    return AdamState(params, mean, {name: torch.zeros_like(value) for name, value in params.items()})


def adam_step(
    objective: Callable[[Params], Tensor | tuple[Tensor, dict[str, Tensor]]],
    fit: AdamState,
    problem: Problem,
    lr: float | Tensor,
    pace: Mapping[str, float] | None = None,
) -> tuple[AdamState, dict[str, Tensor]]:
    """One step down the objective at the problem's present step; the info holds its value as `loss`.

    An objective may return its summands beside its value; they join the info. `pace` is as in `adam_update`.
    """

    def value(params: Params) -> tuple[Tensor, dict[str, Tensor]]:
        found = objective(params)
        return found if isinstance(found, tuple) else (found, {})

    gradient, (loss, parts) = grad_and_value(value, has_aux=True)(fit.params)
    rate = one_cycle(problem.t, problem.steps, lr)
    return adam_update(fit, gradient, problem.t, rate, pace=pace), {"loss": loss, **parts}


def adam_update(
    fit: AdamState,
    gradient: Params,
    t: Tensor,
    lr: float | Tensor,
    b1: float = 0.9,
    b2: float = 0.999,
    pace: Mapping[str, float] | None = None,
) -> AdamState:
    """Step t (from 0) of Adam (Kingma & Ba 2015, arXiv 1412.6980), epsilon 1e-8.

    `pace` names the parameters whose rate is another, as a part of `lr`.
    """
    rate, correction = held(lr / (1 - b1 ** (t + 1))), held(torch.rsqrt(1 - b2 ** (t + 1)))
    params, mean, square = {}, {}, {}
    for name, g in gradient.items():
        mean[name] = torch.lerp(g, fit.mean[name], b1)
        square[name] = torch.lerp(g * g, fit.square[name], b2)
        own = rate * pace[name] if pace and name in pace else rate
        params[name] = fit.params[name] - own * mean[name] / (square[name].sqrt() * correction + 1e-8)
    return AdamState(params, mean, square)


def held(scalar: Tensor) -> Tensor:
    """The same 0-dim tensor, kept in memory by the compiler.

    A scalar of the step that every weight needs is otherwise evaluated again for every weight, cosines and powers
    included: a third of an Adam step. Reductions are what Inductor never evaluates twice.
    """
    return scalar.expand(16).amax()


def one_cycle(t: Tensor, steps: int, peak: float | Tensor, warm: float = 0.25) -> Tensor:
    """Learning rate of step t: cosine up from peak/25 over the first `warm` of the steps, then down to peak/1e4.

    Smith & Topin 2018 (arXiv 1708.07120), with the shape of `torch.optim.lr_scheduler.OneCycleLR`.
    """
    low, end, turn = peak / 25, peak / 1e4, max(warm * steps, 1.0)
    up = 0.5 * (1 - torch.cos(math.pi * (t / turn).clamp(max=1.0)))
    down = 0.5 * (1 + torch.cos(math.pi * ((t - turn) / max(steps - turn, 1.0)).clamp(0.0, 1.0)))
    return torch.where(t < turn, low + (peak - low) * up, end + (peak - end) * down)


def phase_end(fraction: float | Tensor, steps: Tensor) -> Tensor:
    """The first step after a fraction of the steps, 0-dim and before the last: the nearest, whatever the precision."""
    return torch.minimum((fraction * steps - 0.5).ceil(), steps - 1)


def selection_end(fraction: float, steps: int) -> int:
    """The same of Python numbers; all steps for a fraction of 1."""
    return steps if fraction == 1 else int(phase_end(fraction, torch.tensor(steps, dtype=torch.float64)))
