"""Two methods on one data set and over several: paired differences, and the probability that they matter.

On one data set: the mean difference d over K splits with the corrected error of Nadeau & Bengio (2003,
doi:10.1023/A:1024068626366), s = sqrt((1/K + n_test/n_train) var(d)), its 95 % interval d ± t_{K-1} s, and the
posterior of the correlated t-test (Corani & Benavoli 2015, doi:10.1007/s10994-015-5486-z): a t distribution with K - 1
degrees of freedom, location d and scale s. Over data sets: the Bayesian signed-rank test (Benavoli et al. 2014, PMLR
32).

A difference is practically none within the region of practical equivalence: 0.01 nats of log densities, 1 % of the mean
of both for all other metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats takes two seconds to import

from bnnbench.reporting.page.samples import Samples
from bnnbench.reporting.page.scopes import Column

NATS, SHARE = 0.01, 0.01  # halves of the region of practical equivalence
PRIOR = 0.5  # weight of the prior's observation at no difference
DRAWS = 4000
AT_ONCE = 64  # pairs whose draws are in memory together


@dataclass(frozen=True)
class Differences:
    """First minus second of all pairs of rows [p], positive where the first is better; NaN without scores of both.

    Attributes:
        mean: in the metric's own units. half: half of its 95 % interval.
        better, same: posterior probabilities that the first is better, and that the difference is practically none.
        region: half of the region of practical equivalence.
    """

    mean: np.ndarray
    half: np.ndarray
    better: np.ndarray
    same: np.ndarray
    region: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """The mean in units in which the region of practical equivalence is ± 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.mean == 0, 0.0, self.mean / self.region)


def pairs(m: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the first and of the second row of all pairs, [m (m - 1) / 2] each."""
    return np.triu_indices(m, 1)


def differences(rows: Sequence[str], column: Column, unit: str, repeated: Samples) -> Differences:
    """Of all pairs of rows on one data set.

    Args:
        unit: of the metric, which sets the region of practical equivalence.
        repeated: what is repeated; where nothing is, standard errors over test points are taken for independent.
    """
    first, second = pairs(len(rows))
    entries = [column.table.entries.get((row, column.task)) for row in rows]
    means = np.array([e.mean if e is not None and e.complete else np.nan for e in entries])
    means = np.where(np.isfinite(means), means, np.nan)
    errors = np.array([e.se if e is not None else np.nan for e in entries])
    mean = column.table.better * (means[first] - means[second])
    scale, freedom = np.hypot(errors[first], errors[second]), np.full(len(mean), np.inf)
    if repeated.count > 1:
        k, missing = repeated.count, np.full(repeated.count, np.nan)
        scores = np.stack([repeated.scores.get(row, missing) for row in rows])
        spread = (scores[first] - scores[second]).std(axis=1, ddof=1)
        known = np.isfinite(spread)
        scale = np.where(known, np.sqrt(1 / k + repeated.ratio) * spread, scale)
        freedom = np.where(known, k - 1, freedom)
    region = equivalence(unit, means[first], means[second])
    below, above = _below(-region, mean, scale, freedom), _below(region, mean, scale, freedom)
    return Differences(mean, quantile(freedom) * scale, 1 - above, above - below, region)


def equivalence(unit: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Half of the region of practical equivalence, in the metric's own units."""
    if unit.startswith("nats"):
        return np.full(first.shape, NATS)
    return SHARE * (np.abs(first) + np.abs(second)) / 2


def quantile(freedom: np.ndarray) -> np.ndarray:
    """Of 97.5 % of the t distribution; of the normal one where there are infinitely many degrees of freedom."""
    return np.where(np.isinf(freedom), special.ndtri(0.975), special.stdtrit(np.minimum(freedom, 1e9), 0.975))


def _below(limit: np.ndarray, mean: np.ndarray, scale: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Probability that the difference is less than the limit; without any spread it is where it is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (limit - mean) / scale
    z = np.where(np.isnan(z) & (scale == 0), 0.0, z)
    cdf = np.where(np.isinf(freedom), special.ndtr(z), special.stdtr(np.minimum(freedom, 1e9), z))
    return np.where(np.isposinf(z), 1.0, np.where(np.isneginf(z), 0.0, cdf))


def signed_rank(relative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [p] that the first is better over data sets like these, and that it is practically the same.

    Args:
        relative: differences [k, p] in units of half a region of practical equivalence; NaN where one was not run,
            which leaves a pair without an answer.
    """
    k, p = relative.shape
    z = np.concatenate([np.zeros((1, p)), relative])
    weights = np.random.default_rng([k]).dirichlet([PRIOR, *np.ones(k)], DRAWS)
    one, other = np.triu_indices(k + 1)  # of the sums z_i + z_j, which all but i = j occur twice
    products = weights[:, one] * weights[:, other] * np.where(one == other, 1, 2)
    better, same = np.full(p, np.nan), np.full(p, np.nan)
    known = np.flatnonzero(np.isfinite(relative).all(0))
    for places in np.split(known, range(AT_ONCE, len(known), AT_ONCE)):
        sums = z[one][:, places] + z[other][:, places]
        above = products @ np.heaviside(sums - 2, 0.5)
        below = products @ np.heaviside(-2 - sums, 0.5)
        between = 1 - below - above
        better[places] = (above > np.maximum(below, between)).mean(0)
        same[places] = ((between > below) & (between >= above)).mean(0)
    return better, same
