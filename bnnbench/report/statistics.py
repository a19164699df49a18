"""Which methods are the best on a data set, and which of the others cannot be told apart from it.

Splits of one data set share training rows, so their scores are correlated and the ordinary t-test calls far too
many differences real. Nadeau & Bengio (2003, Machine Learning 52, "Inference for the generalization error") correct
the variance of a mean over k resamplings from 1/k to 1/k + n_test/n_train.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from scipy import special  # scipy.stats takes two seconds to import

Frame: TypeAlias = Any  # a pandas frame or column: pandas ships no types, and what checkers guess of it is wrong
ALPHA = 0.05  # two-sided
RATIOS = {"10fold": 1 / 9, "10fold-grouped": 1 / 9, "gal": 1 / 9, "gap": 1 / 2}  # n_test / n_train by split rule
LOWER_IS_BETTER = frozenset(["rmse", "crps", "calibration_error", "error", "brier", "ece", "nll", "kl_to_truth"])


def corrected_resampled_t_test(differences: np.ndarray, ratio: float) -> tuple[float, float]:
    """t and two-sided p of the mean of paired differences over resamplings with n_test/n_train = `ratio`.

    With ratio 0 (independent data sets) it is the ordinary paired t-test. NaN for fewer than two differences.
    """
    d = np.asarray(differences, dtype=float)
    k = len(d)
    if k < 2 or not np.isfinite(d).all():
        return float("nan"), float("nan")
    mean, scale = d.mean(), np.sqrt((1 / k + ratio) * d.var(ddof=1))
    if scale <= 1e-14 * max(1.0, np.abs(d).max()):  # constant differences: equal, or different beyond doubt
        return (0.0, 1.0) if mean == 0 else (float(np.copysign(np.inf, mean)), 0.0)
    t = mean / scale
    return float(t), float(2 * special.stdtr(k - 1, -abs(t)))


def size_ratio(frame: Frame, rule: str) -> float:
    """n_test / n_train of a split rule: known for the rules of the suite, else estimated from the evaluations' sizes.

    Training rows are those fitted plus those of validation; `train` is scored on at most 2,000 rows, in which case
    validation, a tenth of the training rows, gives the better estimate.
    """
    if rule in RATIOS:
        return RATIOS[rule]
    sizes = frame.groupby("evaluation")["n"].mean()
    test, train, validation = (float(sizes.get(name, np.nan)) for name in ("test", "train", "validation"))
    fitted = np.nanmax([train, 9 * validation]) if train >= 2000 else train
    total = np.nansum([fitted, validation])
    return test / total if total > 0 and test > 0 else 1 / 9


@dataclass(frozen=True)
class Entry:
    """One method on one data set.

    Attributes:
        mean, se: mean over splits (seeds averaged first) and its standard error, which treats splits as independent;
            with a single split, the standard error over its test points and, in quadrature, over its seeds.
        n: number of splits with a score.
        best: the best mean, or not separable from it. Only complete entries compete: a mean over the splits that
            a method survived is no mean over the data set.
        complete: every cell of every split that any method has is there and scored.
        unconverged: scored, but the method's own diagnostics complain.
        other_target: aims at something else than the task's posterior; as a predictive it competes all the same.
    """

    mean: float
    se: float
    n: int
    best: bool = False
    complete: bool = True
    unconverged: bool = False
    other_target: bool = False


@dataclass(frozen=True)
class Comparison:
    """Rows (methods) x tasks on one metric of one evaluation; `entries` has no key where nothing was run."""

    metric: str
    evaluation: str
    better: int
    rows: tuple[str, ...]
    tasks: tuple[str, ...]
    entries: dict[tuple[str, str], Entry]
    splits: dict[str, int]
    seeds: dict[str, int]
    ratio: dict[str, float]


def row_names(frame: Frame) -> Frame:
    """A method's name, with the configuration's label where that is not the default."""
    return frame["method"].where(frame["config"] == "default", frame["method"] + " [" + frame["config"] + "]")


def comparison(
    scores: Frame,
    metric: str,
    evaluation: str = "test",
    better: int | None = None,
    rows: list[str] | None = None,
    tasks: list[str] | None = None,
) -> Comparison:
    """Compare methods on every task of `scores` that has the metric.

    Args:
        scores: rows as of `ResultStore.scores()`, failed cells included, of one split rule, budget and version a task;
            a column `other_target`, if there is one, is passed on.
        better: +1 for higher, -1 for lower, 0 for neither; default by the metric's name.
        rows, tasks: order; default is that of appearance.
    """
    if better is None:
        better = -1 if metric in LOWER_IS_BETTER else 1
    frame = scores.assign(row=row_names(scores), rule=scores["split"].str.rsplit("-", n=1).str[0])
    _check_comparable(frame)
    wanted = frame[(frame["metric"] == metric) & (frame["evaluation"] == evaluation)]
    present = set(wanted["task"])
    order = [t for t in (tasks if tasks is not None else frame["task"].unique()) if t in present]
    names = list(rows if rows is not None else frame["row"].unique())
    entries, splits, seeds, ratio = {}, {}, {}, {}
    for task in order:
        part = frame[frame["task"] == task]
        chosen = wanted[wanted["task"] == task]
        ratio[task] = size_ratio(part, str(part["rule"].iloc[0]))
        splits[task], seeds[task] = part["split"].nunique(), part["seed"].nunique()
        column = _column(part, chosen, better, ratio[task])
        entries.update({(row, task): entry for row, entry in column.items()})
    shown = tuple(name for name in names if any((name, task) in entries for task in order))
    return Comparison(metric, evaluation, better, shown, tuple(order), entries, splits, seeds, ratio)


def _check_comparable(frame: Frame) -> None:
    """Refuse to average over split rules, budgets or versions."""
    for name, part in frame.groupby("task"):
        for column in {"rule", "budget", "task_version"} & set(frame):
            if part[column].nunique() > 1:
                raise ValueError(f"{name}: scores of different {column}s are not comparable: {set(part[column])}")
    if "method_version" in frame and (frame.groupby("method")["method_version"].nunique() > 1).any():
        raise ValueError("scores of different versions of one method are not comparable")


def _column(part: Frame, chosen: Frame, better: int, ratio: float) -> dict[str, Entry]:
    """Entries of one task: `part` are all its rows, `chosen` those of the metric."""
    every_split = sorted(part["split"].unique())
    column, values = {}, {}
    for row, cells in part.groupby("row", sort=False):
        own = chosen[chosen["row"] == row]
        per_split = own.groupby("split")["value"].mean()
        expected = cells.groupby(["split", "seed"]).ngroups
        complete = len(per_split) == len(every_split) and own.groupby(["split", "seed"]).ngroups == expected
        values[row] = per_split.reindex(every_split).to_numpy(dtype=float)
        mean, se = _mean(own, per_split)
        unconverged = bool((cells["status"] == "unconverged").any())
        other = "other_target" in cells and bool(cells["other_target"].any())
        column[row] = Entry(mean, se, len(per_split), False, complete, unconverged, other)
    best = _best(column, better)
    if best is None:
        return column
    for row, entry in column.items():
        if entry.complete and np.isfinite(entry.mean):
            _, p = corrected_resampled_t_test(values[row] - values[best], ratio)
            tied = row == best or p > ALPHA or entry.mean == column[best].mean
            column[row] = replace(entry, best=tied)
    return column


def _mean(own: Frame, per_split: Frame) -> tuple[float, float]:
    """Mean and standard error over splits, or `within_split` where there is but one."""
    if per_split.empty:
        return float("nan"), float("nan")
    if len(per_split) == 1:
        return within_split(own)
    values = per_split.to_numpy(dtype=float)
    mean = float(values.mean())
    if not np.isfinite(values).all():
        return mean, float("nan")
    return mean, float(values.std(ddof=1) / np.sqrt(len(values)))


def within_split(scores: Frame) -> tuple[float, float]:
    """Mean over seeds on one split; standard error over its test points, which seeds share, and over seeds.

    The two add in quadrature; where one is unknown, the error is the other.
    """
    seeds = scores["value"].dropna().to_numpy(dtype=float)
    if not len(seeds):
        return float("nan"), float("nan")
    mean, over_points = float(seeds.mean()), float(scores["stderr"].astype(float).mean())
    if len(seeds) == 1 or not np.isfinite(seeds).all():
        return mean, over_points
    over_seeds = float(seeds.std(ddof=1) / np.sqrt(len(seeds)))
    return mean, over_seeds if np.isnan(over_points) else float(np.hypot(over_points, over_seeds))


def _best(column: dict[str, Entry], better: int) -> str | None:
    """Row with the best finite mean among the complete ones."""
    able = {row: e.mean for row, e in column.items() if e.complete and np.isfinite(e.mean)}
    if not able or better == 0:
        return None
    return max(able, key=lambda row: better * able[row])
