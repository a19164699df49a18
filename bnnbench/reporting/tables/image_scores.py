"""The table of an image task: scores and training time of every method, beside what was published."""

from __future__ import annotations

import math
from dataclasses import replace
from string import ascii_lowercase

import pandas as pd

from bnnbench.records import SCORED
from bnnbench.reporting.extra import Extra
from bnnbench.reporting.images import SAMPLE
from bnnbench.reporting.literature import NOTES, Quoted, beside, literature
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Entry, Frame
from bnnbench.reporting.tables.costs import machine
from bnnbench.reporting.tables.grid import EMPTY, Grid, Text, cell, number, significant

COLUMNS = {"log_likelihood": "log-likelihood", "error": "error (%)", "ece": "ECE"}
Entries = dict[tuple[str, str], Entry]
Times = dict[str, dict[str, float]]  # seconds by row and machine
SOURCES = ("Antoran", "Blundell")
CAPTION = (
    "Log-likelihood in nats per test image, share of wrong classes, expected calibration error; ± is the standard "
    "error over test images, bold as in the table of each score. Seconds: wall time of training of cells that had the "
    "machine to themselves (mean over seeds), on {machines}."
)


def image_scores(selection: Selection, section: Section) -> list[Extra]:
    """A table a task, and one of all published numbers where there are any of its protocol."""
    found = []
    for task in section.tasks:
        own = _entries(selection, section, task)
        rows = [r for r in section.rows if any((m, r) in own for m in COLUMNS)]
        if not rows:
            continue
        quoted = [] if section.group == SAMPLE else literature(task)
        times = seconds(section, task)
        numbers = _numbers(rows, own, quoted, times)
        caption = CAPTION.format(machines=_machines(times) or "none") + (f" {NOTES[task]}" if quoted else "")
        name = f"{section.name}-summary-{task}"
        found.append(
            Extra(name, f"{task}: scores and training time", _grid(numbers, own, quoted, times), caption, numbers)
        )
        if quoted:
            found.append(_listing(section, task, quoted))
    return found


def _entries(selection: Selection, section: Section, task: str) -> Entries:
    """The entries of the headline tables, by metric and row."""
    found: Entries = {}
    for metric in COLUMNS:
        table = compared(selection, section, metric, [task])
        found |= {(metric, row): entry for (row, _), entry in table.entries.items()}
    return found


def seconds(section: Section, task: str) -> Times:
    """Mean wall time of the cells that trained alone, by row and machine (device and threads)."""
    cells: Frame = section.attempts[section.attempts["task"] == task]
    alone = cells[cells["status"].isin(SCORED) & (cells["pack_size"] == 1)]
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


def _numbers(rows: list[str], own: Entries, quoted: list[Quoted], times: Times) -> Frame:
    records = []
    for row in rows:
        record: dict[str, object] = {"method": row}
        for metric in COLUMNS:
            entry = own.get((metric, row))
            known = (math.nan, math.nan, False) if entry is None else (entry.mean, entry.se, entry.best)
            record |= dict(zip((metric, f"{metric}_se", f"{metric}_best"), known, strict=True))
        alone = times.get(row, {})
        record["train_seconds"] = next(iter(alone.values())) if len(alone) == 1 else math.nan
        record["trained_on"] = "; ".join(
            f"{name}: {value:.10g} s" if len(alone) > 1 else name for name, value in alone.items()
        )
        for source in SOURCES if quoted else ():
            for metric in ("log_likelihood", "error"):
                value = beside(quoted, row.partition(" [")[0], metric, source)
                record[f"{source.lower()}_{metric}"] = math.nan if value is None else value
        records.append(record)
    return pd.DataFrame(records)


def _grid(numbers: Frame, own: Entries, quoted: list[Quoted], times: Times) -> Grid:
    theirs = [
        (f"{s.lower()}_{m}", f"{s}: {COLUMNS[m]}")
        for s in SOURCES
        for m in ("log_likelihood", "error")
        if quoted and numbers[f"{s.lower()}_{m}"].notna().any()
    ]
    rows = []
    for _, record in numbers.iterrows():
        name = str(record["method"])
        cells: list[Text] = [cell(_percent(own.get((metric, name)), metric)) for metric in COLUMNS]
        cells.append((_time(times.get(name, {}), letters(times)), False, ""))
        cells += [(_theirs(float(record[key]), key), False, "") for key, _ in theirs]
        rows.append((name, tuple(cells)))
    return Grid(("method", *COLUMNS.values(), "training (s)", *(title for _, title in theirs)), tuple(rows))


def _percent(entry: Entry | None, metric: str) -> Entry | None:
    if entry is None or metric != "error":
        return entry
    return replace(entry, mean=100 * entry.mean, se=100 * entry.se, median=100 * entry.median)


def _theirs(value: float, key: str) -> str:
    if math.isnan(value):
        return EMPTY
    return number(100 * value, 2) if key.endswith("_error") else number(value, 4)


def _time(own: dict[str, float], named: dict[str, str]) -> str:
    texts = [(f"{v:,.0f}" if v >= 10 else significant(v)) + f" ({named[m]})" * bool(named[m]) for m, v in own.items()]
    return ", ".join(texts) or EMPTY


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
        texts += [(known.nearest or EMPTY, False, ""), (known.source, False, "")]
        rows.append((method, tuple(texts)))
    header = ("published method", "log-likelihood", "error (%)", "here", "source")
    numbers = pd.DataFrame(
        [(q.method, q.metric, q.value, q.nearest, q.source, q.locator, q.note) for q in quoted],
        columns=["method", "metric", "value", "here", "source", "locator", "note"],
    )
    caption = (
        "Log-likelihoods in nats per test image; here: the method of the suite that is the same or nearest. "
        + NOTES[task]
    )
    name = f"{section.name}-published-{task}"
    return Extra(name, f"{task}: published numbers of this protocol", Grid(header, tuple(rows)), caption, numbers)
