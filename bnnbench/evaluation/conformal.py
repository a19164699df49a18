"""Split conformal prediction at 90 %: the predictive's own intervals or sets, moved until they hold enough rows.

If the n validation rows and a test row are exchangeable, and the predictive knows none of them, then the region holds
the test row's target with a probability of at least 0.9, and of at most 0.9 + 1 / (n + 1) where no two scores are
equal, whatever the predictive is (Vovk et al. 2005; Lei et al. 2018, arXiv 1604.04173). That is an average over rows
and over validation sets, and says nothing of a single input.
"""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor

from bnnbench import random
from bnnbench.metrics.abilities import quantiles_at
from bnnbench.model import CategoricalPredictive, Predictive
from bnnbench.model.regions import LEVEL, Interval, LabelSet, Region

ENDS = (1 - LEVEL) / 2, (1 + LEVEL) / 2


def threshold(scores: Tensor) -> float:
    """The ceil(0.9 (n + 1))-th smallest of n conformity scores; infinite where n < 9. A NaN counts as the largest."""
    place = math.ceil(round(LEVEL * (len(scores) + 1), 9))
    return float(scores.nan_to_num(nan=math.inf).sort().values[place - 1]) if place <= len(scores) else math.inf


@singledispatch
def regions(validation: Predictive, y: Tensor, test: Predictive, key: Tensor) -> tuple[float, Region] | None:
    """The threshold of the validation rows, whose targets are y [N], and the regions of the test rows; None of a
    regression that does not tell the quantiles 0.05 and 0.95."""
    del key
    if quantiles_at(validation, ENDS) is None or quantiles_at(test, ENDS) is None:
        return None
    moved = threshold(misses(validation, y))
    return moved, interval(test, moved)


@regions.register
def _(
    validation: CategoricalPredictive, y: Tensor, test: CategoricalPredictive, key: Tensor
) -> tuple[float, Region] | None:
    own, other = random.split(key, 2)
    most = threshold(masses(validation, own).gather(-1, y.long()[:, None])[:, 0])
    return most, label_set(test, other, most)


def misses(predictive: Predictive, y: Tensor) -> Tensor:
    """max(q_0.05 - y, y - q_0.95), how far a target lies outside the predictive's interval, or, negative, inside; [N].

    The score of conformalised quantile regression (Romano et al. 2019, arXiv 1905.03222).
    """
    low, high = _ends(predictive)
    return torch.maximum(low - y, y - high)


def interval(predictive: Predictive, moved: float) -> Interval:
    """[q_0.05 - moved, q_0.95 + moved]; empty where the former is above the latter."""
    low, high = _ends(predictive)
    return Interval(low - moved, high + moved)


def _ends(predictive: Predictive) -> tuple[Tensor, Tensor]:
    ends = quantiles_at(predictive, ENDS)
    assert ends is not None
    return ends[0], ends[1]


def masses(predictive: CategoricalPredictive, key: Tensor) -> Tensor:
    """For each class the mixture's probability of all classes that are more probable, and a uniform share u of its own;
    [N, K], with one u for each row.

    The score of adaptive prediction sets (Romano et al. 2020, arXiv 2006.02544), whose u makes the coverage exact.
    """
    probs = predictive.mixture_log_probs().exp()
    ordered, classes = probs.sort(dim=-1, descending=True, stable=True)
    share = random.uniform(key, (len(probs), 1), torch.float64).to(probs.device)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probs).scatter(-1, classes, before + share * ordered)


def label_set(predictive: CategoricalPredictive, key: Tensor, most: float) -> LabelSet:
    """Classes whose mass is at most `most`; none at all, at times, where the predictive is sure."""
    return LabelSet(masses(predictive, key) <= most)
