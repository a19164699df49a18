"""Metrics of classification, beside the log-likelihood: error, Brier score, calibration, and kinds of uncertainty."""

from __future__ import annotations

import torch
from torch import Tensor

from bnnbench.metrics.base import Context, Value, mean_stderr, mean_value, metric
from bnnbench.metrics.calibration import top_label
from bnnbench.model.predictive import entropy

CLASSIFICATION = ("classification",)
DEPEWEG = "Depeweg et al. 2018, arXiv:1710.07283"
KWON = "Kwon et al. 2020, doi:10.1016/j.csda.2019.106816"
SHRIDHAR = f"{KWON}; Shridhar et al. 2018, arXiv:1806.05978"


def mutual_information(log_probs: Tensor, log_mixture: Tensor) -> Tensor:
    """I[label; term] = H[(1/S) sum_s p_s] - (1/S) sum_s H[p_s] in nats, of terms [S, N, K] and mixture [N, K]; [N]."""
    # Jensen's inequality keeps it at 0 or above; rounding does not.
    return (entropy(log_mixture) - entropy(log_probs).mean(0)).clamp_min(0)


@metric(
    "error",
    kinds=CLASSIFICATION,
    better=-1,
    unit="",
    summary="share of points whose most probable class under the mixture is wrong",
    headline=True,
)
def error(c: Context) -> Value:
    """(1/N) sum_n 1{argmax_k p_nk != y_n}."""
    return mean_value((c.log_mixture.argmax(-1) != c.targets).double())


@metric(
    "ece",
    kinds=CLASSIFICATION,
    better=-1,
    unit="",
    summary="expected calibration error of the top label, 15 equal-width bins of confidence",
    citation="Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599",
    headline=True,
)
def ece(c: Context) -> Value:
    """sum_b (n_b / N) |accuracy_b - confidence_b| = (1/N) sum_b |sum_{n in b} (correct_n - confidence_n)|.

    stderr by the delta method: the mean over points of sign_b(n) (correct_n - confidence_n), the signs held fixed.
    With few points even a perfect classifier has an error of order sqrt(15 / N).
    """
    top = top_label(c.log_mixture, c.targets)
    gap = top.correct - top.confidence
    sums = top.sums(gap)
    return Value((sums.abs().sum() / c.n).item(), mean_stderr(sums.sign()[top.bin] * gap))


@metric(
    "brier",
    kinds=CLASSIFICATION,
    better=-1,
    unit="",
    summary="squared distance of the mixture's probabilities from the one-hot truth, summed over classes (0 to 2)",
    citation="Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
    headline=True,
)
def brier(c: Context) -> Value:
    """(1/N) sum_n sum_k (p_nk - 1{k = y_n})^2."""
    probs = c.log_mixture.exp()
    truth = torch.nn.functional.one_hot(c.targets.long(), probs.shape[-1])
    return mean_value(((probs - truth) ** 2).sum(-1))


@metric(
    "entropy_total",
    kinds=CLASSIFICATION,
    better=0,
    unit="nats",
    summary="entropy of the mixture, mean over points",
    citation=DEPEWEG,
    needs=(),
)
def entropy_total(c: Context) -> Value:
    """(1/N) sum_n H[(1/S) sum_s p_sn]."""
    return mean_value(entropy(c.log_mixture))


@metric(
    "entropy_aleatoric",
    kinds=CLASSIFICATION,
    better=0,
    unit="nats",
    summary="mean entropy of the mixture's terms, mean over points",
    citation=DEPEWEG,
    needs=(),
)
def entropy_aleatoric(c: Context) -> Value:
    """(1/N) sum_n (1/S) sum_s H[p_sn]."""
    return mean_value(entropy(c.categorical.log_probs).mean(0))


@metric(
    "entropy_epistemic",
    kinds=CLASSIFICATION,
    better=0,
    unit="nats",
    summary="mutual information of label and term (total less aleatoric entropy), mean over points",
    citation=f"Houlsby et al. 2011, arXiv:1112.5745; {DEPEWEG}",
    needs=(),
)
def entropy_epistemic(c: Context) -> Value:
    """(1/N) sum_n (H[(1/S) sum_s p_sn] - (1/S) sum_s H[p_sn])."""
    return mean_value(mutual_information(c.categorical.log_probs, c.log_mixture))


def kwon_covariance(probs: Tensor) -> tuple[Tensor, Tensor]:
    """Diagonals, over classes, of the aleatoric and epistemic covariance of the label, of terms p_s [S, N, K]; [N, K].

    Aleatoric: (1/S) sum_s [diag(p_s) - p_s p_s^T]; epistemic: (1/S) sum_s (p_s - pbar)(p_s - pbar)^T.
    """
    return (probs * (1 - probs)).mean(0), probs.var(0, correction=0)


def softplus_normalised(logits: Tensor) -> Tensor:
    """softplus(l_k) / sum_j softplus(l_j), the probabilities of Shridhar et al. 2018, equation 15."""
    positive = torch.nn.functional.softplus(logits)
    return positive / positive.sum(-1, keepdim=True)


@metric(
    "kwon_aleatoric",
    kinds=CLASSIFICATION,
    better=0,
    unit="",
    summary="trace of the terms' mean label covariance, mean over points",
    citation=KWON,
    needs=(),
)
def kwon_aleatoric(c: Context) -> Value:
    """tr (1/S) sum_s [diag(p_s) - p_s p_s^T] = (1/S) sum_s sum_k p_sk (1 - p_sk); mean over points."""
    return mean_value(kwon_covariance(c.categorical.log_probs.exp())[0].sum(-1))


@metric(
    "kwon_epistemic",
    kinds=CLASSIFICATION,
    better=0,
    unit="",
    summary="trace of the covariance of the terms' probabilities, mean over points",
    citation=KWON,
    needs=(),
)
def kwon_epistemic(c: Context) -> Value:
    """tr (1/S) sum_s (p_s - pbar)(p_s - pbar)^T = sum_k Var_s p_sk; mean over points."""
    return mean_value(kwon_covariance(c.categorical.log_probs.exp())[1].sum(-1))


@metric(
    "kwon_aleatoric_normalised",
    kinds=CLASSIFICATION,
    better=0,
    unit="",
    summary="kwon_aleatoric of softplus-normalised logits in place of their softmax",
    citation=SHRIDHAR,
    needs=("logits",),
)
def kwon_aleatoric_normalised(c: Context) -> Value:
    """`kwon_aleatoric` with p_sk = softplus(l_sk) / sum_j softplus(l_sj)."""
    return mean_value(kwon_covariance(_normalised(c))[0].sum(-1))


@metric(
    "kwon_epistemic_normalised",
    kinds=CLASSIFICATION,
    better=0,
    unit="",
    summary="kwon_epistemic of softplus-normalised logits in place of their softmax",
    citation=SHRIDHAR,
    needs=("logits",),
)
def kwon_epistemic_normalised(c: Context) -> Value:
    """`kwon_epistemic` with p_sk = softplus(l_sk) / sum_j softplus(l_sj)."""
    return mean_value(kwon_covariance(_normalised(c))[1].sum(-1))


def _normalised(c: Context) -> Tensor:
    assert c.logits is not None
    return softplus_normalised(c.logits)
