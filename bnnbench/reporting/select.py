"""What a report shows: sections of comparable cells, chosen from the database.

A section is one task group under one split rule at one budget, each task and method in one version.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bnnbench import names
from bnnbench.errors import UserError
from bnnbench.records import SCORED, Origin, Purpose
from bnnbench.reporting.comparison import row_names, rules
from bnnbench.reporting.external import external, marked
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.superseded import Installed, Superseded, superseded
from bnnbench.reporting.targets import other_targets

BUDGETS = ("smoke", "quick", "long", "full")  # the last that a section has is shown; `long` stands beside `full`
CELL = ["task", "method", "config", "split", "seed", "budget"]
T = TypeVar("T")


def natural(name: str) -> list[tuple[float, str]]:
    """A key that sorts the numbers in names by their value: layers=8 before layers=32."""
    parts = re.findall(r"(\d+(?:\.\d+)?(?:e-?\d+)?)|(\D+)", name)
    return [(float(number) if number else math.inf, text) for number, text in parts]


@dataclass(frozen=True)
class Section:
    """Comparable cells; frames carry the extra columns `rule`, `index` and `row` (method and non-default config).

    Scores also tell by `baseline` which methods are there to be beaten, not to win, and by `other_target` which cells
    aim at something else than the task's posterior. Attempts also have the `device` and the `threads` of their session.

    Attributes:
        tasks, rows: in the order of registration; configurations of a method follow it.
        metrics: the headline metrics that have scores on the test rows, in the order of registration.
        warning: what must stand over its tables; empty: nothing.
        others: cells at budgets that are not shown.
    """

    group: str
    rule: str
    budget: str
    scores: Frame
    attempts: Frame
    tasks: tuple[str, ...]
    rows: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    warning: str = ""
    others: dict[str, int] = field(default_factory=dict)

    _known: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """File name stem."""
        return f"{self.group}-{self.rule}"

    @property
    def tuned(self) -> frozenset[str]:
        """Rows whose hyperparameters trials chose."""

        def made() -> frozenset[str]:
            return frozenset(self.scores.loc[self.scores["purpose"] == Purpose.TUNED.value, "row"].unique())

        return self.once("tuned", made)

    @property
    def competing(self) -> tuple[str, ...]:
        """Rows that leaderboards rank and figures show. What trials chose is compared in tables of its own: among the
        others its method would count twice."""
        tuned = self.tuned
        return tuple(row for row in self.rows if row not in tuned) or self.rows

    def part(self, rows: Sequence[str], tasks: Sequence[str]) -> Section:
        """The same of some rows and tasks, in the order given; without those that have no cells."""
        keep = self.scores["row"].isin(list(rows)) & self.scores["task"].isin(list(tasks))
        scores = self.scores[np.asarray(keep)]
        scored = set(scores.loc[scores["evaluation"] == names.TEST, "metric"])
        return replace(
            self,
            scores=scores,
            attempts=self.attempts[self.attempts["fingerprint"].isin(scores["fingerprint"].unique())],
            tasks=tuple(task for task in tasks if task in set(scores["task"])),
            rows=tuple(row for row in rows if row in set(scores["row"])),
            metrics=tuple(metric for metric in self.metrics if metric in scored),
            _known={},
        )

    @property
    def timed(self) -> Frame:
        """Attempts of the scored cells that were trained here; what was made elsewhere has no times to compare."""
        return self.attempts[self.attempts["status"].isin(SCORED) & (self.attempts["origin"] == Origin.TRAINED.value)]

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once: several tables and figures need it."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


TRIALS_ALONE = (
    "The database holds trials of hyperparameters alone; run `bnnbench run --tuned` with it, and report the results of "
    "that run with --trials."
)

ROWS = 100_000


class NoResults(UserError):
    """The database holds nothing yet that a report could show."""


class Definition(NamedTuple):
    """What the database says of a metric: `better` is +1 for higher, -1 for lower, 0 for neither."""

    better: int = 0
    unit: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Selection:
    """All that the pages need.

    Attributes:
        store: kept for curves. trials: that of the trials of hyperparameters, where it is another.
        superseded: results shown of versions older than those installed.
        external: names of methods whose predictions were made elsewhere.
        left_out: number of cells of older versions than the database's newest.
        fingerprint: of all scores in the database.
        others: sections at the budgets that `sections` leave out; none where one budget was asked for.
        notices: what is left out of figures, said as it turns up.
    """

    store: Any
    sections: tuple[Section, ...]
    methods: Frame
    tasks: Frame
    metrics: Frame
    sessions: Frame
    superseded: Superseded
    external: frozenset[str]
    left_out: int
    fingerprint: str
    others: tuple[Section, ...] = ()
    notices: list[str] = field(default_factory=list)
    trials: Any = None

    _known: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once, of all sections together."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    @property
    def shown(self) -> dict[str, list[str]]:
        """Names of the tasks and methods that a section shows."""
        scores = [section.scores for section in self.sections]
        return {name: sorted(set().union(*(own[name] for own in scores))) for name in ("task", "method")}

    @cached_property
    def _notes(self) -> dict[str, tuple[str, ...]]:
        return {str(r["name"]): _strings(r["notes"]) for _, r in self.tasks.iterrows()}

    def marked(self, name: str) -> str:
        """The name of a row or column, with signs at what is superseded and at what was made elsewhere."""
        return self.superseded.marked(marked(name, self.external))

    def notes(self, task: str) -> tuple[str, ...]:
        """Sentences to stand under a task's table."""
        return self._notes.get(task, ())

    def metric(self, name: str) -> Definition:
        """Definition of a metric; an empty one when the database does not know it."""
        found = self.metrics[self.metrics["name"] == name].to_dict("records")
        return Definition(*(found[0][field] for field in Definition._fields)) if found else Definition()

    def gold_standard(self) -> set[str]:
        """Names of the methods whose samples stand for the posterior itself."""
        return {
            str(m["name"]) for _, m in self.methods.iterrows() if m["role"] == "reference" and "sampling" in m["tags"]
        }


