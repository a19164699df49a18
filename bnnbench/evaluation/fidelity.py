"""Posterior fidelity: a predictive against that of the gold standard on the same rows.

Scored from stored mixture components, so that a gold standard run later, or a method run later, needs no training
again. The gold standard's own entry compares two halves of its chains: the distance that Monte Carlo error alone makes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from bnnbench.metrics import METRICS, score
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Predictive
from bnnbench.model.predictive import each
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
        if _stored(own, name) and _stored(gold, name)
    ]


def halves_compared(gold: Arrays) -> list[EvaluationRecord]:
    """The distances between the first and the second half of the chains, which stand one after the other."""
    found = []
    for evaluation, name in SETS.items():
        if _stored(gold, name):
            whole = _predictive(gold, name)
            half = len(whole[0]) // 2
            first, second = (each(lambda t, part=part: t[part], whole) for part in (slice(half), slice(half, None)))
            found.append(_record(evaluation, first, second))
    return found


def _stored(arrays: Arrays, name: str) -> bool:
    """Whether the components on a test set are among the arrays, and of a kind that can be compared."""
    return f"{name}/mean" in arrays or f"{name}/log_probs" in arrays


def _predictive(arrays: Arrays, name: str) -> Predictive:
    if f"{name}/log_probs" in arrays:
        return CategoricalPredictive(torch.as_tensor(arrays[f"{name}/log_probs"]))
    return GaussianPredictive(*(torch.as_tensor(arrays[f"{name}/{field}"]) for field in GaussianPredictive._fields))


def _record(evaluation: str, predictive: Predictive, gold: Predictive) -> EvaluationRecord:
    kind = "regression" if isinstance(predictive, GaussianPredictive) else "classification"
    scores = score(predictive, None, None, kind, reference=gold, only=COMPARED)
    return EvaluationRecord(evaluation, predictive[0].shape[1], tuple(scores))
