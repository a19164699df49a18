"""One method on one data set: mean over splits, its error, the median, and what qualifies them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from bnnbench.names import TEST, TRAIN, VALIDATION

Frame: TypeAlias = Any  # a pandas frame or column: pandas ships no types, and what checkers guess of it is wrong
# n_test / n_train by split rule
RATIOS = {"10fold": 1 / 9, "10fold-grouped": 1 / 9, "gal": 1 / 9, "gal-heteroscedastic": 1 / 9, "gap": 1 / 2}


@dataclass(frozen=True)
class Entry:
    """One method on one data set.

    Attributes:
        mean, se: mean over splits (seeds averaged first) and its standard error, which treats splits as independent;
            with a single split, the standard error over its test points and, in quadrature, over its seeds.
        n: number of splits with a score.
        best: the best mean of those that compete, or not separable from it (`winners`). Complete, converged entries
            compete that are no baseline, and on average not worse than one: a mean over the splits that a method
            survived is no mean over the data set, and one that loses to a constant is no success.
        complete: every cell of every split that any method has is there and scored.
        unconverged: scored, but the method's own diagnostics complain.
        other_target: aims at something else than the task's posterior; as a predictive it competes all the same.
        median: of the splits.
        skewed: mean and median are further apart than the quartiles of the splits: a few splits carry the mean.
        behind: splits on which the score is worse than the baseline's. judged: on how many both have one.
        beaten: the mean is worse than the baseline's on the same splits.
    """

    mean: float
    se: float
    n: int
    best: bool = False
    complete: bool = True
    unconverged: bool = False
    other_target: bool = False
    median: float = float("nan")
    skewed: bool = False
    behind: tuple[str, ...] = ()
    judged: int = 0
    beaten: bool = False

    @property
    def worse(self) -> int:
        """On how many splits the score is worse than the baseline's."""
        return len(self.behind)

    @property
    def competes(self) -> bool:
        """Whether it may be the best."""
        return self.complete and not self.unconverged and not self.beaten and bool(np.isfinite(self.mean))


def quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; NaN without values or with a NaN, and no quartiles with an infinity."""
    if not len(values) or np.isnan(values).any():
        return np.nan, np.nan, np.nan
    if np.isfinite(values).all():
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        return float(low), float(median), float(high)
    return np.nan, float(np.quantile(values, 0.5, method="lower")), np.nan


def known_mean(values: np.ndarray) -> float:
    """Mean of those that are no NaN; NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def mean_over_splits(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error over splits, of which there are several."""
    mean = float(values.mean())
    if not np.isfinite(values).all():
        return mean, float("nan")
    return mean, float(values.std(ddof=1) / np.sqrt(len(values)))


def within_split(values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Mean over seeds on one split; standard error over its test points, which seeds share, and over seeds.

    The two add in quadrature; where one is unknown, the error is the other.

    Args:
        values, errors: the score of each seed, and its standard error over test points.
    """
    seeds = values[~np.isnan(values)]
    if not len(seeds):
        return float("nan"), float("nan")
    mean, over_points = float(seeds.mean()), known_mean(errors)
    if len(seeds) == 1 or not np.isfinite(seeds).all():
        return mean, over_points
    over_seeds = float(seeds.std(ddof=1) / np.sqrt(len(seeds)))
    return mean, over_seeds if np.isnan(over_points) else float(np.hypot(over_points, over_seeds))


def size_ratio(frame: Frame, rule: str) -> float:
    """n_test / n_train of a split rule: known for the rules of the suite, else estimated from the evaluations' sizes.

    The rows outside the test set are those of training plus those of validation; `train` is scored on at most 2,000
    rows, in which case validation, a tenth of the training rows, gives the better estimate.
    """
    if rule in RATIOS:
        return RATIOS[rule]
    sizes = frame.groupby("evaluation")["n"].mean()
    test, train, validation = (float(sizes.get(name, np.nan)) for name in (TEST, TRAIN, VALIDATION))
    trained = np.nanmax([train, 9 * validation]) if train >= 2000 else train
    total = np.nansum([trained, validation])
    return test / total if total > 0 and test > 0 else 1 / 9
