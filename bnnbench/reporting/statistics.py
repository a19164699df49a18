"""Methods beside each other on data sets: means, what their splits hide, and who competes for the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from bnnbench.reporting.competition import SEEDS, Competitor, winners

Frame: TypeAlias = Any  # a pandas frame or column: pandas ships no types, and what checkers guess of it is wrong
Blocks: TypeAlias = Mapping[tuple[str, str], Mapping[str, np.ndarray]]  # (row, task) -> metric -> means over blocks
RATIOS = {"10fold": 1 / 9, "10fold-grouped": 1 / 9, "gal": 1 / 9, "gap": 1 / 2}  # n_test / n_train by split rule
LOWER_IS_BETTER = frozenset(["rmse", "crps", "calibration_error", "error", "brier", "ece", "nll", "kl_to_truth"])
CALIBRATION = frozenset(["calibration_error", "ece"])  # a constant is calibrated: to be worse there says little


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
        best: the best mean of those that compete, or not separable from it (`winners`). Complete, converged entries
            compete that are no baseline, and on average not worse than one: a mean over the splits that a method
            survived is no mean over the data set, and one that loses to a constant is no success.
        complete: every cell of every split that any method has is there and scored.
        unconverged: scored, but the method's own diagnostics complain.
        other_target: aims at something else than the task's posterior; as a predictive it competes all the same.
        median: of the splits.
        skewed: mean and median are further apart than the quartiles of the splits: a few splits carry the mean.
        worse, judged: on how many splits the score is worse than the baseline's, and on how many both have one.
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
    worse: int = 0
    judged: int = 0
    beaten: bool = False

    @property
    def competes(self) -> bool:
        """Whether it may be the best."""
        return self.complete and not self.unconverged and not self.beaten and bool(np.isfinite(self.mean))


@dataclass(frozen=True)
class Comparison:
    """Rows (methods) x tasks on one metric of one evaluation; `entries` has no key where nothing was run.

    `baselines` are the rows that the others are to beat; `paired` and `unpaired` are, by task of one split, the rows
    that were compared with the best over blocks of test points, and those by standard errors alone.
    """

    metric: str
    evaluation: str
    better: int
    rows: tuple[str, ...]
    tasks: tuple[str, ...]
    entries: dict[tuple[str, str], Entry]
    splits: dict[str, int]
    seeds: dict[str, int]
    ratio: dict[str, float]
    baselines: tuple[str, ...] = ()
    paired: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unpaired: dict[str, tuple[str, ...]] = field(default_factory=dict)


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
    blocks: Blocks | None = None,
) -> Comparison:
    """Compare methods on every task of `scores` that has the metric.

    Args:
        scores: rows as of `ResultStore.scores()`, failed cells included, of one split rule, budget and version a task;
            the columns `baseline` and `other_target`, if they are there, tell which methods are there to be beaten and
            which cells aim at something else than the task's posterior.
        better: +1 for higher, -1 for lower, 0 for neither; default by the metric's name.
        rows, tasks: order; default is that of appearance.
        blocks: means over the same blocks of test points, for tasks of one split.
    """
    if better is None:
        better = -1 if metric in LOWER_IS_BETTER else 1
    frame = scores.assign(row=row_names(scores), rule=scores["split"].str.rsplit("-", n=1).str[0])
    frame = frame.assign(**{name: False for name in ("baseline", "other_target") if name not in frame})
    _check_comparable(frame)
    wanted = frame[(frame["metric"] == metric) & (frame["evaluation"] == evaluation)]
    present = set(wanted["task"])
    order = [t for t in (tasks if tasks is not None else frame["task"].unique()) if t in present]
    names = list(rows if rows is not None else frame["row"].unique())
    entries, splits, seeds, ratio, paired, unpaired = {}, {}, {}, {}, {}, {}
    for task in order:
        part = frame[frame["task"] == task]
        ratio[task] = size_ratio(part, str(part["rule"].iloc[0]))
        splits[task], seeds[task] = part["split"].nunique(), part["seed"].nunique()
        columns = _columns(part, wanted[wanted["task"] == task])
        column = {row: _entry(own) for row, own in columns.items()}
        if better:
            if metric not in CALIBRATION:
                column = _beside_baseline(column, columns, better)
            known = {row: (blocks or {}).get((row, task), {}).get(metric) for row in column}
            able = {row: columns[row].competitor(entry, better, known[row]) for row, entry in column.items()
                    if entry.competes and not columns[row].baseline}  # fmt: skip
            found = winners(able, ratio[task])
            column = {row: replace(entry, best=row in found.tied) for row, entry in column.items()}
            paired[task], unpaired[task] = found.paired, found.unpaired
        entries.update({(row, task): entry for row, entry in column.items()})
    shown = tuple(name for name in names if any((name, task) in entries for task in order))
    baselines = tuple(name for name in shown if frame.loc[frame["row"] == name, "baseline"].any())
    return Comparison(
        metric, evaluation, better, shown, tuple(order), entries, splits, seeds, ratio, baselines, paired, unpaired
    )


def _check_comparable(frame: Frame) -> None:
    """Refuse to average over split rules, budgets or versions."""
    for name, part in frame.groupby("task"):
        for column in {"rule", "budget", "task_version"} & set(frame):
            if part[column].nunique() > 1:
                raise ValueError(f"{name}: scores of different {column}s are not comparable: {set(part[column])}")
    if "method_version" in frame and (frame.groupby("method")["method_version"].nunique() > 1).any():
        raise ValueError("scores of different versions of one method are not comparable")


@dataclass(frozen=True)
class _Column:
    """One row on one task: its scores of the metric, and what became of its cells."""

    scores: Frame
    per_split: Frame  # seeds averaged
    splits: tuple[str, ...]  # of the task
    complete: bool
    unconverged: bool
    baseline: bool
    other_target: bool

    def competitor(self, entry: Entry, better: int, blocks: np.ndarray | None) -> Competitor:
        """What the test needs, turned so that lower is better."""
        per_split = -better * self.per_split.reindex(self.splits).to_numpy(dtype=float)
        by_seed = self.scores.groupby("seed")["value"].mean() if len(self.splits) == 1 else {}
        seeds = {int(seed): -better * float(value) for seed, value in by_seed.items()}
        error = entry.se if len(seeds) < SEEDS else float(self.scores["stderr"].astype(float).mean())
        return Competitor(-better * entry.mean, per_split, seeds, error, None if blocks is None else -better * blocks)


def _columns(part: Frame, chosen: Frame) -> dict[str, _Column]:
    """By row: `part` are all rows of a task, `chosen` those of the metric."""
    splits, found = tuple(sorted(part["split"].unique())), {}
    for row, cells in part.groupby("row", sort=False):
        own = chosen[chosen["row"] == row]
        per_split = own.groupby("split")["value"].mean()
        expected = cells.groupby(["split", "seed"]).ngroups
        complete = len(per_split) == len(splits) and own.groupby(["split", "seed"]).ngroups == expected
        unconverged = bool((cells["status"] == "unconverged").any())
        flags = bool(cells["baseline"].any()), bool(cells["other_target"].any())
        found[str(row)] = _Column(own, per_split, splits, complete, unconverged, *flags)
    return found


def _entry(column: _Column) -> Entry:
    """Mean, error and median, before anybody is compared."""
    mean, se = _mean(column.scores, column.per_split)
    values = column.per_split.to_numpy(dtype=float)
    low, median, high = _quartiles(values)
    skewed = len(values) > 1 and bool(abs(mean - median) > high - low + 1e-9 * abs(median))
    flags = {name: getattr(column, name) for name in ("complete", "unconverged", "other_target")}
    return Entry(mean, se, len(values), median=median, skewed=skewed, **flags)


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; NaN without values or with a NaN, and no quartiles with an infinity."""
    if not len(values) or np.isnan(values).any():
        return np.nan, np.nan, np.nan
    if np.isfinite(values).all():
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        return float(low), float(median), float(high)
    return np.nan, float(np.quantile(values, 0.5, method="lower")), np.nan


def _beside_baseline(column: dict[str, Entry], columns: dict[str, _Column], better: int) -> dict[str, Entry]:
    """On how many splits each row is worse than the best of the baselines, which are themselves not judged."""
    reference: dict[str, float] = {}  # turned so that higher is better
    for own in columns.values():
        for split, value in own.per_split.items() if own.baseline else ():
            if np.isfinite(value):
                reference[split] = max(better * value, reference.get(split, -np.inf))
    found = dict(column)
    for row, entry in column.items():
        if not columns[row].baseline:
            pairs = [(better * v, reference[s]) for s, v in columns[row].per_split.items() if s in reference]
            worse = sum(not value >= base for value, base in pairs)  # NaN is worse
            beaten = bool(pairs) and not sum(v for v, _ in pairs) >= sum(base for _, base in pairs)
            found[row] = replace(entry, worse=worse, judged=len(pairs), beaten=beaten)
    return found


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
