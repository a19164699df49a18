"""Out-of-distribution detection: how well an uncertainty score tells out-of-distribution inputs from those of the task.

Out-of-distribution is the positive class, and a higher score means farther from the task's own inputs. Everything is a
function of ranks; ties count half in AUROC and fall on one side together in the others. Hendrycks & Gimpel 2017,
arXiv:1610.02136.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnnbench.metrics.base import Context, Value, metric, score
from bnnbench.metrics.classification import mutual_information
from bnnbench.model.predictive import CategoricalPredictive, entropy
from bnnbench.records import Score

OOD = ("ood",)
HENDRYCKS = "Hendrycks & Gimpel 2017, arXiv:1610.02136"


def auroc(inside: Tensor, outside: Tensor) -> Value:
    """P(outside > inside) + P(outside = inside) / 2 for scores [N] and [M]; stderr of DeLong et al. 1988.

    With V_i the share of the inside scores that outside score i beats, and W_j likewise the share of the outside
    scores that beat inside score j, stderr^2 = var(V) / M + var(W) / N (doi:10.2307/2531595).
    """
    beats = _share_below(outside, inside)
    if min(len(inside), len(outside)) < 2:
        return Value(beats.mean().item())
    beaten = 1 - _share_below(inside, outside)
    return Value(beats.mean().item(), math.sqrt((beats.var() / len(outside) + beaten.var() / len(inside)).item()))


def aupr(inside: Tensor, outside: Tensor) -> Value:
    """Average precision sum_t (recall_t - recall_(t-1)) precision_t over thresholds t from high to low; no stderr."""
    true, false = _counts(inside, outside)
    gained = true.diff(prepend=true.new_zeros(1)) / len(outside)
    return Value((gained * true / (true + false)).sum().item())


def fpr95(inside: Tensor, outside: Tensor) -> Value:
    """Share of inside scores at or above the highest threshold that 95 % of the outside ones reach; no stderr."""
    true, false = _counts(inside, outside)
    # Counts are whole numbers, compared as such: 0.95 has no exact form, and 19 of 20 must pass.
    first = (100 * true >= 95 * len(outside)).long().argmax()
    return Value((false[first] / len(inside)).item())


def _share_below(scores: Tensor, others: Tensor) -> Tensor:
    """Share of `others` below each of `scores`, ties half; [len(scores)]."""
    ordered = others.sort().values
    below, upto = torch.searchsorted(ordered, scores), torch.searchsorted(ordered, scores, right=True)
    return (below + upto).double() / (2 * len(others))


def _counts(inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
    """Outside and inside scores at or above each distinct score, from the highest down; float64 counts."""
    distinct = torch.cat([inside, outside]).unique().flip(0)

    def at_or_above(scores: Tensor) -> Tensor:
        return (len(scores) - torch.searchsorted(scores.sort().values, distinct)).double()

    return at_or_above(outside), at_or_above(inside)


def _outside(c: Context) -> CategoricalPredictive:
    if not isinstance(c.outside, CategoricalPredictive):
        raise TypeError(f"an out-of-distribution metric needs a CategoricalPredictive, got {type(c.outside).__name__}")
    return c.outside


def _total(c: Context) -> tuple[Tensor, Tensor]:
    """Total entropy of the inputs inside and outside."""
    return entropy(c.log_mixture), entropy(_outside(c).mixture_log_probs())


def _epistemic(c: Context) -> tuple[Tensor, Tensor]:
    """Mutual information of the inputs inside and outside."""
    outside = _outside(c)
    return (
        mutual_information(c.categorical.log_probs, c.log_mixture),
        mutual_information(outside.log_probs, outside.mixture_log_probs()),
    )


@metric(
    "auroc_total",
    kinds=OOD,
    better=+1,
    unit="",
    summary="probability that an out-of-distribution input has the higher total entropy (ties half)",
    citation=HENDRYCKS,
    needs=("outside",),
)
def auroc_total(c: Context) -> Value:
    """Area under the ROC curve of the mixture's entropy, out-of-distribution positive."""
    return auroc(*_total(c))


@metric(
    "auroc_epistemic",
    kinds=OOD,
    better=+1,
    unit="",
    summary="probability that an out-of-distribution input has the higher mutual information (ties half)",
    citation=HENDRYCKS,
    needs=("outside",),
)
def auroc_epistemic(c: Context) -> Value:
    """Area under the ROC curve of the mutual information; 0.5 for a single component, which has none."""
    return auroc(*_epistemic(c))


@metric(
    "aupr_total",
    kinds=OOD,
    better=+1,
    unit="",
    summary="average precision of the total entropy, out-of-distribution inputs positive; chance is their share",
    citation=HENDRYCKS,
    needs=("outside",),
)
def aupr_total(c: Context) -> Value:
    """Average precision of the mixture's entropy."""
    return aupr(*_total(c))


@metric(
    "fpr95_total",
    kinds=OOD,
    better=-1,
    unit="",
    summary="false positives where 95 % of the out-of-distribution inputs are found, by the total entropy",
    citation="Liang et al. 2018, arXiv:1706.02690",
    needs=("outside",),
)
def fpr95_total(c: Context) -> Value:
    """False positive rate at 95 % true positive rate of the mixture's entropy."""
    return fpr95(*_total(c))


def ood_scores(inside: CategoricalPredictive, outside: CategoricalPredictive) -> list[Score]:
    """The four scores of one posterior on the task's test set and on an out-of-distribution set."""
    return score(inside, None, None, "ood", outside=outside)
