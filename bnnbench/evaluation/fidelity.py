"""Posterior fidelity: a predictive against that of the gold standard on the same rows.

Scored from stored mixture components, so that a gold standard run later, or a method run later, needs no training
again. The gold standard's own entry compares two halves of its chains: the distance that Monte Carlo error alone makes.
"""

from __future__ import annotations

from bnnbench.evaluation.kept import Arrays, from_arrays
from bnnbench.metrics import METRICS, score
from bnnbench.model import CategoricalPredictive, GaussianPredictive
from bnnbench.model.predictive import each
from bnnbench.names import FIDELITY, FIDELITY_GRID, GRID, TEST
from bnnbench.records import EvaluationRecord

SETS = {FIDELITY: TEST, FIDELITY_GRID: GRID}  # evaluation -> the test set whose predictives it compares
COMPARED = [metric.name for metric in METRICS if "reference" in metric.needs]
KINDS = {kind for name in COMPARED for kind in METRICS.get(name).kinds}  # of tasks that can be compared

Comparable = GaussianPredictive | CategoricalPredictive  # a posterior's samples say more than bins, quantiles or draws


def compared(own: Arrays, gold: Arrays) -> list[EvaluationRecord]:
    """The distances of a predictive from the gold standard's."""
    pairs = {evaluation: (_predictive(own, name), _predictive(gold, name)) for evaluation, name in SETS.items()}
    return [_record(evaluation, mine, theirs) for evaluation, (mine, theirs) in pairs.items() if mine and theirs]


def halves_compared(gold: Arrays) -> list[EvaluationRecord]:
    """The distances between the first and the second half of the chains, which stand one after the other."""
    found = []
    for evaluation, name in SETS.items():
        if whole := _predictive(gold, name):
            half = len(whole[0]) // 2
            first, second = (each(lambda t, part=part: t[part], whole) for part in (slice(half), slice(half, None)))
            found.append(_record(evaluation, first, second))
    return found


def _predictive(arrays: Arrays, name: str) -> Comparable | None:
    """The predictive kept of a test set, where it is of a kind that can be compared."""
    found = from_arrays(name, arrays)
    return found if isinstance(found, Comparable) else None


def _record(evaluation: str, predictive: Comparable, gold: Comparable) -> EvaluationRecord:
    kind = "regression" if isinstance(predictive, GaussianPredictive) else "classification"
    scores = score(predictive, None, None, kind, reference=gold, only=COMPARED)
    return EvaluationRecord(evaluation, predictive[0].shape[1], tuple(scores))
