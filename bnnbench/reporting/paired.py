"""Two methods, or one method in two databases, beside each other: cells paired by task, split and seed.

With a_k and b_k the scores on split k, the mean over the seeds that both have, and s = +1 or -1 such that higher is
better, the difference of a task is the mean of d_k = s (a_k - b_k) over K splits, and its 95 % interval

    mean(d) -+ t_{K-1, 0.975} sqrt((1/K + r) var(d)),    r = n_test / n_train,

the corrected resampled t-test of Nadeau & Bengio (2003, doi:10.1023/A:1024068626366): splits of one data set share
training rows. On one split d_k are the differences of the means over the same blocks of test points, and r = 0. Whether
the two can be told apart is the verdict of the test behind bold numbers (`separable`), which no exploding split blinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats takes two seconds to import

from bnnbench import names
from bnnbench.errors import UserError
from bnnbench.reporting.comparison import row_names, rules
from bnnbench.reporting.competition import SEEDS
from bnnbench.reporting.select import BUDGETS, named
from bnnbench.reporting.separable import ALPHA, TIE, inseparable
from bnnbench.reporting.statistics import Frame, size_ratio

COLUMNS = [
    "metric", "unit", "task", "split_rule", "budget", "a", "b", "mean_a", "mean_b", "difference", "low", "high",
    "verdict", "wins", "ties", "losses", "splits", "pairs", "only_a", "only_b",
]  # fmt: skip
OVERALL = "all tasks"
BETTER, WORSE, OPEN, EQUAL = "better", "worse", "not separable", "equal"
HUGE = 1e300  # what stands for an infinite score where only ranks count
OWN_UNIT = "target"  # of metrics whose differences on several tasks have no common unit
PLACE = ["task", "rule", "budget"]
MOST_NAMED = 5  # cells in a sentence


@dataclass(frozen=True)
class Side:
    """One of the two: a row of a database.

    Attributes:
        name: what it is called. scores: its lines of all metrics, with `row` and `rule`. store: for its blocks.
    """

    name: str
    scores: Frame
    store: Any


@dataclass(frozen=True)
class Paired:
    """A table (`COLUMNS`, a line a metric and task, and one for all tasks), and what could not be paired, a sentence
    each."""

    table: pd.DataFrame
    notes: tuple[str, ...]


def paired(
    store: Any,
    against: Any | None,
    methods: Sequence[str],
    *,
    tasks: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    budget: str | None = None,
    rule: str | None = None,
    evaluation: str = names.TEST,
) -> Paired:
    """Compare two rows of one database or, with `against`, the same rows of two.

    Args:
        store, against: databases. Without `against` two rows are named; with it any number, none for all that both
            have.
        methods: rows as reports call them, `sgld` or `sgld [lr=0.01]`.
        tasks: names and groups; None for all. metrics: names; None for those of the main tables.
        budget: None for the largest that both have. rule: a split rule, None for all.
        evaluation: the test set.

    Raises:
        UserError: a name without results, or nothing that both have.
    """
    if tasks is not None and not tasks:
        raise UserError("--task is empty; give names with commas, or leave it out.")
    frames = [_read(own, evaluation) for own in (store, against) if own is not None]
    known = store.metrics().set_index("name")
    wanted = _metrics(metrics, known)
    lines, notes = [], []
    for one, other in _sides(frames, [store, against], methods):
        chosen = [_chosen(side, tasks, budget, rule) for side in (one, other)]
        one, other, more = _comparable(chosen[0], chosen[1], budget)
        notes += more
        for metric in wanted:
            definition = known.loc[metric]
            own = list(differences(one, other, metric, int(definition["better"]), str(definition["unit"]), evaluation))
            lines += own + ([_overall(own)] if len(own) > 1 else [])
        notes += _unpaired(one, other)
    if not lines:
        raise UserError(
            f"No cell of both has a score of {', '.join(wanted)} on {evaluation!r}; `bnnbench status` lists the cells."
        )
    return Paired(pd.DataFrame(lines, columns=COLUMNS), tuple(dict.fromkeys(notes)))


def _read(store: Any, evaluation: str) -> Frame:
    scores: Frame = store.scores(evaluation=[evaluation, names.TRAIN, names.VALIDATION, names.TEST])
    if scores.empty:
        raise UserError(f"{store.address} holds no results yet; run `bnnbench run` first.")
    return scores.assign(row=row_names(scores), rule=rules(scores), wanted=scores["evaluation"] == evaluation)


def _metrics(metrics: Sequence[str] | None, known: Frame) -> list[str]:
    if metrics is not None and not metrics:
        raise UserError("--metric is empty; give names with commas, or leave it out.")
    if metrics is None:
        return list(known.index[known["headline"].astype(bool) & (known["better"] != 0)])
    chosen = [name for name in known.index if name in named(metrics, known.index.to_series(), {}, "metric")]
    if plain := [name for name in chosen if known.loc[name, "better"] == 0]:
        raise UserError(f"Of the metric {plain[0]!r} neither more nor less is better, so nothing can win by it.")
    return chosen


def _sides(frames: list[Frame], stores: list[Any], methods: Sequence[str]) -> Iterator[tuple[Side, Side]]:
    if len(frames) == 1:
        if len(methods) != 2:
            raise UserError(f"Name two methods to compare, not {len(methods)}; or another database by --against.")
        if methods[0] == methods[1]:
            raise UserError(f"{methods[0]!r} is named twice; name two methods, or another database by --against.")
        yield tuple(_side(name, name, frames[0], stores[0]) for name in methods)  # type: ignore[misc]
        return
    second = set(frames[1]["row"])
    both = [row for row in frames[0]["row"].unique() if row in second]
    if not (methods or both):
        raise UserError(f"{stores[0].address} and {stores[1].address} have no method in common.")
    for name in methods or both:
        one, other = (_side(name, f"{name} in {store.address}", frame, store)
                      for frame, store in zip(frames, stores, strict=True))  # fmt: skip
        yield one, other


def _side(row: str, name: str, frame: Frame, store: Any) -> Side:
    (found,) = named([row], frame["row"], {}, "method")
    return Side(name, frame[frame["row"] == found], store)


def _chosen(side: Side, tasks: Sequence[str] | None, budget: str | None, rule: str | None) -> Side:
    scores = side.scores
    if tasks is not None:
        groups = {str(t["name"]): t["groups"] for _, t in side.store.tasks().iterrows()}
        members = {group: [t for t, own in groups.items() if group in own] for own in groups.values() for group in own}
        scores = scores[scores["task"].isin(named(tasks, scores["task"], members, "task"))]
    for column, wanted, what in (("rule", rule, "split rule"), ("budget", budget, "budget")):
        if wanted is not None:
            (found,) = named([wanted], scores[column], {}, what)
            scores = scores[scores[column] == found]
    return Side(side.name, scores, side.store)


def _comparable(one: Side, other: Side, budget: str | None) -> tuple[Side, Side, list[str]]:
    """The tasks, split rules and versions that both have, at one budget; and what is left out."""
    sides, notes = [one, other], []
    shared = [b for b in BUDGETS if all(b in set(side.scores["budget"]) for side in sides)]
    if not shared:
        have = (f"{side.name} at {', '.join(sorted(side.scores['budget'].unique()))}" for side in sides)
        raise UserError(f"No budget has results of both: {' and '.join(have)}.")
    if budget is None and len(set(one.scores["budget"]) | set(other.scores["budget"])) > 1:
        notes.append(f"Compared at the budget {shared[-1]}, the largest that both have; --budget names another.")
    notes += _at_other_budgets(sides, shared[-1])
    sides = [Side(s.name, s.scores[s.scores["budget"] == shared[-1]], s.store) for s in sides]
    versions = [dict(zip(s.scores["task"], s.scores["task_version"], strict=True)) for s in sides]
    apart = [t for t in versions[0] if t in versions[1] and versions[0][t] != versions[1][t]]
    notes += [
        f"{task} is version {versions[0][task]} of {sides[0].name} and {versions[1][task]} of {sides[1].name}: not "
        "compared." for task in apart
    ]  # fmt: skip
    places = [set(zip(s.scores["task"], s.scores["rule"], strict=True)) for s in sides]
    for own, theirs, side, missing in zip(places, places[::-1], sides, sides[::-1], strict=True):
        for task, rule in sorted(own - theirs):
            notes.append(f"{task} {rule}: only {side.name} was run, {missing.name} was not.")
    both = {place for place in places[0] & places[1] if place[0] not in apart}
    sides = [Side(s.name, s.scores[[p in both for p in zip(s.scores["task"], s.scores["rule"], strict=True)]], s.store)
             for s in sides]  # fmt: skip
    return sides[0], sides[1], notes


def _at_other_budgets(sides: Sequence[Side], budget: str) -> list[str]:
    """Tasks that both have, but not at the budget that is compared."""
    found: dict[str, list[str]] = {}
    for other in (b for b in BUDGETS if b != budget):
        tasks = [set(side.scores.loc[side.scores["budget"] == other, "task"]) for side in sides]
        for task in sorted(tasks[0] & tasks[1]):
            found.setdefault(task, []).append(other)
    there = [set(side.scores.loc[side.scores["budget"] == budget, "task"]) for side in sides]
    return [
        f"{task}: both have it at {' and '.join(budgets)}, not at {budget}; --budget {budgets[-1]} compares it."
        for task, budgets in found.items()
        if task not in there[0] & there[1]
    ]


def differences(
    one: Side, other: Side, metric: str, better: int, unit: str, evaluation: str
) -> Iterator[dict[str, Any]]:
    """One line (`COLUMNS`) for each task, split rule and budget."""
    for place, part in one.scores.groupby(PLACE, sort=False):
        theirs = other.scores[(other.scores[PLACE] == list(place)).all(axis=1)]
        a, b = (_values(frame, metric) for frame in (part, theirs))
        if not (a or b):
            continue
        pairs = sorted(a.keys() & b.keys())
        splits = list(dict.fromkeys(split for split, _ in pairs))
        means = [np.array([np.mean([own[p] for p in pairs if p[0] == split]) for split in splits]) for own in (a, b)]
        many = part["split"].nunique() > 1 or theirs["split"].nunique() > 1
        scores, ratio = means, size_ratio(part, str(place[1])) if many else 0.0
        if not many and pairs:
            scores = _blocks(one, other, part, theirs, metric, evaluation, [seed for _, seed in pairs])
        seeds = [np.array([own[p] for p in pairs]) for own in (a, b)] if not many and len(pairs) >= SEEDS else None
        yield {
            "metric": metric, "unit": unit, "task": place[0], "split_rule": place[1], "budget": place[2],
            "a": one.name, "b": other.name, "mean_a": _mean(means[0]), "mean_b": _mean(means[1]),
            "difference": _mean(_minus(means[0], means[1], better)),
            **dict(zip(("low", "high"), interval(_minus(scores[0], scores[1], better), ratio), strict=True)),
            "verdict": _verdict(scores, seeds, better, ratio), **_record(means[0], means[1], better),
            "splits": len(splits), "pairs": len(pairs),
            "only_a": len(a.keys() - b.keys()), "only_b": len(b.keys() - a.keys()),
        }  # fmt: skip


def _values(part: Frame, metric: str) -> dict[tuple[str, int], float]:
    """Score by split and seed."""
    own = part[part["wanted"] & (part["metric"] == metric)]
    return {(str(r.split), int(r.seed)): float(r.value) for r in own[["split", "seed", "value"]].itertuples()}


def _blocks(
    one: Side, other: Side, part: Frame, theirs: Frame, metric: str, evaluation: str, seeds: list[int]
) -> list[np.ndarray]:
    """Means of both over the same blocks of test points, seeds averaged; empty where they are not stored."""
    found = []
    for side, frame in ((one, part), (other, theirs)):
        cells = frame.loc[frame["seed"].isin(seeds), "fingerprint"].unique()
        curves = side.store.curves("blocks", evaluation=evaluation, fingerprint=list(cells))
        own = [np.asarray(series[metric], float) for _, _, series in curves if metric in series]
        alike = len(own) == len(cells) and len({len(values) for values in own}) == 1
        found.append(np.mean(own, axis=0) if alike else np.zeros(0))
    return found if len(found[0]) == len(found[1]) else [np.zeros(0)] * 2


def _minus(a: np.ndarray, b: np.ndarray, better: int) -> np.ndarray:
    """Differences, positive where the first is better."""
    with np.errstate(invalid="ignore"):  # infinities of one sign
        return better * (a - b)


def _mean(values: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):  # infinities of both signs
        return float(values.mean()) if len(values) else np.nan


def interval(differences: np.ndarray, ratio: float) -> tuple[float, float]:
    """95 % interval of the mean difference; NaN of fewer than two, and of what is not finite."""
    k = len(differences)
    if k < 2 or not np.isfinite(differences).all():
        return np.nan, np.nan
    half = special.stdtrit(k - 1, 1 - ALPHA / 2) * np.sqrt((1 / k + ratio) * differences.var(ddof=1))
    return float(differences.mean() - half), float(differences.mean() + half)


def _verdict(scores: Sequence[np.ndarray], seeds: Sequence[np.ndarray] | None, better: int, ratio: float) -> str:
    """What the test behind bold numbers says; of one split, where seeds are many, only what it says over them too."""
    verdicts = {_ranked(scores, better, ratio), *([] if seeds is None else [_ranked(seeds, better, 0.0)])}
    return verdicts.pop() if len(verdicts) == 1 else OPEN


def _ranked(scores: Sequence[np.ndarray], better: int, ratio: float) -> str:
    lower = -better * np.array(scores, dtype=float)
    if lower.shape[1] < 2 or np.isnan(lower).any():
        return ""
    lower = lower.clip(-HUGE, HUGE)
    if (lower[0] == lower[1]).all():
        return EQUAL
    best = int(lower.mean(axis=1).argmin())
    if inseparable(lower, best, ratio).all():
        return OPEN
    return WORSE if best else BETTER


def _record(a: np.ndarray, b: np.ndarray, better: int) -> dict[str, int]:
    """On how many splits the first wins, both are alike but for rounding, and the first loses; NaN loses to any number,
    and is like another NaN."""
    a, b = (np.where(np.isnan(own), -np.inf, better * own) for own in (a, b))
    with np.errstate(invalid="ignore"):
        alike = (a == b) | (np.abs(a - b) <= TIE * np.abs(b))
    alike &= np.isfinite(a) == np.isfinite(b)
    return {"wins": int((~alike & (a > b)).sum()), "ties": int(alike.sum()), "losses": int((~alike & (a < b)).sum())}


def _overall(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One line for all tasks: the mean of their differences where these have a common unit, with its t-interval over
    tasks, which are no samples of each other; on how many the test finds a better and a worse one; and the counts."""
    first = lines[0]
    frame: Any = pd.DataFrame(lines)
    one_unit = first["unit"] != OWN_UNIT
    differences = frame["difference"].to_numpy() if one_unit else np.zeros(0)
    number = {verdict: int((frame["verdict"] == verdict).sum()) for verdict in (BETTER, WORSE, OPEN, EQUAL)}
    counts = [f"{n} {verdict}" for verdict, n in number.items() if n or verdict != EQUAL]
    sums = {name: int(frame[name].sum()) for name in ("wins", "ties", "losses", "splits", "pairs", "only_a", "only_b")}
    means = {f"mean_{side}": _mean(frame[f"mean_{side}"].to_numpy()) if one_unit else np.nan for side in "ab"}
    return {
        **first, **means, **sums, "task": OVERALL, "split_rule": "", "difference": _mean(differences),
        **dict(zip(("low", "high"), interval(differences, 0.0), strict=True)), "verdict": ", ".join(counts),
    }  # fmt: skip


def _unpaired(one: Side, other: Side) -> list[str]:
    """Cells that only one of the two has scores of, a sentence for each of the two."""
    found = []
    for side, missing in ((one, other), (other, one)):
        mine, theirs = (_statuses(own.scores) for own in (side, missing))
        lacking = [cell for cell, scored in mine.items() if scored == "" and theirs.get(cell, "not run")]
        if lacking:
            named_ = "; ".join(
                f"{task} {split} seed {seed} ({theirs.get((task, split, seed), 'not run')})"
                for task, split, seed in lacking[:MOST_NAMED]
            )
            more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
            count = f"{len(lacking)} cell{'s' * (len(lacking) > 1)}"
            found.append(f"{missing.name} has no score of {count} that {side.name} has: {named_}{more}.")
    return found


def _statuses(scores: Frame) -> dict[tuple[str, str, int], str]:
    """Cells by task, split and seed: nothing of one that was scored on the test set, else what became of it."""
    found: dict[tuple[str, str, int], str] = {}
    for r in scores[["task", "split", "seed", "status", "wanted"]].drop_duplicates().itertuples():
        key = (str(r.task), str(r.split), int(r.seed))
        found[key] = "" if r.wanted else found.get(key, str(r.status))
    return found
