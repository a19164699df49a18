"""What a report shows: sections of comparable cells, chosen from the database.

A section is one task group under one split rule at one budget, each task and method in one version.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from bnnbench.errors import UserError
from bnnbench.reporting.statistics import Frame, row_names
from bnnbench.reporting.targets import other_targets

GROUPS = ("toy", "starter", "uci", "tabular", "images", "images-sample", "shift", "density")  # order of sections
BUDGETS = ("smoke", "quick", "full")
HEADLINE = {
    "regression": ("log_likelihood", "rmse", "crps", "calibration_error"),
    "classification": ("log_likelihood", "error", "ece", "brier"),
    "density": ("nll", "kl_forward"),
    "variational": ("nll", "elbo", "iw_log_likelihood"),
}
CELL = ["task", "method", "config", "split", "seed", "budget"]


def natural(name: str) -> list[tuple[float, str]]:
    """A key that sorts the numbers in names by their value: layers=8 before layers=32."""
    parts = re.findall(r"(\d+(?:\.\d+)?(?:e-?\d+)?)|(\D+)", name)
    return [(float(number) if number else math.inf, text) for number, text in parts]


@dataclass(frozen=True)
class Section:
    """Comparable cells; frames carry the extra columns `rule`, `index` and `row` (method and non-default config).

    Scores also tell by `baseline` which methods are there to be beaten, not to win, and by `other_target` which cells
    aim at something else than the task's posterior.
    Attempts also have the `device` and the `threads` of their session.
    """

    group: str
    rule: str
    budget: str
    scores: Frame
    attempts: Frame
    tasks: tuple[str, ...]
    rows: tuple[str, ...]
    kinds: dict[str, str] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)  # cells at budgets not shown

    @property
    def name(self) -> str:
        """File name stem."""
        return f"{self.group}-{self.rule}"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Headline metrics that have scores here."""
        wanted = [m for t in self.tasks for m in HEADLINE.get(self.kinds.get(t, ""), ())]
        present = set(self.scores.loc[self.scores["evaluation"] == "test", "metric"])
        return tuple(m for m in dict.fromkeys(wanted) if m in present)


@dataclass(frozen=True)
class Selection:
    """All that the pages need. `store` is kept for curves; `superseded` counts cells of older versions, left out."""

    store: Any
    sections: tuple[Section, ...]
    methods: Frame
    tasks: Frame
    metrics: Frame
    sessions: Frame
    superseded: int
    fingerprint: str
    notices: list[str] = field(default_factory=list)  # what is left out, said as it turns up

    @cached_property
    def _notes(self) -> dict[str, tuple[str, ...]]:
        return {str(r["name"]): _strings(r["notes"]) for _, r in self.tasks.iterrows()}

    def notes(self, task: str) -> tuple[str, ...]:
        """Sentences to stand under a task's table."""
        return self._notes.get(task, ())

    def metric(self, name: str) -> tuple[int | None, str, str]:
        """Direction, unit and summary of a metric (None, "", "" when the database does not know it)."""
        found = self.metrics[self.metrics["name"] == name]
        if found.empty:
            return None, "", ""
        row = found.iloc[-1]
        return int(row["better"]), str(row["unit"] or ""), str(row["summary"] or "")


def fingerprint(scores: Frame) -> str:
    """sha256 over the exported scores, whatever their order: two databases with equal scores have equal ones."""
    lines = sorted(scores.sort_index(axis=1).to_csv(index=False, header=False, lineterminator="\n").splitlines())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def select(
    store: Any, tasks: Sequence[str] | None = None, methods: Sequence[str] | None = None, budget: str | None = None
) -> Selection:
    """Read the database, keep what is asked for, and divide it into sections."""
    scores, attempts = store.scores(), store.attempts()
    if scores.empty:
        raise UserError("The database holds no results yet; run `bnnbench run` first.")
    known_tasks, known_methods = store.tasks(), store.methods()
    known_methods = known_methods.assign(tags=known_methods["tags"].map(_strings))
    total = fingerprint(scores)
    superseded = store.scores(latest_only=False)["fingerprint"].nunique() - scores["fingerprint"].nunique()
    groups = _groups(known_tasks)
    if tasks is not None:
        members = {g: [t for t, own in groups.items() if g in own] for own in groups.values() for g in own}
        scores = scores[scores["task"].isin(_named(tasks, scores["task"], members, "task"))]
    if methods is not None:
        scores = scores[scores["method"].isin(_named(methods, scores["method"], {}, "method"))]
    if budget is not None and budget not in set(scores["budget"]):
        raise UserError(f"No results at budget '{budget}'; the selection has: {_listing(scores['budget'])}.")
    if scores.empty:
        raise UserError("No results of these methods on these tasks; `bnnbench status` lists what exists.")
    scores = scores.assign(
        baseline=scores["method"].isin(baselines(known_methods)),
        other_target=scores["fingerprint"].isin(other_targets(attempts, known_methods)),
    )
    sessions = store.sessions()
    attempts = _on_machines(_extend(attempts), sessions)
    sections = _sections(_extend(scores), attempts, known_tasks, known_methods, groups, budget)
    return Selection(store, sections, known_methods, known_tasks, store.metrics(), sessions, superseded, total)


