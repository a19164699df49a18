"""Which cells gave no result, or one that their own diagnostics flag, and which were not run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from bnnbench.records import SCORED, Status
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import EMPTY

MISSING = "not run, though other methods of the same task were"
UNSCORED = "its scores are missing from the database"
HEADER = ("method", "data set", "splits", "what happened", "message")
CAPTION = "Cells without a score, those that the methods' own diagnostics flag, and splits that were not run."


def failure_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table, if there are any."""
    del selection
    if rows := troubles(section):
        title = f"{section.group}: failed, flagged or missing cells"
        numbers = pd.DataFrame(rows, columns=pd.Index([name.replace(" ", "_") for name in HEADER]))
        yield Table(f"{section.name}-failures", title, Grid.of_texts(HEADER, rows), CAPTION, numbers)


def troubles(section: Section) -> list[list[str]]:
    """Method, task, splits, what happened, message: cells without a score or with a warning, and splits not run."""
    return [*_bad(section), *_absent(section)]


def _bad(section: Section) -> Iterator[list[str]]:
    cells = section.scores.drop_duplicates("fingerprint")
    messages = section.attempts.set_index("fingerprint")["message"].to_dict()
    scored = section.scores.loc[section.scores["metric"] != "", "fingerprint"].unique()
    without = ~cells["fingerprint"].isin(scored)
    cells = cells.assign(unscored=cells["status"].isin(SCORED) & without)
    bad = cells[(cells["status"] != "ok") | cells["unscored"]]
    message = bad["fingerprint"].map(messages).fillna("").astype(str)
    bad = bad.assign(message=message.where(~bad["unscored"], UNSCORED))
    for task in section.tasks:
        seeds = cells.loc[cells["task"] == task, "seed"].nunique() > 1
        for row in section.rows:
            own = bad[(bad["task"] == task) & (bad["row"] == row)]
            for (status, message), part in own.groupby(["status", "message"], sort=True):
                yield [row, task, _names(part, seeds), _sentence(str(status)), shortened(str(message)) or EMPTY]


def _absent(section: Section) -> Iterator[list[str]]:
    """Splits that some methods have and a method has not, on one line where it lacks the same of several tasks."""
    splits = section.scores.groupby(["task", "row"])["index"].agg(set)
    whole = {task: set[int]().union(*splits[task]) for task in section.tasks}
    for row in section.rows:
        lacking: dict[str, list[str]] = {}
        for task in (task for task in section.tasks if (task, row) in splits.index):
            if absent := whole[task] - splits[task, row]:
                lacking.setdefault(runs(absent), []).append(task)
        for absent, tasks in lacking.items():
            yield [row, ", ".join(tasks), absent, _sentence("missing"), EMPTY]


def _names(part: Frame, seeds: bool) -> str:
    """Indices of splits, by seed where there are several."""
    by_seed = part.groupby("seed")["index"].apply(set)
    return "; ".join(f"{runs(splits)} (seed {seed})" if seeds else runs(splits) for seed, splits in by_seed.items())


def runs(numbers: Iterable[int]) -> str:
    """`0–3, 7`: a set of numbers, consecutive ones as a range."""
    groups: list[list[int]] = []
    for n in sorted(numbers):
        if groups and n == groups[-1][-1] + 1:
            groups[-1].append(n)
        else:
            groups.append([n])
    return ", ".join(f"{g[0]}–{g[-1]}" if len(g) > 2 else ", ".join(map(str, g)) for g in groups)


def _sentence(status: str) -> str:
    if status == "missing":
        return f"missing: {MISSING}"
    known = status in [each.value for each in Status]
    return f"{status}: {Status(status).sentence if known else 'a status that this version does not know'}"


def shortened(message: str, limit: int = 160) -> str:
    """A message on one line, cut where it is long."""
    text = " ".join(message.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
