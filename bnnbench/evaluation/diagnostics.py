"""What samplers report of themselves, as scores of the evaluation `sampler`, and draws that have exploded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import special  # scipy.stats takes a second to import
from torch import Tensor
from torch.utils._pytree import tree_leaves

from bnnbench import names
from bnnbench.engine.fit import Trained
from bnnbench.engine.train import History
from bnnbench.metrics.base import double
from bnnbench.model import CategoricalPredictive, GaussianPredictive, Predictive
from bnnbench.model.predictive import each
from bnnbench.records import EvaluationRecord, MetricRecord, Score

DIAGNOSTICS = (
    MetricRecord("draws_kept", 0, "", "posterior draws kept, over all chains"),
    MetricRecord("step_size", 0, "", "mean step size while draws were kept, in the method's own convention"),
    MetricRecord("acceptance", 0, "", "mean Metropolis acceptance probability while draws were kept"),
    MetricRecord("divergent", -1, "", "share of trajectories whose energy was lost while draws were kept"),
    MetricRecord("temperature_kinetic", 0, "", "mean square of the momenta; the temperature in equilibrium"),
    MetricRecord("temperature_configurational", 0, "", "mean of w times the energy's gradient; T in equilibrium"),
    MetricRecord("temperature_low", 0, "", "lower end of the 99 % interval of the configurational temperature"),
    MetricRecord("temperature_high", 0, "", "upper end of the 99 % interval of the configurational temperature"),
    MetricRecord("draws_exploded", -1, "", "share of mixture components worse than a guess on most validation rows"),
    MetricRecord("drift_shortened", -1, "", "share of steps whose drift was shortened while draws were kept"),
    MetricRecord("noise_deficit", -1, "", "share of weights whose injected noise would have to be negative"),
)
BATCHES = 8
MARGIN = 1.0  # nats by which an exploded draw loses on the median row


def sampler_record(
    fitted: Trained, history: History, replica: int, exploded: float | None = None
) -> EvaluationRecord | None:
    """Means over the updates in which draws were kept; None for methods that keep none.

    Args:
        exploded: `share_exploded` of the validation rows, where they were predicted.
    """
    kept = draws_kept(fitted)
    if not kept:
        return None
    during = checks_with_draws(history.curves["step"], fitted.pack.method.schedule(history.steps))
    series = {name: values[replica][during] for name, values in history.curves.items() if name != "step"}
    values = {record.name: float(np.mean(series[record.name])) for record in DIAGNOSTICS if record.name in series}
    values = {"draws_kept": float(kept)} | values
    if "temperature_configurational" in series:
        low, high = interval(series["temperature_configurational"])
        values |= {} if math.isnan(low) else {"temperature_low": low, "temperature_high": high}
    if exploded is not None:
        values["draws_exploded"] = exploded
    return EvaluationRecord(names.SAMPLER, kept, tuple(Score(name, value, None) for name, value in values.items()))


def checks_with_draws(steps: np.ndarray, schedule: Sequence[int]) -> np.ndarray:
    """Which validation checks, after `steps` updates [C] each, tell of updates in which a draw was kept; a mask [C]."""
    found = np.zeros(len(steps), dtype=bool)
    found[np.searchsorted(steps, np.asarray(schedule) + 1)] = True
    return found


def interval(values: np.ndarray) -> tuple[float, float]:
    """99 % interval of the mean of an autocorrelated series [C] by batch means (Flegal & Jones 2010, arXiv 0811.1729).

    mean +- t sd / sqrt(B) of the means of B = 8 batches one after the other (of C, where there are fewer), which are
    nearly independent if the series is much longer than its memory; t the quantile of Student's distribution with B - 1
    degrees of freedom. NaN of fewer than four values or of what is not finite.
    """
    if len(values) < 4 or not np.isfinite(values).all():
        return math.nan, math.nan
    means = np.array([batch.mean() for batch in np.array_split(values.astype(np.float64), min(BATCHES, len(values)))])
    half = float(special.stdtrit(len(means) - 1, 0.995) * means.std(ddof=1) / math.sqrt(len(means)))
    return float(means.mean()) - half, float(means.mean()) + half


def draws_kept(fitted: Trained) -> int:
    """Weight samples among the collected draws of one cell."""
    if fitted.draws is None:
        return 0
    return tree_leaves(fitted.draws)[0].shape[1] * max(fitted.pack.method.num_chains, 1)


def as_mapping(records: tuple[EvaluationRecord, ...], *evaluations: str) -> Mapping[str, float]:
    """Scores of these evaluations by metric."""
    return {score.metric: score.value for record in records if record.name in evaluations for score in record.scores}


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
