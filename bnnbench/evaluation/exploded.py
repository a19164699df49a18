"""Draws that have exploded: networks that predict worse than a guess which ignores the inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnnbench.metrics.base import double
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Predictive
from bnnbench.model.predictive import each

MARGIN = 1.0  # nats by which an exploded draw loses on the median row


def share_exploded(predictive: Predictive, y: Tensor, shift: float, scale: float) -> float:
    """Share of the S components that lose to a guess by more than a nat, or are not finite, on the median of N rows.

    The guess is N(shift, scale^2), or that all classes are alike. The median tells an explosion, which spoils all rows,
    from a sound network that errs on a few. A component's standard deviation counts as no smaller than the guess's:
    to be too sure of a fair prediction is no explosion either.

    Args:
        predictive: components [S, N ...]. y: targets [N]. shift, scale: of the train targets, for a regression.
    """
    predictive = double(predictive)
    if isinstance(predictive, GaussianPredictive):
        one = torch.ones_like(predictive.mean[:1])
        guess: Predictive = GaussianPredictive(shift * one, scale * one)
        predictive = predictive._replace(scale=predictive.scale.clamp(min=scale))
    else:
        assert isinstance(predictive, CategoricalPredictive)
        classes = predictive.log_probs.shape[-1]
        guess = CategoricalPredictive(torch.full_like(predictive.log_probs[:1], -math.log(classes)))
    components = [each(lambda part, s=s: part[s : s + 1], predictive) for s in range(len(predictive[0]))]
    alone = torch.stack([component.log_prob(y) for component in components])  # [S, N]
    lost = (guess.log_prob(y) - alone).nan_to_num(nan=math.inf)
    return float((lost.median(1).values > MARGIN).double().mean())
