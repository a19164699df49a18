"""Which methods can the splits not separate from the best? A paired test that no explosion blinds.

A stepwise test on aligned ranks. Of the m methods that compete on K splits:

1. Align: from every score take the median of its split, and rank all m K differences together (Hodges & Lehmann 1962,
   doi:10.1214/aoms/1177704575). Two methods give the signed ranks of Wilcoxon, less a half. A rank is bounded: however
   far a split explodes, it is no worse than the last rank, so it can neither carry a mean nor swell a variance.
2. Compare: with R_i the mean rank of row i, v_i its residual variance (rows and splits taken out) and v the mean of all
   v_i, every row is set against the best row b by

       T_i = (R_i - R_b) / sqrt(((v_i + v_b) / 2 + v) / 2 K).

   The worst, w, is separated from b where T_w > c(m, K, ratio), the 95 % quantile of T_w for m methods that are equal,
   b and w being chosen from the same data. Half of the variance is that of the two rows, for methods are not equally
   noisy, and half is that of all, for ten splits tell little of the noise of one.
3. Step down: w leaves, and the others are aligned and ranked again, until no row can be separated from b. As in the
   model confidence set (Hansen, Lunde & Nason 2011, doi:10.3982/ECTA5771), a row that equals the best is lost only if
   the test is wrong at the first such row, so 5 % holds for a whole column, whatever number of methods it has.

Splits of one data set share training rows, so their scores are correlated. Nadeau & Bengio (2003,
doi:10.1023/A:1024068626366) set the correlation to n_test / (n_test + n_train), and c is found by simulation of
normal scores that have it: the 5 % hold for normal, unequal and lognormal noise. Of heavy-tailed noise (Student's t
with 3 degrees of freedom), for which the best by mean and the ranks disagree, 22 to 24 % of columns had a false
alarm. What the methods share lets ten splits answer for two dozen of them: no sign or rank test on the ten
differences of one pair does, for of two equal methods one loses all ten with probability 0.013.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

ALPHA = 0.05
TRIALS = 4000  # of the null distribution: the level is known to 0.35 %
UNEQUAL = 0.5  # standard deviation of the logarithm of the methods' noise, in the null distribution
EXACT, GROWTH = 48, 1.1  # rows up to which every number is simulated, and the factor between those beyond
TIE = 1e-6  # scores that differ by a smaller share are equal but for rounding


def inseparable(scores: np.ndarray, best: int, ratio: float) -> np.ndarray:
    """Which rows the test cannot tell from row `best`, itself included.

    Args:
        scores: [m, K], lower is better, finite; columns are splits, or blocks of test points.
        best: the row that the others are compared with.
        ratio: n_test / n_train of the splits; 0 where the columns are independent.

    Returns:
        Booleans [m].
    """
    rounded = _rounded(np.asarray(scores, dtype=float), best)
    alive = list(range(len(rounded)))
    while len(alive) > 1 and rounded.shape[1] > 1:
        distance = _distances(rounded[None, alive], np.array([alive.index(best)]))[0]
        worst = int(np.lexsort((rounded[alive].mean(1), distance))[-1])  # of equal distances the worse mean
        limit, largest = null_distribution(simulated(len(alive)), rounded.shape[1], ratio)
        if not min(distance[worst], largest) > limit:  # equal differences on all splits would make T infinite
            break
        alive.pop(worst)
    return np.isin(np.arange(len(rounded)), alive)


def simulated(m: int) -> int:
    """The number of rows whose null distribution serves m: of many rows the next in steps of a tenth, for it grows like
    the logarithm of m, so that the test is a little more careful and as many simulations as rows are not needed."""
    step = min(m, EXACT)
    while step < m:
        step = math.ceil(step * GROWTH)
    return step


@lru_cache(maxsize=512)
def null_distribution(m: int, k: int, ratio: float) -> tuple[float, float]:
    """Quantile 1 - ALPHA, and maximum, of the largest T of m equal methods on k splits, the best mean being row b.

    Equal in their means: their noise differs as that of methods does, by a log-normal factor.
    """
    rho, draw = ratio / (1 + ratio), np.random.default_rng([m, k])
    own, noise = draw.normal(size=(TRIALS, m, 1)), draw.normal(size=(TRIALS, m, k))
    scale = np.exp(UNEQUAL * draw.normal(size=(TRIALS, m, 1)))
    scores = scale * (np.sqrt(rho) * own + np.sqrt(1 - rho) * noise)
    largest = _distances(scores, scores.mean(2).argmin(1)).max(1)
    return float(np.quantile(largest, 1 - ALPHA, method="higher")), float(largest.max())


def _distances(scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """T of every row [n, m] against the row `best` [n] of scores [n, m, K]; 0 for rows that are no worse."""
    n, m, k = scores.shape
    aligned = scores - np.median(scores, axis=1, keepdims=True)
    ranks = ranked(aligned.reshape(n, m * k)).reshape(n, m, k)
    means = ranks.mean(2)
    residual = ranks - means[:, :, None] - ranks.mean(1, keepdims=True) + ranks.mean((1, 2))[:, None, None]
    variance = (residual**2).sum(2) / (k - 1) * m / (m - 1)
    pair = (variance + np.take_along_axis(variance, best[:, None], 1)) / 2
    error = np.sqrt((pair + variance.mean(1, keepdims=True)) / 2 / k)
    gap = means - np.take_along_axis(means, best[:, None], 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # no residual: the same ranks on every split
        return np.where(gap > 1e-9, gap / error, 0.0)


def ranked(values: np.ndarray) -> np.ndarray:
    """Ranks 1 ... L along the last axis of values [n, L]; equal values share the mean of their ranks."""
    order = values.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, 1)
    place, new = np.arange(values.shape[1]), ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones((len(values), 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.hstack([edge, new]), place, 0), axis=1)
    last = np.minimum.accumulate(np.where(np.hstack([new, edge]), place, place[-1])[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, 1)
    return ranks


def _rounded(scores: np.ndarray, best: int) -> np.ndarray:
    """Scores in whole units of a millionth of the best row's: rounding in equal predictions makes no winner."""
    unit = TIE * np.abs(scores[best])
    return np.where(unit > 0, np.round(scores / np.where(unit > 0, unit, 1.0)) * unit, scores)
