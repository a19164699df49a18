"""What samplers report of themselves, as scores of the evaluation `sampler`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch.utils._pytree import tree_leaves

from bnnbench.run.train import Trained
from bnnbench.store.records import EvaluationRecord, MetricRecord, Score

DIAGNOSTICS = (
    MetricRecord("draws_kept", 0, "", "posterior draws kept, over all chains"),
    MetricRecord("step_size", 0, "", "mean step size while draws were kept, in the method's own convention"),
    MetricRecord("acceptance", 0, "", "mean Metropolis acceptance probability while draws were kept"),
    MetricRecord("divergent", -1, "", "share of trajectories whose energy was lost while draws were kept"),
    MetricRecord("temperature_kinetic", 0, "", "mean square of the momenta; the temperature in equilibrium"),
    MetricRecord("temperature_configurational", 0, "", "mean of w times the energy's gradient; T in equilibrium"),
    MetricRecord("noise_deficit", -1, "", "share of weights whose injected noise would have to be negative"),
)


def sampler_record(trained: Trained, replica: int) -> EvaluationRecord | None:
    """Means over the updates in which draws were kept; None for methods that keep none."""
    kept = draws_kept(trained)
    if not kept:
        return None
    first = min(trained.pack.method.schedule(trained.steps))
    during = trained.curves["step"] > first
    values = {"draws_kept": float(kept)}
    for record in DIAGNOSTICS:
        if record.name in trained.curves:
            values[record.name] = float(np.mean(trained.curves[record.name][replica][during]))
    return EvaluationRecord("sampler", kept, tuple(Score(name, value, None) for name, value in values.items()))


def draws_kept(trained: Trained) -> int:
    """Weight samples among the collected draws of one cell."""
    if trained.draws is None or not trained.pack.method.chains:
        return 0
    return tree_leaves(trained.draws)[0].shape[1] * trained.pack.method.chains


def as_mapping(records: tuple[EvaluationRecord, ...], *evaluations: str) -> Mapping[str, float]:
    """Scores of these evaluations by metric."""
    return {score.metric: score.value for record in records if record.name in evaluations for score in record.scores}