def _strings(value: Any) -> tuple[str, ...]:
    """A list out of the database; nothing if it is none."""
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _extend(frame: Frame) -> Frame:
    """Add rule, index and row name."""
    parts = frame["split"].str.rsplit("-", n=1)
    return frame.assign(rule=parts.str[0], index=parts.str[1].astype(int), row=row_names(frame))


def baselines(methods: Frame) -> set[str]:
    """Names of the methods that the others are to beat, by their tags."""
    tagged = zip(methods["name"], methods["tags"], strict=True)
    return {str(name) for name, tags in tagged if "baseline" in tags}


def _on_machines(attempts: Frame, sessions: Frame) -> Frame:
    """Add the device and the threads of the session that trained a cell."""
    known = sessions.drop_duplicates("id").set_index("id")
    device = attempts["session"].map(known["device"]).fillna("unknown device").astype(str)
    return attempts.assign(device=device, threads=attempts["session"].map(known["threads"]).fillna(0).astype(int))


def _groups(tasks: Frame) -> dict[str, tuple[str, ...]]:
    """Task -> its groups, the one it is shown under first."""
    return {
        str(r["name"]): tuple(sorted(_strings(r["groups"]), key=lambda g: (GROUPS.index(g) if g in GROUPS else 99, g)))
        for _, r in tasks.iterrows()
    }


def _listing(values: Frame) -> str:
    return ", ".join(sorted(map(str, values.unique())))


def _named(wanted: Sequence[str], present: Frame, groups: dict[str, list[str]], what: str) -> set[str]:
    """Names asked for, groups and `all` spelt out; each must have results."""
    existing, chosen = set(present), set()
    for name in wanted:
        members = existing if name == "all" else existing & {name, *groups.get(name, ())}
        if not members:
            near = get_close_matches(name, sorted(existing | set(groups)), n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UserError(f"No results of {what} '{name}'.{hint} The database has: {_listing(present)}.")
        chosen |= members
    return chosen


def _sections(
    scores: Frame,
    attempts: Frame,
    tasks: Frame,
    methods: Frame,
    groups: dict[str, tuple[str, ...]],
    budget: str | None,
) -> tuple[Section, ...]:
    """One section a group and rule, at `budget` or the largest budget that it has."""
    task_order = dict(zip(tasks["name"], tasks["order"], strict=True))
    method_order = dict(zip(methods["name"], methods["order"], strict=True))
    kinds = dict(zip(tasks["name"], tasks["kind"], strict=True))
    scores = scores.assign(group=scores["task"].map(lambda t: (groups.get(t) or ("other",))[0]))
    sections = []
    for (group, rule), part in scores.groupby(["group", "rule"]):
        cells = part.drop_duplicates("fingerprint")["budget"].value_counts()
        chosen = budget or max(cells.index, key=lambda b: BUDGETS.index(b) if b in BUDGETS else -1)
        shown = part[part["budget"] == chosen]
        if shown.empty:
            continue
        names = sorted(shown["task"].unique(), key=lambda t: (task_order.get(t, 0), t))
        keys = shown[["method", "config", "row"]].drop_duplicates().values.tolist()
        keys.sort(key=lambda k: (method_order.get(k[0], 0), k[0], k[1] != "default", natural(k[1])))
        own = attempts[attempts["fingerprint"].isin(shown["fingerprint"])]
        others = {str(b): int(n) for b, n in sorted(cells.items()) if b != chosen}
        kind = {t: str(kinds.get(t, "")) for t in names}
        rows = tuple(k[2] for k in keys)
        sections.append(Section(str(group), str(rule), chosen, shown, own, tuple(names), rows, kind, others))
    sections.sort(key=lambda s: (GROUPS.index(s.group) if s.group in GROUPS else 99, s.group, s.rule))
    return tuple(sections)
