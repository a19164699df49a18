"""Whether Markov chains are good enough for a gold standard: the certificate of a cell of several chains.

Looked at are the quantities that a prediction is made of, at every test row: the components' means and log scales, or
class probabilities; and the log joint density of weights and data. Chains come in two halves of different starts, so
every R-hat is the largest of three: of all chains, and of each half alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.func import vmap

from bnnbench import names
from bnnbench.engine.fit import Trained
from bnnbench.engine.step import over_replicas
from bnnbench.methods.diagnose import lacking
from bnnbench.metrics.convergence import bulk_size, rank_rhat, series_of
from bnnbench.model import Predictive, Problem
from bnnbench.model.posteriors import Draws
from bnnbench.records import EvaluationRecord, MetricRecord, Score

CERTIFICATE = (
    MetricRecord("rhat_95", -1, "", "rank-normalised split R-hat of predicted quantities: below it are 95 % of them"),
    MetricRecord("rhat_all", -1, "", "rank-normalised split R-hat of predicted quantities, the largest"),
    MetricRecord("rhat_log_joint", -1, "", "rank-normalised split R-hat of the log joint density"),
    MetricRecord("ess_median", 1, "draws", "bulk effective sample size of predicted quantities, the median"),
    MetricRecord("trajectories_divergent", -1, "", "share of trajectories whose energy was lost while draws were kept"),
    MetricRecord("certified", 1, "", "1 if all of these keep the limits of a gold standard, else 0"),
)
AT_ONCE = 20  # draws whose density is computed together


def certificate(predictive: Predictive, log_joint: Tensor, chains: int, divergent: float) -> EvaluationRecord:
    """The numbers of a certificate.

    Args:
        predictive: components at the test rows, chain after chain [chains * draws, N ...].
        log_joint: of the same draws [chains * draws]. divergent: share of trajectories.
    """
    predicted = series_of(predictive, chains).flatten(2)
    joint = log_joint.double().unflatten(0, (chains, -1))[..., None]
    rhat = _agreement(predicted)
    values = {
        "rhat_95": rhat.quantile(0.95).item(),
        "rhat_all": rhat.max().item(),
        "rhat_log_joint": _agreement(joint).item(),
        "ess_median": bulk_size(predicted).median().item(),
        "trajectories_divergent": divergent,
    }
    values["certified"] = float(not lacking(values))
    return EvaluationRecord(names.CERTIFICATE, predicted.shape[2], tuple(Score(*item, None) for item in values.items()))


def _agreement(series: Tensor) -> Tensor:
    """The largest R-hat of all chains and of either half of them; series [chains, draws, Q] -> [Q]."""
    first, second = series.tensor_split(2)
    return torch.stack([rank_rhat(part) for part in (series, first, second)]).amax(0)


def log_joints(fitted: Trained) -> Tensor:
    """log p(data, w) of every draw of all replicas, on the standardised target [R, S]; NaN where a posterior keeps no
    draws."""
    posterior = fitted.posterior
    if not isinstance(posterior, Draws):
        return torch.full((len(fitted.pack.cells), 1), math.nan)

    def one(method: object, problem: Problem, params: dict[str, Tensor]) -> Tensor:
        def joint(w: dict[str, Tensor]) -> Tensor:
            fit = problem.over_data(lambda batch: (batch.weight * problem.log_likelihood(w, batch)).sum())
            return fit + problem.log_prior(w)

        return vmap(joint)(params)

    count = next(iter(posterior.params.values())).shape[1]
    parts = [
        over_replicas(fitted.pack, one, {k: v[:, i : i + AT_ONCE] for k, v in posterior.params.items()})
        for i in range(0, count, AT_ONCE)
    ]
    return torch.cat(parts, 1).cpu()
