"""All that the page knows, as columns of numbers and names that become JSON.

Every statistic is computed here; the page selects, sorts and draws. Methods, sessions and messages are named by their
place in a list.
"""

from __future__ import annotations

from typing import Any

from bnnbench import names
from bnnbench.reporting.figures.palette import members
from bnnbench.reporting.literature import literature
from bnnbench.reporting.page.boards import board
from bnnbench.reporting.page.colours import both
from bnnbench.reporting.page.compact import Names, number, numbers
from bnnbench.reporting.page.scopes import scopes
from bnnbench.reporting.pages import FOLDERS, SPLIT_RULES
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.stored_splits import NOISE, published
from bnnbench.reporting.tables.behind import behind_tables
from bnnbench.reporting.tables.costs import shortened
from bnnbench.reporting.tables.text import cell, words

SHOWN = 16  # digits of a fingerprint: `bnnbench show` takes a unique beginning


def payload(selection: Selection) -> dict[str, Any]:
    """The page's data of a selection, those of budgets that the tables do not show too."""
    sections = (*selection.sections, *selection.others)
    sessions, messages = Names[int](), Names[str]([""])
    shown = [_section(selection, section, sessions, messages) for section in sections]
    return {
        "about": _about(selection),
        "rows": _rows(selection, sections),
        "tasks": _tasks(selection, sections),
        "metrics": {name: _metric(selection, name) for section in sections for name in section.metrics},
        "sections": shown,
        "scopes": [board(selection, scope) for scope in scopes(sections)],
        "sessions": _sessions(selection, list(sessions)),
        "messages": list(messages),
        "published": {task: found for section in sections for task in section.tasks if (found := _published(task))},
    }


def _about(selection: Selection) -> dict[str, Any]:
    return {
        "fingerprint": selection.fingerprint,
        "superseded": str(selection.superseded),
        "left_out": selection.left_out,
    }


def _rows(selection: Selection, sections: tuple[Section, ...]) -> dict[str, dict[str, Any]]:
    """Of every row: its method's definition, colours, configuration."""
    known, places = selection.methods.set_index("name"), members(selection.methods)
    found: dict[str, dict[str, Any]] = {}
    for section in sections:
        other = set(section.scores.loc[section.scores["other_target"], "row"])
        for own in section.attempts.drop_duplicates("row").to_dict("records"):
            method, row = str(own["method"]), str(own["row"])
            if row in found:
                continue
            record, member = known.loc[method], places[method]
            found[row] = {
                "method": method,
                "family": member.family.title,
                "colours": both(member),
                "tags": list(record["tags"]),
                "citation": str(record["citation"]),
                "role": str(record["role"]),
                "version": int(own["method_version"]),
                "label": str(own["config"]),
                "configuration": str(own["configuration"]),
                "other_target": row in other,
                "superseded": selection.superseded.marked(method) != method,
            }
    return found


def _tasks(selection: Selection, sections: tuple[Section, ...]) -> dict[str, dict[str, Any]]:
    known = selection.tasks.set_index("name")
    shown = dict.fromkeys(task for section in sections for task in section.tasks)
    return {
        task: {
            "kind": str(known.at[task, "kind"]),
            "citation": str(known.at[task, "citation"]),
            "version": str(known.at[task, "version"]),
            "notes": list(selection.notes(task)),
            "warning": str(known.at[task, "warning"] or ""),
            "superseded": selection.superseded.marked(task) != task,
        }
        for task in shown
    }


def _metric(selection: Selection, name: str) -> dict[str, Any]:
    definition = selection.metric(name)
    return {
        "words": words(name),
        "better": definition.better,
        "unit": definition.unit,
        "summary": definition.summary,
    }


def _section(selection: Selection, section: Section, sessions: Names[int], messages: Names[str]) -> dict[str, Any]:
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


def _sessions(selection: Selection, wanted: list[int]) -> list[dict[str, Any]]:
    known = selection.sessions.drop_duplicates("id").set_index("id")
    return [_session(known, i) for i in wanted]


def _session(known: Frame, i: int) -> dict[str, Any]:
    found = known.loc[i]
    texts = {name: str(found[name]) for name in ("revision", "device", "host")}
    versions = found["versions"] if isinstance(found["versions"], dict) else {}
    return texts | {
        "dirty": bool(found["dirty"]),
        "threads": int(found["threads"]),
        "started": str(found["started"]),
        "command": FOLDERS.sub("", str(found["command"])),
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
    }


def _published(task: str) -> list[dict[str, Any]]:
    """Numbers from the literature for this data set, whatever the protocol, which each names."""
    stored = [
        {
            "method": p.name,
            "metric": p.metric,
            "value": number(p.value),
            "se": number(p.se, 3),
            "who": p.source.short,
            "rules": [rule for rule, noise in NOISE.items() if noise == p.source.noise],
            "ours": list(p.source.ours),
            "note": f"{p.source.noise} noise, "
            + ("the stored splits" if p.source.stored else "random splits of its own"),
        }
        for p in published()
        if p.task == task
    ]
    quoted = [
        {
            "method": q.method,
            "metric": q.metric,
            "value": number(q.value),
            "se": None,
            "who": q.source,
            "rules": ["official"],
            "ours": [q.nearest] if q.nearest else [],
            "note": f"{q.locator}. {q.note}".strip(),
        }
        for q in literature(task)
    ]
    return stored + quoted
