"""Methods beside each other on data sets: one metric of one test set, and who competes for the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from bnnbench import names
from bnnbench.reporting.competition import SEEDS, Competitor, winners
from bnnbench.reporting.statistics import (
    Entry,
    Frame,
    known_mean,
    mean_over_splits,
    quartiles,
    size_ratio,
    within_split,
)

Blocks: TypeAlias = Mapping[tuple[str, str], Mapping[str, np.ndarray]]  # (row, task) -> metric -> means over blocks
FLAGS = ("unconverged", "baseline", "other_target")  # of a row, if any of its cells has it
CALIBRATION = frozenset(["calibration_error", "ece"])  # a constant is calibrated: to be worse there says little


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
    return frame["method"].where(frame["config"] == names.DEFAULT, frame["method"] + " [" + frame["config"] + "]")


def method_of(row: str) -> str:
    """The method of a row's name."""
    return row.partition(" [")[0]


def rules(scores: Frame) -> Frame:
    """The split rule of each line."""
    return scores["split"].map({name: names.parse_split(name)[0] for name in scores["split"].unique()})


def comparison(
    scores: Frame,
    metric: str,
    evaluation: str = names.TEST,
    *,
    better: int,
    rows: list[str] | None = None,
    tasks: list[str] | None = None,
    blocks: Blocks | None = None,
) -> Comparison:
    """Compare methods on every task of `scores` that has the metric.

    Args:
        scores: rows as of `ResultStore.scores()`, failed cells included, of one split rule, budget and version a task;
            the columns `baseline` and `other_target`, if they are there, tell which methods are there to be beaten and
            which cells aim at something else than the task's posterior.
        better: +1 for higher, -1 for lower, 0 for neither.
        rows, tasks: order; default is that of appearance.
        blocks: means over the same blocks of test points, for tasks of one split.
    """
    frame = scores.assign(row=row_names(scores), rule=rules(scores))
    frame = frame.assign(**{name: False for name in ("baseline", "other_target") if name not in frame})
    _check_comparable(frame)
    wanted = frame[(frame["metric"] == metric) & (frame["evaluation"] == evaluation)]
    present = set(wanted["task"])
    order = [t for t in (tasks if tasks is not None else frame["task"].unique()) if t in present]
    order_of_rows = list(rows if rows is not None else frame["row"].unique())
    entries, splits, seeds, ratio, paired, unpaired = {}, {}, {}, {}, {}, {}
    for task in order:
        part = frame[frame["task"] == task]
        ratio[task] = size_ratio(part, str(part["rule"].iloc[0]))
        splits[task], seeds[task] = part["split"].nunique(), part["seed"].nunique()
        chosen = wanted[wanted["task"] == task]
        scored = part[(part["evaluation"] == evaluation) & (part["metric"] != "")]
        without = set(scored["row"]) - set(chosen["row"])  # the metric does not apply to them
        columns = _columns(part[~part["row"].isin(without)], chosen)
        column = {row: _entry(own) for row, own in columns.items()}
        if better and metric not in CALIBRATION:
            column = _beside_baseline(column, columns, better)
        if better:
            known = {row: (blocks or {}).get((row, task), {}).get(metric) for row in column}
            able = {row: columns[row].competitor(entry, better, known[row]) for row, entry in column.items()
                    if entry.competes and not columns[row].baseline}  # fmt: skip
            found = winners(able, ratio[task])
            column = {row: replace(entry, best=row in found.tied) for row, entry in column.items()}
            paired[task], unpaired[task] = found.paired, found.unpaired
        entries.update({(row, task): entry for row, entry in column.items()})
    shown = tuple(name for name in order_of_rows if any((name, task) in entries for task in order))
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
    """One row on one task: its scores of the metric with their errors and seeds, and what became of its cells."""

    values: np.ndarray
    errors: np.ndarray
    seeds: np.ndarray
    per_split: Mapping[str, float]  # seeds averaged, in the order of names
    splits: tuple[str, ...]  # of the task
    complete: bool
    unconverged: bool
    baseline: bool
    other_target: bool

    def competitor(self, entry: Entry, better: int, blocks: np.ndarray | None) -> Competitor:
        """What the test needs, with its sign such that lower is better."""
        per_split = -better * np.array([self.per_split.get(split, np.nan) for split in self.splits])
        own = np.unique(self.seeds).tolist() if len(self.splits) == 1 else []
        seeds = {int(seed): -better * known_mean(self.values[self.seeds == seed]) for seed in own}
        error = entry.se if len(seeds) < SEEDS else known_mean(self.errors)
        return Competitor(-better * entry.mean, per_split, seeds, error, None if blocks is None else -better * blocks)


def _columns(part: Frame, chosen: Frame) -> dict[str, _Column]:
    """By row: `part` are all rows of a task, `chosen` those of the metric."""
    splits, found = tuple(sorted(part["split"].unique())), {}
    per_split: dict[str, dict[str, float]] = {}
    for (row, split), value in chosen.groupby(["row", "split"])["value"].mean().items():
        per_split.setdefault(row, {})[split] = float(value)
    runs, scored = _runs(part), _runs(chosen)
    flags = part.assign(unconverged=part["status"] == "unconverged").groupby("row")[list(FLAGS)].any()
    places, none = chosen.groupby("row").indices, np.zeros(0, int)
    numbers = [chosen[name].to_numpy() for name in ("value", "stderr", "seed")]
    for row in part["row"].unique():
        own, place = per_split.get(row, {}), places.get(row, none)
        complete = len(own) == len(splits) and scored[row] == runs[row]
        values, errors, seeds = (column[place] for column in numbers)
        marked = {name: bool(flags.at[row, name]) for name in FLAGS}
        found[str(row)] = _Column(values, errors.astype(float), seeds, own, splits, complete, **marked)
    return found


def _runs(cells: Frame) -> Counter[str]:
    """Number of different splits and seeds of each row."""
    return Counter(cells[["row", "split", "seed"]].drop_duplicates()["row"])


def _entry(column: _Column) -> Entry:
    """Mean, error and median, before anybody is compared."""
    values = np.array(list(column.per_split.values()), dtype=float)
    several = len(values) > 1
    mean, se = mean_over_splits(values) if several else within_split(column.values, column.errors)
    low, median, high = quartiles(values)
    skewed = several and bool(abs(mean - median) > high - low + 1e-9 * abs(median))
    flags = {name: getattr(column, name) for name in ("complete", "unconverged", "other_target")}
    return Entry(mean, se, len(values), median=median, skewed=skewed, **flags)


def _beside_baseline(column: dict[str, Entry], columns: dict[str, _Column], better: int) -> dict[str, Entry]:
    """On which splits each row is worse than the best of the baselines, which are themselves not judged."""
    reference: dict[str, float] = {}  # with its sign such that higher is better
    for own in columns.values():
        for split, value in own.per_split.items() if own.baseline else ():
            if np.isfinite(value):
                reference[split] = max(better * value, reference.get(split, -np.inf))
    found = dict(column)
    for row, entry in column.items():
        if not columns[row].baseline:
            pairs = {s: (better * v, reference[s]) for s, v in columns[row].per_split.items() if s in reference}
            behind = tuple(split for split, (value, base) in pairs.items() if not value >= base)  # NaN is worse
            beaten = bool(pairs) and not sum(v for v, _ in pairs.values()) >= sum(base for _, base in pairs.values())
            found[row] = replace(entry, behind=behind, judged=len(pairs), beaten=beaten)
    return found
