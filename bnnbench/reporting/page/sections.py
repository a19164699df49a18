"""A section as columns: comparisons as the tables show them, and every cell behind them."""

from __future__ import annotations

from typing import Any

from bnnbench import names
from bnnbench.reporting.page.compact import Names, numbers
from bnnbench.reporting.page.curves import curves_of
from bnnbench.reporting.page.listed import listed
from bnnbench.reporting.page.shifts import shifts_of
from bnnbench.reporting.pages import SPLIT_RULES
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.behind import behind_tables
from bnnbench.reporting.tables.every import section_tables
from bnnbench.reporting.tables.failures import shortened
from bnnbench.reporting.tables.text import cell

SHOWN = 16  # digits of a fingerprint: `bnnbench show` takes a unique beginning


def columns_of(selection: Selection, section: Section, sessions: Names[int], messages: Names[str]) -> dict[str, Any]:
    """Comparisons, cells and troubles of one section."""
    behind = [line for table in behind_tables(selection, section) for line in table.grid.rows]
    return {
        "group": section.group,
        "rule": section.rule,
        "splits": SPLIT_RULES.get(section.rule, ""),
        "budget": section.budget,
        "warning": section.warning,
        "rows": list(section.rows),
        "tasks": list(section.tasks),
        "metrics": list(section.metrics),
        "entries": {metric: _entries(selection, section, metric) for metric in section.metrics},
        "cells": {task: _cells(section, task, sessions, messages) for task in section.tasks},
        "tables": listed(section_tables(selection, section)),
        "curves": curves_of(selection, section),
        "shifts": shifts_of(selection, section),
        "behind": [[row, *(text for text, _, _ in own)] for row, own in behind],
    }


def _entries(selection: Selection, section: Section, metric: str) -> dict[str, dict[str, list[Any]]]:
    """By task, columns over the rows that were run on it: place of the row, mean, error, and the text of the tables."""
    table, found = compared(selection, section, metric), {}
    for task in table.tasks:
        own = [
            (place, table.entries[row, task]) for place, row in enumerate(section.rows) if (row, task) in table.entries
        ]
        texts = [cell(entry) for _, entry in own]
        found[task] = {
            "row": [place for place, _ in own],
            "mean": numbers(entry.mean for _, entry in own),
            "se": numbers((entry.se for _, entry in own), 4),
            "text": [text for text, _, _ in texts],
            "best": [int(best) for _, best, _ in texts],
            "marks": [marks for _, _, marks in texts],
        }
    return found


def _cells(section: Section, task: str, sessions: Names[int], messages: Names[str]) -> dict[str, Any]:
    """Columns over the cells of a task: what each is, what it cost, and its headline scores on the test rows."""
    own: Frame = section.attempts[section.attempts["task"] == task].drop_duplicates("fingerprint")
    scores: Frame = section.scores
    wanted = (scores["task"] == task) & (scores["evaluation"] == names.TEST) & scores["metric"].isin(section.metrics)
    values = scores[wanted].pivot_table(index="fingerprint", columns="metric", values="value", dropna=False, sort=False)
    values = values.reindex(own["fingerprint"])
    seconds = own["wall_s"] / own["pack_size"].clip(lower=1)
    return {
        "row": [section.rows.index(row) for row in own["row"]],
        "split": own["index"].tolist(),
        "seed": own["seed"].tolist(),
        "status": own["status"].tolist(),
        "cell": own["fingerprint"].str[:SHOWN].tolist(),
        "session": [sessions.place(int(i)) for i in own["session"]],
        "message": [messages.place(shortened(str(text))) for text in own["message"].fillna("")],
        "gradients": numbers(own["gradients"]),
        "steps": numbers(own["steps"]),
        "parameters": numbers(own["parameters"]),
        "pack": own["pack_size"].tolist(),
        "seconds": numbers(seconds, 3),
        "values": {metric: numbers(values[metric]) for metric in section.metrics if metric in values},
    }
