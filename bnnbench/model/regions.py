"""What a predictive says at 90 %: an interval of a regression, a set of classes of a classification, at each point."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEVEL = 0.9


class Interval(NamedTuple):
    """Closed intervals.

    Attributes:
        low, high: ends, [N] each; they may be infinite. Where low > high the interval is empty.
    """

    low: Tensor
    high: Tensor

    def holds(self, y: Tensor) -> Tensor:
        """Whether each target of y [N] lies inside; [N]."""
        return (self.low <= y) & (y <= self.high)

    def size(self) -> Tensor:
        """Widths in the unit of y, 0 of an empty interval; [N]."""
        return (self.high - self.low).clamp_min(0)


class LabelSet(NamedTuple):
    """Sets of classes.

    Attributes:
        member: whether a class belongs to the set, [N, K].
    """

    member: Tensor

    def holds(self, y: Tensor) -> Tensor:
        """Whether the set holds the true class of y [N]; [N]."""
        return self.member.gather(-1, y.long()[:, None])[:, 0]

    def size(self) -> Tensor:
        """Number of classes in each set; [N]."""
        return self.member.sum(-1)


Region = Interval | LabelSet


def most_probable(probs: Tensor, mass: float = LEVEL) -> LabelSet:
    """The fewest classes of probabilities [N, K] that hold this mass, the most probable first; of equally probable
    ones, the first."""
    ordered, classes = probs.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return LabelSet(torch.zeros_like(probs, dtype=torch.bool).scatter(-1, classes, before < mass))
