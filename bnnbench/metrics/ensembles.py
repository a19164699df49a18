"""CRPS of a distribution that is known by draws alone."""

from __future__ import annotations

import torch
from torch import Tensor

from bnnbench.model.predictive_forms import SamplePredictive


def fair_crps(predictive: SamplePredictive, y: Tensor) -> Tensor:
    """(1/S) sum_s |x_s - y| - 1 / (2 S (S - 1)) sum_s sum_t |x_s - x_t| at targets y [N]; [N].

    Unlike that of the draws' own empirical distribution, whose divisor is 2 S^2, its expectation over the draws is the
    CRPS of what they are drawn from, so that few draws cost nothing but noise (Ferro 2014, doi:10.1002/qj.2270; the
    estimator `fair` of scoringrules). Pairs are summed by ranks: sum_{s<t} |x_s - x_t| = sum_s (2 s - S - 1) x_(s).
    """
    drawn = (predictive.samples - y).sort(0).values  # centred at the target, so that an offset of all costs no digits
    count = len(drawn)
    weight = 2 * torch.arange(1, count + 1, dtype=drawn.dtype, device=drawn.device) - count - 1
    return drawn.abs().mean(0) - (weight[:, None] * drawn).sum(0) / (count * (count - 1))
