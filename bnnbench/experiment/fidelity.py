"""Posterior fidelity: each stored predictive against that of the HMC reference of the same task and split.

Scored from the stored predictive terms, so that a reference run later, or a method run later, needs no training anew.
The reference's own entry compares two halves of its chains: the distance that Monte Carlo error alone makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch

from bnnbench.errors import UserError
from bnnbench.metrics import METRICS, score
from bnnbench.model import GaussianPredictive
from bnnbench.records import SCORED, EvaluationRecord
from bnnbench.store.store import ResultStore

REFERENCE = "hmc"
SETS = {"fidelity": "test", "fidelity-grid": "grid"}  # evaluation -> whose predictive terms it compares


def add_fidelity(store: ResultStore, tasks: Iterable[str]) -> int:
    """Add what is missing of these evaluations to the cells of some tasks; returns how many cells got some."""
    return sum(bool(store.add_evaluations(cell, records)) for cell, records in new_fidelity(store, tasks))


def new_fidelity(store: ResultStore, tasks: Iterable[str]) -> Iterator[tuple[str, list[EvaluationRecord]]]:
    """Fingerprints of cells that lack these evaluations, with what their stored predictives give."""
    attempts = store.attempts(task=sorted(set(tasks)))
    attempts = attempts[attempts["status"].isin(SCORED)]
    for _, cells in attempts.groupby(["task", "split", "budget"]):
        references = cells.query("method == @REFERENCE and config == 'default'")
        if references.empty:
            continue
        done = store.evaluated(cells["fingerprint"])
        missing = [f for f in cells["fingerprint"] if "fidelity" not in done.get(f, ())]
        if missing:
            reference = references.sort_values("seed")["fingerprint"].iloc[0]
            yield from _compare(store, reference, missing)


def _compare(store: ResultStore, reference: str, cells: Iterable[str]) -> Iterator[tuple[str, list[EvaluationRecord]]]:
    kept = _terms(store, reference)
    if kept is None:
        return
    for cell in cells:
        own = _terms(store, cell)
        if own is None:
            continue
        records = []
        for name, which in SETS.items():
            if f"{which}/mean" in kept and f"{which}/mean" in own:
                pair = (_predictive(own, which), _predictive(kept, which))
                records.append(_record(name, *(_halves(pair[1]) if cell == reference else pair)))
        if records:
            yield cell, records


def _terms(store: ResultStore, fingerprint: str) -> Mapping[str, np.ndarray] | None:
    """The stored predictive terms, None where there are none: they are not in version control."""
    try:
        return store.artifact(fingerprint, "predictive")
    except UserError:
        return None


def _predictive(terms: Mapping[str, np.ndarray], which: str) -> GaussianPredictive:
    return GaussianPredictive(*(torch.as_tensor(terms[f"{which}/{name}"]) for name in GaussianPredictive._fields))


def _halves(predictive: GaussianPredictive) -> tuple[GaussianPredictive, GaussianPredictive]:
    """The first and the second half of the terms: of the chains, since these stand one after the other."""
    half = predictive.mean.shape[0] // 2
    return GaussianPredictive(*(t[:half] for t in predictive)), GaussianPredictive(*(t[half:] for t in predictive))


def _record(name: str, predictive: GaussianPredictive, reference: GaussianPredictive) -> EvaluationRecord:
    compared = [metric.name for metric in METRICS if "reference" in metric.needs]
    scores = score(predictive, None, None, "regression", reference=reference, only=compared)
    return EvaluationRecord(name, predictive.mean.shape[1], tuple(scores))