def fingerprint(scores: Frame) -> str:
    """sha256 over that of every exported score, in order: two databases with equal scores have equal ones."""
    frame, digests = scores.sort_index(axis=1), []
    for start in range(0, len(frame), ROWS):  # as text they take ten times the memory
        text = frame.iloc[start : start + ROWS].to_csv(index=False, header=False, lineterminator="\n")
        digests += [hashlib.sha256(line.encode()).digest() for line in text.splitlines()]
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def select(
    store: Any,
    tasks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    budget: str | None = None,
    installed: Installed | None = None,
) -> Selection:
    """Read the database, keep what is asked for, and divide it into sections (arguments as of `build`)."""
    scores, attempts = store.scores(), store.attempts()
    if scores.empty:
        if len(store.attempts(purpose=Purpose.TUNE.value)):
            raise NoResults(TRIALS_ALONE)
        raise NoResults("The database holds no results yet; run `bnnbench run` first.")
    known_tasks, known_methods = store.tasks(), store.methods()
    known_methods = known_methods.assign(tags=known_methods["tags"].map(_strings))
    total = fingerprint(scores)
    left_out = len(store.attempts(latest_only=False)) - len(attempts)
    groups = _groups(known_tasks)
    if tasks is not None:
        members = {g: [t for t, own in groups.items() if g in own] for own in groups.values() for g in own}
        scores = scores[scores["task"].isin(named(tasks, scores["task"], members, "task"))]
    if methods is not None:
        scores = scores[scores["method"].isin(named(methods, scores["method"], {}, "method"))]
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
    metrics = store.metrics()
    scores = _extend(scores)
    definitions = known_tasks, known_methods, metrics
    sections = _sections(scores, attempts, *definitions, budget)
    shown = {(section.name, section.budget) for section in sections}
    rest = [] if budget else [b for b in BUDGETS if any(b in section.others for section in sections)]
    at_rest = (section for b in rest for section in _sections(scores, attempts, *definitions, b))
    others = tuple(section for section in at_rest if (section.name, section.budget) not in shown)
    old = superseded([section.scores for section in sections], installed)
    return Selection(
        store, sections, known_methods, known_tasks, metrics, sessions, old, external(scores), left_out, total, others
    )


