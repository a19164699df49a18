"""Selective classification: what is the error where a classifier answers only when it is sure?"""

from __future__ import annotations

import torch

from bnnbench.metrics.base import Context, Value, mean_stderr, metric
from bnnbench.metrics.calibration import shared, top_label


@metric(
    "aurc",
    kinds=("classification",),
    better=-1,
    unit="",
    summary="area under the risk-coverage curve: the error on the i most confident points, mean over i = 1 ... N",
    citation="Geifman & El-Yaniv 2017, arXiv:1705.08500; Geifman et al. 2019, arXiv:1805.08206",
)
def aurc(c: Context) -> Value:
    """(1/N) sum_i R_i, R_i = (1/i) sum_{j <= i} 1{wrong_j}, points in falling order of the mixture's largest
    probability; points of equal confidence share their mean error, so that their order decides nothing.

    stderr by the infinitesimal jackknife: the point of place j moves the mean by R_j - AURC + sum_{i >= j} (wrong_j -
    R_i) / i, divided by N.
    """
    top = top_label(c.log_mixture, c.targets)
    order = top.confidence.argsort(descending=True, stable=True)
    confidence, wrong = top.confidence[order], 1 - top.correct[order]
    place = torch.arange(1, c.n + 1, dtype=wrong.dtype, device=wrong.device)
    risk = shared(wrong, confidence).cumsum(0) / place
    later, risk_later = (values.flip(0).cumsum(0).flip(0) for values in (1 / place, risk / place))
    pull = shared(risk - risk_later, confidence) + wrong * shared(later, confidence)
    return Value(risk.mean().item(), mean_stderr(pull))
