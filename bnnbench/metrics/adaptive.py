"""Calibration errors over bins of equal mass: as many points in each bin, wherever the probabilities lie."""

from __future__ import annotations

import torch
from torch import Tensor

from bnnbench.metrics.base import Context, Value, mean_stderr, metric
from bnnbench.metrics.calibration import BINS, shared, top_label

NIXON = "Nixon et al. 2019, arXiv:1904.01685"


@metric(
    "ece_adaptive",
    kinds=("classification",),
    better=-1,
    unit="",
    summary="expected calibration error of the top label, 15 bins of equally many points",
    citation=f"Nguyen & O'Connor 2015, arXiv:1508.05154; {NIXON}; Mukhoti et al. 2020, arXiv:2002.09437",
)
def ece_adaptive(c: Context) -> Value:
    """`ece` with the points in the order of their confidences, N / 15 of them in each bin.

    Bins of equal width leave most of a sure classifier's points in the last one; here all bins count alike.
    """
    top = top_label(c.log_mixture, c.targets)
    error, pull = _equal_mass(top.confidence, top.correct - top.confidence)
    return Value(error, mean_stderr(pull))


@metric(
    "ace",
    kinds=("classification",),
    better=-1,
    unit="",
    summary="adaptive calibration error: that of each class's probability over 15 bins of equally many points, mean "
    "over classes",
    citation=NIXON,
)
def ace(c: Context) -> Value:
    """(1/K) sum_k sum_b (n_b / N) |share of class k in bin b - mean p_nk in bin b|, n_b / N = 1/15 up to rounding.

    Unlike `ece_adaptive` it looks at all K probabilities of a point, most of which are near 0 where K is large.
    """
    probs = c.log_mixture.exp()
    hit = torch.nn.functional.one_hot(c.targets.long(), probs.shape[-1])
    errors, pulls = zip(*(_equal_mass(p, h - p) for p, h in zip(probs.T, hit.T, strict=True)), strict=True)
    return Value(sum(errors) / len(errors), mean_stderr(torch.stack(pulls).mean(0)))


def _equal_mass(score: Tensor, gap: Tensor) -> tuple[float, Tensor]:
    """(1/N) sum_b |sum_{n in b} gap_n| over bins of equally many points by score; and each point's gap with the sign of
    its bin's sum, [N], whose spread is that of the error by the delta method, the signs held fixed.

    Points of equal score share their mean gap, so that their order decides nothing.
    """
    order, n = score.argsort(stable=True), len(score)
    bins = torch.empty_like(order)
    bins[order] = torch.arange(n, device=score.device) * min(BINS, n) // n
    sums = torch.zeros(BINS, dtype=gap.dtype, device=gap.device).index_add(0, bins, shared(gap, score))
    return sums.abs().sum().item() / n, sums.sign()[bins] * gap
