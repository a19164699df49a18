"""The same cell in two databases: whose attempt is the current one, and where their numbers contradict each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bnnbench.errors import UserError
from bnnbench.records import Status

PREFERENCES = ("first", "last", "newest")
EQUAL = 1e-9  # scores that differ by a smaller share are equal but for rounding
SHOWN = 3  # conflicts in the message of the error itself
_RANK = {Status.FAILED.value: 0, Status.TIMEOUT.value: 1}  # what says nothing of the method gives way
_DECIDED = 2

Value = tuple[float | None, float | None, str | None]  # value, standard error, kind
Attempt = Mapping[str, Any]


@dataclass
class Scored:
    """An evaluation: its id, its number of points, and its scores by the metric's id in the database written to."""

    id: int
    n: int
    scores: dict[int, Value] = field(default_factory=dict)


Evaluations = dict[str, Scored]


class Differing(NamedTuple):
    """A score that is another one in the other database."""

    evaluation: str
    metric: int
    own: Value
    other: Value


class MergeConflict(UserError):
    """Databases that contradict each other; nothing was merged.

    Attributes:
        conflicts: one sentence each.
    """

    def __init__(self, conflicts: list[str]) -> None:
        self.conflicts = conflicts
        count = f"{len(conflicts):,} conflict{'s' * (len(conflicts) > 1)}"
        shown = " ".join(conflicts[:SHOWN]) + " ..." * (len(conflicts) > SHOWN)
        super().__init__(
            f"The databases contradict each other in {count}, and nothing was merged; choose by --prefer first, last "
            f"or newest whose numbers count. {shown}"
        )


@dataclass
class Judge:
    """Who is right where two databases contradict each other.

    Attributes:
        prefer: one of `PREFERENCES`; None collects the conflicts.
        here, there: what the two databases are called.
        conflicts: sentences so far.
        metrics: names of metrics by their ids in the database written to.
        origins: attempt that this merge brought -> where it came from.
    """

    prefer: str | None
    here: str
    there: str = ""
    conflicts: list[str] = field(default_factory=list)
    metrics: dict[int, str] = field(default_factory=dict)
    origins: dict[int, str] = field(default_factory=dict)

    def told(self, sentence: str) -> bool:
        """Note a conflict with places for `here` and `there`; whether what is there is to be taken."""
        self.conflicts.append(sentence.format(here=self.here, there=self.there))
        return self.prefer == "last"

    def stays(
        self, cell: str, own: Attempt, other: Attempt, own_scores: Evaluations, other_scores: Evaluations
    ) -> bool:
        """Of two attempts that know nothing of each other, whether the own one is to be the current one.

        One that failed gives way to one that ended, and one that ran out of time to one that did not; of two of that
        kind the later one counts. Of two that ended, equal numbers are no conflict, and the own one stays.
        """
        ranks = [_RANK.get(attempt["status"], _DECIDED) for attempt in (own, other)]
        if ranks[0] != ranks[1]:
            return ranks[0] > ranks[1]
        if ranks[0] < _DECIDED:
            return own["finished"] >= other["finished"]
        differing = differences(own_scores, other_scores)
        if own["status"] == other["status"] and not differing:
            return True
        self.conflicts.append(self._sentence(cell, own, other, differing))
        newer = self.prefer == "newest" and other["finished"] > own["finished"]
        return not (self.prefer == "last" or newer)

    def replaced(self, cell: str, own: Attempt, differing: list[Differing]) -> set[str]:
        """Of one attempt that was scored in both: the evaluations whose scores are to be those of the other one."""
        if not differing:
            return set()
        self.conflicts.append(self._sentence(cell, own, own, differing))
        return {found.evaluation for found in differing} if self.prefer == "last" else set()

    def _sentence(self, cell: str, own: Attempt, other: Attempt, differing: list[Differing]) -> str:
        here = self.origins.get(own["id"], self.here)
        if own["status"] != other["status"]:
            return f"{cell} ended `{own['status']}` in {here} and `{other['status']}` in {self.there}."
        first = differing[0]
        more = f", and {len(differing) - 1} more scores differ" if len(differing) > 1 else ""
        return (
            f"{cell}: {self.metrics[first.metric]} of {first.evaluation} is {_shown(first.own)} in {here} and "
            f"{_shown(first.other)} in {self.there}{more}."
        )


def differences(own: Evaluations, other: Evaluations) -> list[Differing]:
    """Scores that both have and that differ by more than rounding."""
    return [
        Differing(name, metric, own[name].scores[metric], value)
        for name, theirs in other.items() if name in own
        for metric, value in theirs.scores.items()
        if metric in own[name].scores and not _equal(own[name].scores[metric], value)
    ]  # fmt: skip


def _equal(one: Value, other: Value) -> bool:
    (a, _, kind), (b, _, other_kind) = one, other
    if a is None or b is None:
        return kind == other_kind
    return math.isclose(a, b, rel_tol=EQUAL, abs_tol=1e-12)


def _shown(value: Value) -> str:
    return str(value[2]) if value[0] is None else f"{value[0]:.10g}"
