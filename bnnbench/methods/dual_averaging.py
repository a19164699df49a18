"""Dual averaging of a step size (Hoffman & Gelman 2014, arXiv 1111.4246, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

TARGET = 0.9  # acceptance that the step size is adapted to


class Adaptation(NamedTuple):
    """log(step size), pulled towards `centre`; its average is what to go on with."""

    centre: Tensor
    log_step: Tensor
    log_average: Tensor
    error: Tensor
    count: Tensor


def fresh(log_step: Tensor) -> Adaptation:
    """An adaptation without a past."""
    return Adaptation(log_step, log_step, log_step, torch.zeros_like(log_step), torch.zeros_like(log_step))


def adapt(state: Adaptation, acceptance: Tensor, active: Tensor) -> Adaptation:
    """The state after one more trajectory, where `active`; gamma = 0.05, t0 = 10, kappa = 0.75."""
    count = state.count + 1
    error = (1 - 1 / (count + 10)) * state.error + (TARGET - acceptance) / (count + 10)
    log_step = state.centre - count.sqrt() / 0.05 * error
    weight = count**-0.75
    average = weight * log_step + (1 - weight) * state.log_average
    new = Adaptation(state.centre, log_step, average, error, count)
    return tree_map(lambda a, b: torch.where(active, a, b), new, state)
