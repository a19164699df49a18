"""How a database stands while runs go on: what is being trained, what became of the rest, how fast, until when.

The database knows no plans, only the cells that somebody has begun: until when is told of what is being trained now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bnnbench.records import SCORED, Origin
from bnnbench.reporting.statistics import Frame
from bnnbench.store.claims import described

WINDOW_S = 600.0  # over which speed is measured
LIKE = (["task", "method", "config", "budget"], ["method", "budget"])  # cells that take as long, the nearest first


@dataclass(frozen=True)
class Running:
    """Cells of one method on one task that a process has claimed together.

    Attributes:
        splits: of each cell. owner: which process, in words. since: of the claim.
        ends: when it should be done, going by the time that cells like these took; None where there are none yet.
    """

    task: str
    method: str
    config: str
    budget: str
    splits: tuple[str, ...]
    owner: str
    since: datetime
    ends: datetime | None


@dataclass(frozen=True)
class Failure:
    """Cells without scores that ended alike."""

    status: str
    task: str
    method: str
    config: str
    cells: int
    message: str


@dataclass(frozen=True)
class Standing:
    """All of it; cells that newer versions or defaults supersede are left out.

    Attributes:
        when: the time of this.
        counts: cells by status. tasks: the same by task.
        running: what is being trained, the longest first.
        failures: the latest first.
        recent: how many cells were stored in the last ten minutes. per_minute: cells, over this time or since the run
            began; None where none was.
    """

    when: datetime
    counts: dict[str, int]
    tasks: dict[str, dict[str, int]]
    running: tuple[Running, ...]
    failures: tuple[Failure, ...]
    recent: int
    per_minute: float | None

    @property
    def cells(self) -> int:
        """How many are stored."""
        return sum(self.counts.values())

    @property
    def ends(self) -> datetime | None:
        """When all that is being trained should be done; None where that cannot be told."""
        known = [running.ends for running in self.running if running.ends is not None]
        return max(known) if known and len(known) == len(self.running) else None


def standing(store: Any) -> Standing:
    """Read it from a `ResultStore`."""
    with store.one_view():
        attempts, running, sessions, now = store.attempts(purpose=None), store.running(), store.sessions(), store.now()
    tasks = {str(task): dict(Counter(own["status"])) for task, own in attempts.groupby("task", sort=False)}
    recent, per_minute = _speed(attempts, sessions, now)
    return Standing(
        when=_time(now),
        counts=dict(Counter(attempts["status"])),
        tasks=tasks,
        running=_running(running, attempts),
        failures=_failures(attempts),
        recent=recent,
        per_minute=per_minute,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _seconds(dates: Frame) -> Frame:
    """Dates of the database, which are in UTC and do not say it, in seconds since the epoch."""
    return (dates.astype("datetime64[ns]") - datetime(1970, 1, 1)).dt.total_seconds()


def _speed(attempts: Frame, sessions: Frame, now: float) -> tuple[int, float | None]:
    trained = attempts[attempts["origin"] == Origin.TRAINED.value]
    late = trained[_seconds(trained["finished"]) > now - WINDOW_S]
    if late.empty:
        return 0, None
    began = _seconds(sessions.loc[sessions["id"].isin(late["session"]), "started"]).min()
    return len(late), 60 * len(late) / min(WINDOW_S, max(now - began, 1.0))


def _running(running: Frame, attempts: Frame) -> tuple[Running, ...]:
    keys = ["claimed", "owner", "task", "method", "config", "budget"]
    found = []
    for (claimed, owner, *names), own in running.groupby(keys, sort=True):
        task, method, config, budget = map(str, names)
        since, ends = _time(claimed), None
        like, each = _like(attempts, dict(zip(LIKE[0], (task, method, config, budget), strict=True)))
        if each is not None:
            done = int((_seconds(like["finished"]) >= claimed).sum())
            ends = since + timedelta(seconds=each * (len(own) + done))
        splits = tuple(dict.fromkeys(own["split"]))
        found.append(Running(task, method, config, budget, splits, described(str(owner)), since, ends))
    return tuple(found)


def _like(attempts: Frame, names: dict[str, str]) -> tuple[Frame, float | None]:
    """Scored cells that are the same but for split and seed, and the median of the seconds that such a cell took; of
    the method on other tasks, where there are none."""
    trained = attempts[attempts["status"].isin(SCORED) & (attempts["origin"] == Origin.TRAINED.value)]
    parts = [trained[(trained[columns] == [names[c] for c in columns]).all(axis=1)] for columns in LIKE]
    medians = [(part["wall_s"] / part["pack_size"].clip(lower=1)).median() for part in parts if len(part)]
    return parts[0], float(medians[0]) if medians else None


def _failures(attempts: Frame) -> tuple[Failure, ...]:
    lost = attempts[~attempts["status"].isin(SCORED)].sort_values("finished", ascending=False, kind="stable")
    keys = ["status", "task", "method", "config", "message"]
    found = Counter(lost[keys].itertuples(index=False, name=None))
    return tuple(
        Failure(status, task, method, config, cells, " ".join(message.split()))
        for (status, task, method, config, message), cells in found.items()
    )


def shortened(splits: Sequence[str]) -> str:
    """Splits in few letters: the first and the last."""
    return splits[0] if len(splits) == 1 else f"{splits[0]} … {splits[-1]}"
