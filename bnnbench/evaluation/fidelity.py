"""Posterior fidelity: a predictive against that of the gold standard on the same rows.

Scored from stored mixture components, so that a gold standard run later, or a method run later, needs no training
again. The gold standard's own entry compares two halves of its chains: the distance that Monte Carlo error alone makes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from bnnbench.metrics import METRICS, score
from bnnbench.model import GaussianPredictive
from bnnbench.names import FIDELITY, FIDELITY_GRID, GRID, TEST
from bnnbench.records import EvaluationRecord

SETS = {FIDELITY: TEST, FIDELITY_GRID: GRID}  # evaluation -> the test set whose predictives it compares
COMPARED = [metric.name for metric in METRICS if "reference" in metric.needs]
KINDS = {kind for name in COMPARED for kind in METRICS.get(name).kinds}  # of tasks that can be compared

Arrays = Mapping[str, np.ndarray]  # mixture components as they are stored, `test/mean` ...


def compared(own: Arrays, gold: Arrays) -> list[EvaluationRecord]:
    """The distances of a predictive from the gold standard's."""
    return [
        _record(evaluation, _predictive(own, name), _predictive(gold, name))
        for evaluation, name in SETS.items()
        if f"{name}/mean" in own and f"{name}/mean" in gold
    ]


def halves_compared(gold: Arrays) -> list[EvaluationRecord]:
    """The distances between the first and the second half of the chains, which stand one after the other."""
    found = []
    for evaluation, name in SETS.items():
        if f"{name}/mean" in gold:
            whole = _predictive(gold, name)
            half = whole.mean.shape[0] // 2
            first, second = (GaussianPredictive(*(t[part] for t in whole)) for part in (slice(half), slice(half, None)))
            found.append(_record(evaluation, first, second))
    return found


def _predictive(arrays: Arrays, name: str) -> GaussianPredictive:
    return GaussianPredictive(*(torch.as_tensor(arrays[f"{name}/{field}"]) for field in GaussianPredictive._fields))


def _record(evaluation: str, predictive: GaussianPredictive, gold: GaussianPredictive) -> EvaluationRecord:
    scores = score(predictive, None, None, "regression", reference=gold, only=COMPARED)
    return EvaluationRecord(evaluation, predictive.mean.shape[1], tuple(scores))
