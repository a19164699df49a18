"""What each kind of predictive can say, and hence which metrics apply to it.

One function for each ability, one entry for each kind. None: it cannot say this, and a metric that reads it is left out
rather than guessed. The abilities of a mixture of Gaussians and of a classification are those of the metrics'
definitions; of other kinds:

| | histograms | quantiles | draws |
|---|---|---|---|
| log-density | yes | no | no |
| mean | yes | where it stands beside them | yes |
| epistemic and aleatoric variance | yes | no | no |
| CRPS | yes | no | the fair estimate |
| quantiles, intervals | yes | at the levels given | at levels within the outermost draws |
| values of F at the target | yes | by the quantiles at the levels that a metric compares it with | the same |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

from torch import Tensor

from bnnbench.metrics import histograms, quantiles
from bnnbench.metrics.calibration import pit
from bnnbench.metrics.crps import crps as mixture_crps
from bnnbench.metrics.ensembles import fair_crps
from bnnbench.model.predictive import GaussianPredictive, MixturePredictive, Predictive
from bnnbench.model.predictive_forms import BinnedPredictive, QuantilePredictive, SamplePredictive

Moments = tuple[Tensor, Tensor, Tensor]


def _refuse(predictive: Any) -> Any:
    raise TypeError(
        "a regression metric needs a GaussianPredictive, got "
        f"{type(predictive).__name__}, which is neither that nor made of bins, quantiles or samples"
    )


@singledispatch
def mixture(predictive: Predictive) -> MixturePredictive | None:
    """The predictive itself, where it is a mixture of S likelihood terms."""
    del predictive
    return None


@mixture.register
def _(predictive: MixturePredictive) -> MixturePredictive:
    return predictive


@singledispatch
def log_prob(predictive: Predictive, y: Tensor) -> Tensor | None:
    """Log-density, or log-probability, of the targets y [N]; [N]."""
    del predictive, y
    return None


@log_prob.register
def _(predictive: MixturePredictive | BinnedPredictive, y: Tensor) -> Tensor:
    return predictive.log_prob(y)


@singledispatch
def moments(predictive: Predictive) -> Moments | None:
    """Predictive mean, epistemic and aleatoric variance; [N] each."""
    return _refuse(predictive)


@moments.register
def _(predictive: GaussianPredictive | BinnedPredictive) -> Moments:
    return predictive.moments()


@moments.register
def _(predictive: QuantilePredictive | SamplePredictive) -> None:
    del predictive


@singledispatch
def centre(predictive: Predictive) -> Tensor | None:
    """The predictive mean [N]."""
    return _refuse(predictive)


@centre.register
def _(predictive: GaussianPredictive) -> Tensor:
    return predictive.mean.mean(0)


@centre.register
def _(predictive: BinnedPredictive) -> Tensor:
    return predictive.moments()[0]


@centre.register
def _(predictive: QuantilePredictive) -> Tensor | None:
    return None if predictive.centre is None else predictive.centre[0]


@centre.register
def _(predictive: SamplePredictive) -> Tensor:
    return predictive.samples.mean(0)


@singledispatch
def crps(predictive: Predictive, y: Tensor) -> Tensor | None:
    """Continuous ranked probability score at targets y [N]; [N]."""
    del y
    return _refuse(predictive)


crps.register(GaussianPredictive, mixture_crps)
crps.register(BinnedPredictive, histograms.crps)
crps.register(SamplePredictive, fair_crps)


@crps.register
def _(predictive: QuantilePredictive, y: Tensor) -> None:
    del predictive, y


@singledispatch
def quantiles_at(predictive: Predictive, levels: Sequence[float]) -> Tensor | None:
    """Quantiles at L levels; [L, N]."""
    del levels
    return _refuse(predictive)


@quantiles_at.register
def _(predictive: GaussianPredictive, levels: Sequence[float]) -> Tensor:
    return quantiles.quantiles(predictive, tuple(levels))


quantiles_at.register(BinnedPredictive, histograms.quantiles)


@quantiles_at.register
def _(predictive: QuantilePredictive | SamplePredictive, levels: Sequence[float]) -> Tensor | None:
    return predictive.at(levels)


@singledispatch
def at_most(predictive: Predictive, y: Tensor, levels: Tensor) -> Tensor | None:
    """Whether F_n(y_n) is at most each of L levels; bool [N, L]."""
    del y, levels
    return _refuse(predictive)


@at_most.register
def _(predictive: GaussianPredictive, y: Tensor, levels: Tensor) -> Tensor:
    return pit(predictive, y)[:, None] <= levels


@at_most.register
def _(predictive: BinnedPredictive, y: Tensor, levels: Tensor) -> Tensor:
    return histograms.cdf(predictive, y)[:, None] <= levels


@at_most.register
def _(predictive: QuantilePredictive | SamplePredictive, y: Tensor, levels: Tensor) -> Tensor | None:
    ends = predictive.at(levels.tolist())
    return None if ends is None else (y <= ends).T


@singledispatch
def central(predictive: Predictive, y: Tensor, level: float) -> Tensor | None:
    """Whether the targets y [N] lie in the central interval of this probability, its ends included; bool [N]."""
    del y, level
    return _refuse(predictive)


@central.register
def _(predictive: GaussianPredictive, y: Tensor, level: float) -> Tensor:
    return _between(pit(predictive, y), level)


@central.register
def _(predictive: BinnedPredictive, y: Tensor, level: float) -> Tensor:
    return _between(histograms.cdf(predictive, y), level)


@central.register
def _(predictive: QuantilePredictive | SamplePredictive, y: Tensor, level: float) -> Tensor | None:
    ends = predictive.at(tails(level))
    return None if ends is None else (ends[0] <= y) & (y <= ends[1])


def tails(level: float) -> tuple[float, float]:
    """Levels of the ends of a central interval, 0.025 and 0.975 of 0.95."""
    low = round((1 - level) / 2, 9)
    return low, round(1 - low, 9)


def _between(reached: Tensor, level: float) -> Tensor:
    low, high = tails(level)
    return (reached >= low) & (reached <= high)
