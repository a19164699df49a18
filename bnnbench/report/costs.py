"""What the cells cost: seconds, gradients, parameters; and which of them gave no result."""

from __future__ import annotations

import pandas as pd

from bnnbench.report.select import Section
from bnnbench.report.tables import EMPTY, escape_markdown, markdown
from bnnbench.store.records import Status

SCORED = ("ok", "unconverged")
MISSING = "not run, though other methods of the same task were"


def costs(section: Section) -> pd.DataFrame:
    """Per task and row: mean seconds a cell, range of pack sizes, steps, gradients, parameters, of scored cells."""
    done = section.attempts[section.attempts["status"].isin(SCORED)]
    done = done.assign(seconds=done["wall_s"] / done["pack_size"].clip(lower=1))
    table = done.groupby(["task", "row"]).agg(
        cells=("seconds", "size"),
        seconds_per_cell=("seconds", "mean"),
        pack_min=("pack_size", "min"),
        pack_max=("pack_size", "max"),
        steps=("steps", "max"),
        gradients=("gradients", "max"),
        parameters=("parameters", "max"),
        peak_memory_mb=("peak_memory_mb", "max"),
    )
    order = [(t, r) for t in section.tasks for r in section.rows if (t, r) in table.index]
    return table.loc[order].reset_index().rename(columns={"row": "method"})


def costs_markdown(section: Section) -> str:
    """Methods x data sets in seconds a cell, pack size in brackets; steps, gradients and parameters over data sets."""
    table = costs(section)
    if table.empty:
        return ""
    indexed = {(str(r["method"]), str(r["task"])): r for _, r in table.iterrows()}
    rows = []
    for row in section.rows:
        own = table[table["method"] == row]
        if own.empty:
            continue
        texts = [_seconds(indexed.get((row, task))) for task in section.tasks]
        spans = [_span(own[column]) for column in ("steps", "gradients", "parameters")]
        rows.append([escape_markdown(row), *texts, *spans])
    header = ["method", *map(escape_markdown, section.tasks)]
    return markdown([*header, "gradients per network", "gradients in total", "parameters"], rows)


def _seconds(entry: pd.Series | None) -> str:
    if entry is None:
        return EMPTY
    seconds = entry["seconds_per_cell"]
    text = f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.2g}" if seconds >= 0.01 else "<0.01"
    return f"{text} ({_span(pd.Series([entry['pack_min'], entry['pack_max']]))})"


def _span(values: pd.Series) -> str:
    """`2,701` or `2,701–3,001`."""
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def troubles(section: Section) -> list[list[str]]:
    """Method, task, splits, what happened, message: cells without a score or with a warning, and splits not run."""
    found: list[list[str]] = []
    cells = section.scores.drop_duplicates("fingerprint")
    messages = section.attempts.set_index("fingerprint")["message"].to_dict()
    bad = cells[cells["status"] != "ok"]
    bad = bad.assign(message=bad["fingerprint"].map(messages).fillna("").astype(str))
    for task in section.tasks:
        here = cells[cells["task"] == task]
        splits = set(here["index"])
        for row in section.rows:
            own = bad[(bad["task"] == task) & (bad["row"] == row)]
            for (status, message), part in own.groupby(["status", "message"], sort=True):
                seeds = here["seed"].nunique() > 1
                names = _names(part, seeds)
                found.append([row, task, names, _sentence(str(status)), _short(str(message))])
            absent = splits - set(here.loc[here["row"] == row, "index"])
            if absent and absent != splits:
                found.append([row, task, ", ".join(map(str, sorted(absent))), _sentence("missing"), ""])
    return found


def _names(part: pd.DataFrame, seeds: bool) -> str:
    """Indices of splits, with the seeds where there are several."""
    pairs = sorted(set(zip(part["index"], part["seed"], strict=True)))
    return ", ".join(f"{i} (seed {s})" if seeds else str(i) for i, s in pairs)


def _sentence(status: str) -> str:
    return f"missing: {MISSING}" if status == "missing" else f"{status}: {Status(status).sentence}"


def _short(message: str, limit: int = 160) -> str:
    text = " ".join(message.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