def _strings(value: Any) -> tuple[str, ...]:
    """A list out of the database; nothing if it is none."""
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _extend(frame: Frame) -> Frame:
    """Add rule, index and row name."""
    index = frame["split"].map({name: names.parse_split(name)[1] for name in frame["split"].unique()})
    return frame.assign(rule=rules(frame), index=index.astype(int), row=row_names(frame))


def baselines(methods: Frame) -> set[str]:
    """Names of the methods that the others are to beat."""
    return set(methods.loc[methods["role"] == "baseline", "name"])


def _on_machines(attempts: Frame, sessions: Frame) -> Frame:
    """Add the device and the threads of the session that trained a cell."""
    known = sessions.drop_duplicates("id").set_index("id")
    device = attempts["session"].map(known["device"]).fillna("unknown device").astype(str)
    return attempts.assign(device=device, threads=attempts["session"].map(known["threads"]).fillna(0).astype(int))


def _groups(tasks: Frame) -> dict[str, tuple[str, ...]]:
    """Task -> its groups, the one it is shown under first."""
    return {str(r["name"]): _strings(r["groups"]) for _, r in tasks.iterrows()}


def _listing(values: Frame) -> str:
    return ", ".join(sorted(map(str, values.unique())))


def named(wanted: Sequence[str], present: Frame, groups: dict[str, list[str]], what: str) -> set[str]:
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
    scores: Frame, attempts: Frame, tasks: Frame, methods: Frame, metrics: Frame, budget: str | None
) -> tuple[Section, ...]:
    """One section a group and rule, at `budget` or the largest budget that it has, references aside; in the order of
    their tasks."""
    groups = _groups(tasks)
    task_order, method_order = (dict(zip(f["name"], f["order"], strict=True)) for f in (tasks, methods))
    warnings = dict(zip(tasks["name"], tasks["warning"], strict=True))
    headlines = list(metrics.loc[metrics["headline"].astype(bool), "name"])
    references = set(methods.loc[methods["role"] == "reference", "name"])
    scores = scores.assign(group=scores["task"].map(lambda t: (groups.get(t) or ("other",))[0]))
    sections = []
    for (group, rule), part in scores.groupby(["group", "rule"]):
        cells = part.drop_duplicates("fingerprint")["budget"].value_counts()
        # A gold standard that came with the package is of the largest budget, whatever else was run.
        compared = part.loc[~part["method"].isin(references), "budget"].unique()
        choice = compared if len(compared) else cells.index
        chosen = budget or max(choice, key=lambda b: BUDGETS.index(b) if b in BUDGETS else -1)
        shown = part[part["budget"] == chosen]
        if shown.empty:
            continue
        own = sorted(shown["task"].unique(), key=lambda t: (task_order.get(t, 0), t))
        keys = shown[["method", "config", "row"]].drop_duplicates().values.tolist()
        keys.sort(key=lambda k: (method_order.get(k[0], 0), k[0], k[1] != names.DEFAULT, natural(k[1])))
        scored = set(shown.loc[shown["evaluation"] == names.TEST, "metric"])
        section = Section(
            group=str(group),
            rule=str(rule),
            budget=chosen,
            scores=shown,
            attempts=attempts[attempts["fingerprint"].isin(shown["fingerprint"].unique())],
            tasks=tuple(own),
            rows=tuple(k[2] for k in keys),
            metrics=tuple(metric for metric in headlines if metric in scored),
            warning=" ".join(dict.fromkeys(filter(None, (warnings.get(task) for task in own)))),
            others={str(b): int(n) for b, n in sorted(cells.items()) if b != chosen},
        )
        sections.append(section)
    return tuple(sorted(sections, key=lambda s: (task_order.get(s.tasks[0], 0), s.group, s.rule)))
