"""All that the page knows, as columns of numbers and names that become JSON.

Every statistic is computed here; the page selects, sorts and draws. Methods, sessions and messages are named by their
place in a list.
"""

from __future__ import annotations

from typing import Any

from bnnbench.reporting.figures.palette import members
from bnnbench.reporting.page.boards import board
from bnnbench.reporting.page.colours import both
from bnnbench.reporting.page.compact import Names
from bnnbench.reporting.page.listed import across, listed
from bnnbench.reporting.page.nearness import nearness
from bnnbench.reporting.page.quoted import quoted
from bnnbench.reporting.page.scopes import scopes
from bnnbench.reporting.page.sections import columns_of
from bnnbench.reporting.provenance import FOLDERS
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.text import words


def payload(selection: Selection) -> dict[str, Any]:
    """The page's data of a selection, those of budgets that the tables do not show too."""
    sections = (*selection.sections, *selection.others)
    sessions, messages = Names[int](), Names[str]([""])
    shown = [columns_of(selection, section, sessions, messages) for section in sections]
    return {
        "about": _about(selection),
        "rows": _rows(selection, sections),
        "tasks": _tasks(selection, sections),
        "metrics": {name: _metric(selection, name) for section in sections for name in section.metrics},
        "sections": shown,
        "scopes": [board(selection, scope) for scope in scopes(selection)],
        "sessions": _sessions(selection, list(sessions)),
        "messages": list(messages),
        "nearness": nearness(selection),
        "across": listed(across(selection)),
        "published": {task: found for section in sections for task in section.tasks if (found := quoted(task))},
    }


def _about(selection: Selection) -> dict[str, Any]:
    return {
        "fingerprint": selection.fingerprint,
        "superseded": str(selection.superseded),
        "left_out": selection.left_out,
    }


def _rows(selection: Selection, sections: tuple[Section, ...]) -> dict[str, dict[str, Any]]:
    """Of every row: its method's definition, colours, configuration."""
    known, places = selection.methods.drop_duplicates("name", keep="last").set_index("name"), members(selection.methods)
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
    known = selection.tasks.drop_duplicates("name", keep="last").set_index("name")
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
