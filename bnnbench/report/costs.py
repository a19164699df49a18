"""What the cells cost: seconds, gradients, parameters; and which of them gave no result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bnnbench.report.select import Section
from bnnbench.report.statistics import Frame
from bnnbench.report.tables import EMPTY, escape_markdown, markdown
from bnnbench.store.records import SCORED, Status

MISSING = "not run, though other methods of the same task were"


def costs(section: Section) -> Frame:
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
        spans = [_span(own[column].min(), own[column].max()) for column in ("steps", "gradients", "parameters")]
        rows.append([escape_markdown(row), *texts, *spans])
    header = ["method", *map(escape_markdown, section.tasks)]
    return markdown([*header, "gradients per network", "gradients in total", "parameters"], rows)


def _seconds(entry: Any) -> str:
    if entry is None:
        return EMPTY
    seconds = entry["seconds_per_cell"]
    text = f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.2g}" if seconds >= 0.01 else "<0.01"
    return f"{text} ({_span(entry['pack_min'], entry['pack_max'])})"


def _span(low: float, high: float) -> str:
    """`2,701` or `2,701–3,001`."""
    return f"{int(low):,}" if low == high else f"{int(low):,}–{int(high):,}"


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
                found.append([row, task, runs(absent), _sentence("missing"), ""])
    return found


def _names(part: Frame, seeds: bool) -> str:
    """Indices of splits, by seed where there are several."""
    by_seed = part.groupby("seed")["index"].apply(set)
    return "; ".join(f"{runs(splits)} (seed {seed})" if seeds else runs(splits) for seed, splits in by_seed.items())


def runs(numbers: Iterable[int]) -> str:
    """`0–3, 7`: a set of numbers, with consecutive ones drawn together."""
    groups: list[list[int]] = []
    for n in sorted(numbers):
        if groups and n == groups[-1][-1] + 1:
            groups[-1].append(n)
        else:
            groups.append([n])
    return ", ".join(f"{g[0]}–{g[-1]}" if len(g) > 2 else ", ".join(map(str, g)) for g in groups)


def _sentence(status: str) -> str:
    return f"missing: {MISSING}" if status == "missing" else f"{status}: {Status(status).sentence}"


def _short(message: str, limit: int = 160) -> str:
    text = " ".join(message.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
