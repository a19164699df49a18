"""Where the numbers come from: in full for a page of its own, in short for the first one."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from bnnbench.reporting.escape import code, escape_markdown, one_line
from bnnbench.reporting.external import described
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame

FOLDERS = re.compile(r"(?<=[\s=])/\S*/(?=[^/\s])")  # those of absolute paths
UNFOLDED = 5  # revisions or commands that are shown at once
SHOWN = 12  # digits of the fingerprint in short


def provenance(selection: Selection) -> str:
    """All of it, as lists."""
    sessions = _used_sessions(selection)
    revisions = [
        code(str(r)) + " with uncommitted changes" * bool(d)
        for r, d in zip(sessions["revision"], sessions["dirty"], strict=True)
    ]
    known = [row for row in sessions["versions"] if isinstance(row, dict)]
    versions = sorted({f"{k} {v}" for row in known for k, v in row.items()})
    lines = [
        ("Versions", ", ".join(versions)),
        *((name, "; ".join(_distinct(sessions[name.lower()].map(str)))) for name in ("Device", "Host", "Threads")),
        ("Budget", ", ".join(sorted({s.budget for s in selection.sections}))),
        ("Cells shown", cells(selection.sections)),
        ("Scores in the database", f"sha256 {selection.fingerprint}"),
    ]
    if selection.external:
        attempts = pd.concat([s.attempts for s in selection.sections])
        elsewhere = described(selection.external, selection.methods, attempts)
        lines.append(("Predictions made elsewhere, as told by whom they come from", "; ".join(elsewhere)))
    if selection.left_out:
        left = f"{selection.left_out:,} cells of superseded versions or defaults of a task or method"
        lines.append(("Left out", left))
    if selection.notices:
        lines.append(("Left out of the figures", "; ".join(selection.notices)))
    commands = [code(FOLDERS.sub("", str(command))) for command in sessions["command"]]
    return _list(lines) + _listed("Code revision", revisions) + _listed("Command (paths by their last part)", commands)


def brief(selection: Selection) -> str:
    """What tells one database from another: cells, budgets, devices, versions of the two main packages, fingerprint."""
    sessions = _used_sessions(selection)
    known = [row for row in sessions["versions"] if isinstance(row, dict)]
    versions = sorted({f"{k} {row[k]}" for row in known for k in ("bnnbench", "torch") if k in row})
    lines = [
        ("Cells", cells(selection.sections)),
        ("Budget", ", ".join(sorted({s.budget for s in selection.sections}))),
        ("Device", "; ".join(_distinct(sessions["device"].map(str)))),
        ("Versions", ", ".join(versions) or "unknown"),
        ("Scores in the database", f"sha256 {selection.fingerprint[:SHOWN]}…"),
    ]
    return _list(lines)


def cells(sections: Iterable[Section]) -> str:
    """`2,623 ok, 19 unconverged`."""
    own = [section.scores.drop_duplicates("fingerprint")["status"] for section in sections]
    counts: Frame = pd.concat(own).value_counts()
    return ", ".join(f"{n:,} {status}" for status, n in sorted(counts.items()))


def _list(lines: Iterable[tuple[str, str]]) -> str:
    return "".join(f"* {name}: {escape_markdown(value)}\n" for name, value in lines)


def _listed(name: str, values: Iterable[str]) -> str:
    """One value in the list of provenance, several below it, and many folded."""
    found = _distinct(values)
    if len(found) == 1:
        return f"* {name}: {found[0]}\n"
    items = "".join(f"* {value}\n" for value in found)
    if len(found) <= UNFOLDED:
        return f"\n{name}:\n\n{items}\n"
    return f"\n<details>\n<summary>{name}: {len(found)}</summary>\n\n{items}\n</details>\n"


def _used_sessions(selection: Selection) -> Frame:
    """Sessions that trained a cell shown here, oldest first."""
    sessions = selection.sessions
    used = {i for s in selection.sections for i in s.attempts["session"]}
    return sessions[sessions["id"].isin(used)].sort_values("id")


def _distinct(values: Iterable) -> list[str]:
    found = list(dict.fromkeys(one_line(str(v)) for v in values))
    return found if any(found) else ["unknown"]
