"""Data of the figures: small named columns that the store keeps, so that pictures are plotted without the posterior."""

from __future__ import annotations

import torch
from torch import Tensor

from bnnbench.metrics.abilities import at_most
from bnnbench.metrics.base import double
from bnnbench.metrics.calibration import edges, levels, top_label
from bnnbench.metrics.classification import mutual_information
from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive, Predictive, entropy

Columns = dict[str, list[float]]


def pit_ecdf(predictive: Predictive, y: Tensor) -> Columns | None:
    """Share of PIT values at or below each of the 99 levels, the diagonal being perfect calibration; None where the
    predictive does not tell them."""
    at = levels(y.double())
    reached = at_most(double(predictive), y.double(), at)
    return None if reached is None else {"level": at.tolist(), "ecdf": reached.double().mean(0).tolist()}


def reliability(predictive: CategoricalPredictive, y: Tensor) -> Columns:
    """Lower edge, mean confidence, accuracy and count of the 15 bins of `ece`.

    Always all bins, so that figures pool over splits; confidence and accuracy of an empty one are NaN.
    """
    top = top_label(double(predictive).mixture_log_probs(), y)
    count = top.sums(top.correct.new_ones(len(y)))
    return {
        "lower": edges(count)[:-1].tolist(),
        "confidence": (top.sums(top.confidence) / count).tolist(),
        "accuracy": (top.sums(top.correct) / count).tolist(),
        "count": count.tolist(),
    }


def entropies(predictive: CategoricalPredictive) -> Columns:
    """Quantiles over points of the total and the epistemic entropy [nats], at 201 levels from 0 to 1."""
    log_probs = double(predictive).log_probs
    mixture = double(predictive).mixture_log_probs()
    at = torch.linspace(0, 1, 201, dtype=torch.float64)
    return {
        "level": at.tolist(),
        "total": torch.quantile(entropy(mixture), at).tolist(),
        "epistemic": torch.quantile(mutual_information(log_probs, mixture), at).tolist(),
    }


def class_violins(predictive: CategoricalPredictive) -> Columns:
    """Distribution over components of each point's class probabilities: point, class, level, and the quantile there."""
    at = torch.linspace(0, 1, 21, dtype=torch.float64)
    quantiles = torch.quantile(double(predictive).log_probs.exp(), at, 0)  # [21, N, K]
    level, point, label = (
        index.reshape(-1) for index in torch.meshgrid(*map(torch.arange, quantiles.shape), indexing="ij")
    )
    return {
        "point": point.tolist(),
        "class": label.tolist(),
        "level": at[level].tolist(),
        "quantile": quantiles.reshape(-1).tolist(),
    }


def bands(predictive: GaussianPredictive) -> Columns:
    """Mean and standard deviations (aleatoric, epistemic, total) along a grid, in the unit of y."""
    mean, epistemic, aleatoric = double(predictive).moments()
    return {
        "mean": mean.tolist(),
        "aleatoric_std": aleatoric.sqrt().tolist(),
        "epistemic_std": epistemic.sqrt().tolist(),
        "total_std": (aleatoric + epistemic).sqrt().tolist(),
    }
