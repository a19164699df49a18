"""Scores and training time of every method on a task of classes, beside what was published."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from string import ascii_lowercase

import pandas as pd

from bnnbench.names import TEST
from bnnbench.reporting.averages import averages, look_up
from bnnbench.reporting.comparison import method_of
from bnnbench.reporting.literature import NOTES, Quoted, beside, literature
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Entry, Frame
from bnnbench.reporting.tables.costs import machine
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import EMPTY, cell, number, significant

COLUMNS = {"log_likelihood": "log-likelihood", "error": "error (%)", "ece": "ECE"}
PERCENT = ("error",)
QUOTED = ("log_likelihood", "error")  # metrics of which there are published numbers
SOURCES = ("Antoran", "Blundell")
Entries = dict[tuple[str, str], Entry]  # by row and metric
Times = dict[str, dict[str, float]]  # seconds by row and machine
CAPTION = (
    "Log-likelihood in nats per test image, share of wrong classes, expected calibration error; ± is the standard "
    "error over test images, bold as in the table of each score. Seconds: wall time of training of cells that had the "
    "machine to themselves (mean over seeds), on {machines}."
)


def summary_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """A table a task of one split, and one of all published numbers where there are any of its protocol."""
    tasks = [task for task in section.tasks if look_up(averages(section, task), TEST, "error")]
    tables = {metric: compared(selection, section, metric) for metric in COLUMNS if tasks}
    for task in tasks:
        own = {(row, m): entry for m, t in tables.items() for (row, where), entry in t.entries.items() if where == task}
        times, quoted = seconds(section, task), literature(task)
        rows = [row for row in section.rows if any((row, metric) in own for metric in COLUMNS)]
        caption = CAPTION.format(machines=_machines(times) or "none") + (f" {NOTES[task]}" if quoted else "")
        name, title = f"{section.name}-summary-{task}", f"{task}: scores and training time"
        yield Table(name, title, _grid(rows, own, times, quoted), caption, _numbers(rows, own, times, quoted))
        if quoted:
            yield _listing(section, task, quoted)


def seconds(section: Section, task: str) -> Times:
    """Mean wall time of the cells that trained alone, by row and machine (device and threads)."""
    cells: Frame = section.timed
    alone = cells[(cells["task"] == task) & (cells["pack_size"] == 1)]
    means = alone.groupby(["row", "device", "threads"])["wall_s"].mean()
    found: Times = {}
    for (row, device, threads), value in means.items():
        found.setdefault(str(row), {})[machine(str(device), int(threads))] = float(value)
    return found


def letters(times: Times) -> dict[str, str]:
    """A letter for each machine; none is needed where there is but one."""
    machines = sorted({name for own in times.values() for name in own})
    return dict(zip(machines, ascii_lowercase, strict=False)) if len(machines) > 1 else dict.fromkeys(machines, "")


def _machines(times: Times) -> str:
    """Named in the caption, with their letters."""
    named = letters(times)
    text = ", ".join(f"({letter}) {name}" if letter else name for name, letter in named.items())
    return text + "; times of different letters do not compare" * (len(named) > 1)


def _published(row: str, quoted: list[Quoted]) -> dict[tuple[str, str], float]:
    """What each source says of a row's method, by source and metric."""
    found = {(s, m): beside(quoted, method_of(row), m, s) for s in SOURCES for m in QUOTED}
    return {key: value for key, value in found.items() if value is not None}


def _numbers(rows: list[str], own: Entries, times: Times, quoted: list[Quoted]) -> Frame:
    records = []
    for row in rows:
        record: dict[str, object] = {"method": row}
        for metric in COLUMNS:
            entry = own.get((row, metric), Entry(math.nan, math.nan, 0))
            record |= {metric: entry.mean, f"{metric}_se": entry.se, f"{metric}_best": entry.best}
        alone = times.get(row, {})
        record["train_seconds"] = next(iter(alone.values())) if len(alone) == 1 else math.nan
        record["trained_on"] = "; ".join(
            f"{name}: {value:.10g} s" if len(alone) > 1 else name for name, value in alone.items()
        )
        theirs = _published(row, quoted)
        keys = [(source, metric) for source in SOURCES for metric in QUOTED if quoted]
        records.append(record | {f"{s.lower()}_{m}": theirs.get((s, m), math.nan) for s, m in keys})
    return pd.DataFrame(records)


def _grid(rows: list[str], own: Entries, times: Times, quoted: list[Quoted]) -> Grid:
    lines, named = [], letters(times)
    for row in rows:
        cells = {m: cell(_percent(own[row, m]) if m in PERCENT else own[row, m]) for m in COLUMNS if (row, m) in own}
        cells["time"] = _time(times.get(row, {}), named), False, ""
        cells |= {key: (_theirs(value, key[1]), False, "") for key, value in _published(row, quoted).items()}
        lines += [{"method": row, "column": column, "cell": text} for column, text in cells.items()]
    columns = COLUMNS | {"time": "training (s)"} | {(s, m): f"{s}: {COLUMNS[m]}" for s in SOURCES for m in QUOTED}
    return Grid.from_long(pd.DataFrame(lines), rows, columns, text=lambda line: line["cell"])


def _percent(entry: Entry) -> Entry:
    return replace(entry, mean=100 * entry.mean, se=100 * entry.se, median=100 * entry.median)


def _theirs(value: float, metric: str) -> str:
    return number(100 * value, 2) if metric in PERCENT else number(value, 4)


def _time(own: dict[str, float], named: dict[str, str]) -> str:
    texts = [(f"{v:,.0f}" if v >= 10 else significant(v)) + f" ({named[m]})" * bool(named[m]) for m, v in own.items()]
    return ", ".join(texts) or EMPTY


def _listing(section: Section, task: str, quoted: list[Quoted]) -> Table:
    """Every published number, with where it stands."""
    body: dict[tuple[str, str], dict[str, str]] = {}
    for q in quoted:
        body.setdefault((q.method, q.source), {})[q.metric] = _theirs(q.value, q.metric)
    nearest = {q.method: q.nearest for q in quoted}
    rows = [(method, *(own.get(metric, EMPTY) for metric in QUOTED), nearest[method] or EMPTY, source)
            for (method, source), own in body.items()]  # fmt: skip
    header = ("published method", "log-likelihood", "error (%)", "here", "source")
    numbers = pd.DataFrame(
        [(q.method, q.metric, q.value, q.nearest, q.source, q.locator, q.note) for q in quoted],
        columns=["method", "metric", "value", "here", "source", "locator", "note"],
    )
    caption = (
        "Log-likelihoods in nats per test image; here: the method of the suite that is the same or nearest. "
        + NOTES[task]
    )
    name, title = f"{section.name}-published-{task}", f"{task}: published numbers of this protocol"
    return Table(name, title, Grid.of_texts(header, rows), caption, numbers)
