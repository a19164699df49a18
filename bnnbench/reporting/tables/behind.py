"""Why is a method worse than the baseline? What its cells say of themselves, and what its scores say together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bnnbench import names
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Entry, Frame
from bnnbench.reporting.tables.failures import runs, shortened
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import EMPTY, WORSE, significant, words

SCORE = "log_likelihood"
ACCURACY = {"rmse": "coverage_95", "error": "ece"}  # of the predictions alone -> whether they are overconfident
HELD = 0.9  # of 95 % intervals: with fewer targets in them a method is overconfident of most, with more of a few
CAPTION = (
    "What {worse} marks in the tables above: methods that are worse than {baselines} on the test rows, with the number "
    "of splits and which. Own diagnosis: what the method says of its own cells there. Inaccurate: both the predictions "
    "and their likelihood are worse than the baseline's. Overconfident: the predictions are better, and yet so narrow "
    "that their likelihood is worse; the share of targets in central 95 % intervals tells whether everywhere or at a "
    "few points. Partly inaccurate: the predictions are worse and their likelihood is not, for a mixture, or a wide "
    "predictive, forgives what its mean does not."
)


@dataclass(frozen=True)
class Behind:
    """A method behind the baseline on a data set.

    Attributes:
        entries: those of the metrics by which it is, in the order of the tables.
        diagnosis: what its cells on these splits say of themselves.
        accuracy: metric of the predictions alone; empty: it has none.
        off, sure, part: splits behind by the score and by the accuracy, by the score alone, by the accuracy alone.
        sureness: mean of what `ACCURACY` names on the splits `sure`.
    """

    entries: Mapping[str, Entry]
    diagnosis: str
    accuracy: str = ""
    off: frozenset[str] = frozenset()
    sure: frozenset[str] = frozenset()
    part: frozenset[str] = frozenset()
    sureness: float = math.nan

    @property
    def where(self) -> str:
        """`log-likelihood 3/10 (4, 7, 9), RMSE 1/10 (3)`."""
        return ", ".join(
            f"{words(metric)} {entry.worse}/{entry.judged}" + f" ({_indices(entry.behind)})" * (entry.judged > 1)
            for metric, entry in self.entries.items()
        )

    @property
    def why(self) -> str:
        """In words: inaccurate, overconfident, partly inaccurate."""
        kinds = {"inaccurate": self.off, f"overconfident{self._how_sure()}": self.sure, "partly inaccurate": self.part}
        found = {text: splits for text, splits in kinds.items() if splits}
        several = len(found) > 1
        texts = (text + f" ({_indices(splits)})" * several for text, splits in found.items())
        return "; ".join(texts) or EMPTY

    def _how_sure(self) -> str:
        if math.isnan(self.sureness):
            return ""
        if ACCURACY[self.accuracy] != "coverage_95":
            return f", {words(ACCURACY[self.accuracy])} {significant(self.sureness)}"
        far = "" if self.sureness < HELD else ", a few targets far outside"
        return f", 95 % intervals hold {self.sureness:.0%}{far}"


def behind_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table, if any method is worse than the baseline anywhere."""
    tables = {metric: compared(selection, section, metric) for metric in section.metrics}
    places = [(row, task) for row in section.rows for task in section.tasks]
    own = {
        place: {m: table.entries[place] for m, table in tables.items() if place in table.entries} for place in places
    }
    found = {place: _behind(section, *place, entries) for place, entries in own.items()
             if any(entry.behind for entry in entries.values())}  # fmt: skip
    if not found:
        return
    lines = [(row, task, b.where, b.diagnosis or EMPTY, b.why) for (row, task), b in found.items()]
    header = ("method", "data set", "splits behind by", "own diagnosis", "what the scores say")
    numbers = pd.DataFrame([line for place, b in found.items() for line in _records(*place, b)])
    baselines = dict.fromkeys(name for table in tables.values() for name in table.baselines)
    caption = CAPTION.format(worse=WORSE, baselines=" or ".join(baselines))
    title = f"{section.group}: behind the baseline"
    yield Table(f"{section.name}-behind", title, Grid.of_texts(header, lines), caption, numbers)


def _behind(section: Section, row: str, task: str, entries: Mapping[str, Entry]) -> Behind:
    scores: Frame = section.scores[(section.scores["row"] == row) & (section.scores["task"] == task)]
    behind = {metric: frozenset(entry.behind) for metric, entry in entries.items()}
    shown = {metric: entry for metric, entry in entries.items() if entry.behind}
    diagnosis = _diagnosis(section, scores[scores["split"].isin(frozenset().union(*behind.values()))])
    accuracy = next((metric for metric in ACCURACY if metric in behind), "")
    if SCORE not in behind or not accuracy:
        return Behind(shown, diagnosis)
    score, off = behind[SCORE], behind[accuracy]
    sureness = _mean(scores[scores["split"].isin(score - off)], ACCURACY[accuracy])
    return Behind(shown, diagnosis, accuracy, score & off, score - off, off - score, sureness)


def _diagnosis(section: Section, scores: Frame) -> str:
    """What the cells of these scores say of themselves: the first message, and of how many."""
    cells = section.attempts[section.attempts["fingerprint"].isin(scores["fingerprint"])]
    flagged = cells[cells["status"] != "ok"]
    if flagged.empty:
        return ""
    message = next(filter(None, map(str, flagged["message"])), str(flagged["status"].iloc[0]))
    return f"{len(flagged)} of {len(cells)} cells: {shortened(message)}"


def _mean(scores: Frame, metric: str) -> float:
    return float(scores.loc[(scores["metric"] == metric) & (scores["evaluation"] == names.TEST), "value"].mean())


def _indices(splits: Iterable[str]) -> str:
    return runs(names.parse_split(split)[1] for split in splits)


def _records(row: str, task: str, found: Behind) -> list[dict[str, Any]]:
    """A line a metric."""
    common = {"own_diagnosis": found.diagnosis, "why": found.why}
    return [
        {
            "task": task,
            "method": row,
            "metric": metric,
            "splits_worse_than_baseline": entry.worse,
            "splits_judged": entry.judged,
            "splits": " ".join(entry.behind),
            **common,
        }
        for metric, entry in found.entries.items()
    ]
