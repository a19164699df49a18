"""The table of an image task: scores and training time of every method, beside what was published."""

from __future__ import annotations

import math

import pandas as pd

from bnnbench.report.extra import Extra
from bnnbench.report.images import SAMPLE, Values, unconverged, values
from bnnbench.report.literature import NOTES, Quoted, beside, literature
from bnnbench.report.select import Section, Selection
from bnnbench.report.statistics import Frame
from bnnbench.report.tables import EMPTY, UNCONVERGED, Grid, Text, mean_and_error, number, significant
from bnnbench.store.records import SCORED

COLUMNS = {"log_likelihood": "log-likelihood", "error": "error (%)", "ece": "ECE"}
BETTER = {"log_likelihood": 1, "error": -1, "ece": -1}
SOURCES = ("Antoran", "Blundell")
CAPTION = (
    "Log-likelihood in nats per test image, share of wrong classes, expected calibration error; ± is the standard "
    "error over test images, bold the best value. Seconds: wall time of training of cells that had the machine to "
    "themselves (mean over seeds)."
)
SAMPLED = " A sample of the images stands in for the data set: never compare these numbers with published ones."


def image_scores(selection: Selection, section: Section) -> list[Extra]:
    """A table a task, and one of all published numbers where there are any of its protocol."""
    found = []
    for task in section.tasks:
        own = values(section, task)
        rows = [r for r in section.rows if any((r, "test", m) in own for m in COLUMNS)]
        if not rows:
            continue
        quoted = [] if section.group == SAMPLE else literature(task, selection.store.published())
        numbers = _numbers(section, task, rows, own, quoted)
        caption = CAPTION + (f" {NOTES[task]}" if quoted else "") + SAMPLED * (section.group == SAMPLE)
        grid = _grid(numbers, quoted, unconverged(section, task))
        name = f"{section.name}-summary-{task}"
        found.append(Extra(name, f"{task}: scores and training time", grid, caption, numbers))
        if quoted:
            found.append(_listing(section, task, quoted))
    return found


def seconds(section: Section, task: str) -> dict[str, float]:
    """Mean wall time of the cells that trained alone, by row."""
    cells: Frame = section.attempts[section.attempts["task"] == task]
    alone = cells[cells["status"].isin(SCORED) & (cells["pack_size"] == 1)]
    return {str(row): float(s) for row, s in alone.groupby("row")["wall_s"].mean().items()}


def _numbers(section: Section, task: str, rows: list[str], own: Values, quoted: list[Quoted]) -> Frame:
    times = seconds(section, task)
    records = []
    for row in rows:
        record: dict[str, object] = {"method": row}
        for metric in COLUMNS:
            record[metric], record[f"{metric}_se"] = own.get((row, "test", metric), (math.nan, math.nan))
        record["train_seconds"] = times.get(row, math.nan)
        for source in SOURCES if quoted else ():
            for metric in ("log_likelihood", "error"):
                value = beside(quoted, row.partition(" [")[0], metric, source)
                record[f"{source.lower()}_{metric}"] = math.nan if value is None else value
        records.append(record)
    table: Frame = pd.DataFrame(records)
    for metric, better in BETTER.items():
        finite = table[metric].where(table[metric].abs() < math.inf)
        table[f"{metric}_best"] = finite == (finite.max() if better > 0 else finite.min())
    return table


def _grid(numbers: Frame, quoted: list[Quoted], doubtful: set[str]) -> Grid:
    theirs = [
        (f"{s.lower()}_{m}", f"{s}: {COLUMNS[m]}")
        for s in SOURCES
        for m in ("log_likelihood", "error")
        if quoted and numbers[f"{s.lower()}_{m}"].notna().any()
    ]
    rows = []
    for _, record in numbers.iterrows():
        mark = UNCONVERGED * (record["method"] in doubtful)
        cells: list[Text] = [_own(record, metric, mark) for metric in COLUMNS]
        cells.append((_time(float(record["train_seconds"])), False, ""))
        cells += [(_theirs(float(record[key]), key), False, "") for key, _ in theirs]
        rows.append((str(record["method"]), tuple(cells)))
    return Grid(("method", *COLUMNS.values(), "training (s)", *(title for _, title in theirs)), tuple(rows))


def _own(record: Frame, metric: str, mark: str) -> Text:
    value, se = float(record[metric]), float(record[f"{metric}_se"])
    if math.isnan(value):
        return EMPTY, False, ""
    scale = 100 if metric == "error" else 1
    return mean_and_error(scale * value, scale * se), bool(record[f"{metric}_best"]), mark


def _theirs(value: float, key: str) -> str:
    if math.isnan(value):
        return EMPTY
    return number(100 * value, 2) if key.endswith("_error") else number(value, 4)


def _time(value: float) -> str:
    return EMPTY if math.isnan(value) else f"{value:,.0f}" if value >= 10 else significant(value)


def _listing(section: Section, task: str, quoted: list[Quoted]) -> Extra:
    """Every published number, with where it stands."""
    names = dict.fromkeys((q.method, q.source) for q in quoted)
    by_key = {(q.method, q.source, q.metric): q for q in quoted}
    rows = []
    for method, source in names:
        texts: list[Text] = []
        for metric in ("log_likelihood", "error"):
            q = by_key.get((method, source, metric))
            texts.append((EMPTY if q is None else _theirs(q.value, f"_{metric}"), False, ""))
        known = next(q for q in quoted if (q.method, q.source) == (method, source))
        texts += [(known.source, False, ""), (known.locator, False, "")]
        rows.append((method, tuple(texts)))
    header = ("published method", "log-likelihood", "error (%)", "source", "where")
    numbers = pd.DataFrame(
        [(q.method, q.metric, q.value, q.source, q.locator, q.note) for q in quoted],
        columns=["method", "metric", "value", "source", "locator", "note"],
    )
    caption = "Log-likelihoods in nats per test image. " + NOTES[task]
    name = f"{section.name}-published-{task}"
    return Extra(name, f"{task}: published numbers of this protocol", Grid(header, tuple(rows)), caption, numbers)
