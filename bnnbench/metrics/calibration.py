"""The calibration curves behind the scores and the figures: PIT of a regression, top-label bins of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bnnbench.model.predictive import GaussianPredictive

LEVELS = 99  # 0.01 ... 0.99
BINS = 15  # Guo et al. 2017


def pit(predictive: GaussianPredictive, y: Tensor) -> Tensor:
    """Probability integral transform F_n(y_n), the mixture's cdf at the target; [N], uniform if F is right."""
    return torch.special.ndtr((y - predictive.mean) / predictive.scale).mean(0)


def levels(like: Tensor) -> Tensor:
    """The 99 levels 0.01, 0.02 ... 0.99, in the type and on the device of `like`."""
    # Whole numbers divided once: a running sum of 0.01 would miss PIT values that stand exactly on a level.
    return torch.arange(1, LEVELS + 1, dtype=like.dtype, device=like.device) / (LEVELS + 1)


def shared(values: Tensor, score: Tensor) -> Tensor:
    """Values [N], with that of each point replaced by the mean over the points of equal score."""
    _, group, count = score.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(count), dtype=values.dtype, device=values.device).index_add(0, group, values)
    return (sums / count)[group]


@dataclass(frozen=True)
class TopLabel:
    """What a classifier says first, and how sure it is.

    Attributes:
        confidence: largest class probability of the mixture, [N].
        correct: 1.0 where that class is the true one, else 0.0, [N].
        bin: index of the confidence's bin, [N]; bin b is (b/15, (b+1)/15], so that 1.0 falls into the last.
    """

    confidence: Tensor
    correct: Tensor
    bin: Tensor

    def sums(self, values: Tensor) -> Tensor:
        """Sum of per-point values [N] over each bin; shape [15]."""
        return torch.zeros(BINS, dtype=values.dtype, device=values.device).index_add(0, self.bin, values)


def edges(like: Tensor) -> Tensor:
    """The 16 bin edges 0, 1/15 ... 1."""
    return torch.arange(BINS + 1, dtype=like.dtype, device=like.device) / BINS


def top_label(log_mixture: Tensor, y: Tensor) -> TopLabel:
    """Confidence, correctness and bin of each point, from the mixture's log-probabilities [N, K] and classes y [N]."""
    log_confidence, label = log_mixture.max(-1)
    confidence = log_confidence.exp()
    # Inner edges only: rounding may lift a confidence a hair above 1, which would open a sixteenth bin.
    return TopLabel(confidence, (label == y).to(confidence.dtype), torch.bucketize(confidence, edges(confidence)[1:-1]))
