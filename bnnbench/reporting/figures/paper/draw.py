"""From a database and a request to a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from matplotlib.figure import Figure

from bnnbench.errors import UserError
from bnnbench.registry import nearest
from bnnbench.reporting.comparison import method_of
from bnnbench.reporting.figures import style
from bnnbench.reporting.figures.paper.asked import Asked, Found
from bnnbench.reporting.figures.paper.catalogue import chart_of
from bnnbench.reporting.figures.paper.chart import Chart
from bnnbench.reporting.figures.paper.sheet import finished
from bnnbench.reporting.figures.paper.size import SIZES, Size
from bnnbench.reporting.figures.paper.words import listed, origins
from bnnbench.reporting.figures.text import label
from bnnbench.reporting.select import Section, Selection, select
from bnnbench.reporting.superseded import Installed, superseded

SHOWN = 8  # names in a refusal


def draw(
    store: Any,
    name: str,
    methods: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    size: str = "column",
    metric: str | None = None,
    budget: str | None = None,
    split_rule: str | None = None,
    reference: str | None = None,
    installed: Installed | None = None,
) -> Figure:
    """The figure, laid out; its caption is its label.

    Args:
        store: a `ResultStore`; only read. name: of a chart.
        methods: rows as tables call them, `sgld` or `sgld [lr=0.01]`, in the order wanted; None for all.
        tasks: names and groups, None for all. size: of `SIZES`.
        budget: None for the largest. split_rule: None for that of most cells, task by task.
        metric, reference: where the chart takes them, None for the usual ones.
        installed: versions that the reader has; the caption names results of older ones.

    Raises:
        UserError: something unknown, nothing to draw, or more than the figure has room for.
    """
    chart, room = chart_of(name), _size(size)
    for option, value in (("metric", metric), ("reference", reference)):
        if value is not None and option not in chart.takes:
            raise UserError(f"The figure '{name}' takes no --{option}; leave it out.")
    wanted = (
        None if methods is None or "all" in methods else list(dict.fromkeys([*methods, *filter(None, [reference])]))
    )
    selection = _narrowed(select(store, tasks, _methods(wanted), budget), wanted, split_rule)
    selection = replace(selection, superseded=superseded([s.scores for s in selection.sections], installed))
    present = tuple(dict.fromkeys(row for section in selection.sections for row in section.rows))
    if reference is not None and reference not in present:
        raise UserError(f"No results of --reference '{reference}' here{nearest(reference, present)}")
    rows = tuple(wanted or present)
    styles = style.distinct(style.styles(selection.methods, rows))
    asked = Asked(selection, rows, wanted is not None, styles, room, metric, reference)
    with style.drawing(room.rc):
        there = chart.find(asked)
        _check(chart, asked, there)
        sheet = chart.draw(asked, there)
        return finished(replace(sheet, caption=sheet.caption + origins(selection, there.rows)), room)


def _size(name: str) -> Size:
    if name not in SIZES:
        raise UserError(f"Unknown --size '{name}'{nearest(name, SIZES)}")
    return SIZES[name]


def _methods(rows: Sequence[str] | None) -> list[str] | None:
    """Of rows, without their configurations."""
    return None if rows is None else list(dict.fromkeys(method_of(row) for row in rows))


def _narrowed(selection: Selection, rows: Sequence[str] | None, rule: str | None) -> Selection:
    """Nothing but these rows, and of each data set nothing but one split rule."""
    sections = selection.sections
    if rule is not None:
        sections = [section for section in sections if section.rule == rule]
        if not sections:
            known = dict.fromkeys(section.rule for section in selection.sections)
            raise UserError(f"No results of these tasks under --split-rule '{rule}'{nearest(rule, known)}")
    if rows is not None:
        _refuse_unknown(rows, list(dict.fromkeys(row for section in sections for row in section.rows)))
        sections = [section.part(_wanted(section, rows), section.tasks) for section in sections]
    chosen = _rules(sections)
    found = [s.part(_wanted(s, rows), [t for t in s.tasks if chosen[t] is s]) for s in sections]
    found = [section for section in found if section.rows and section.tasks]
    for row in rows or ():
        if not any(row in section.rows for section in found):
            other = next(section.rule for section in sections if row in section.rows)
            raise UserError(f"{row} was not run on the splits shown; leave it out, or add --split-rule {other}.")
    return replace(selection, sections=tuple(found))


def _refuse_unknown(rows: Sequence[str], known: Sequence[str]) -> None:
    for row in rows:
        if row not in known:
            near = get_close_matches(row, known, n=3, cutoff=0.4)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UserError(f"No results of method '{row}' on these tasks.{hint} There are: {_some(known)}.")


def _rules(sections: Sequence[Section]) -> dict[str, Section]:
    """Task -> the section that has most cells of it, the first of several."""
    counts = [(s, t, s.scores.loc[s.scores["task"] == t, "fingerprint"].nunique()) for s in sections for t in s.tasks]
    found: dict[str, tuple[Section, int]] = {}
    for section, task, count in counts:
        if task not in found or count > found[task][1]:
            found[task] = section, count
    return {task: section for task, (section, _) in found.items()}


def _wanted(section: Section, rows: Sequence[str] | None) -> Sequence[str]:
    return section.competing if rows is None else [row for row in section.rows if row in rows]


def _check(chart: Chart, asked: Asked, there: Found) -> None:
    """Refuse what cannot be drawn: nothing, a method without data, too many methods or data sets."""
    if not there.data:
        tasks = [task for section in asked.sections for task in section.tasks]
        raise UserError(
            f"The database has nothing for the figure '{chart.name}' of {_some(asked.rows)} on {_some(tasks)}; it "
            f"needs {chart.needs}."
        )
    lacking = [row for row in asked.rows if row not in there.rows]
    if asked.named and lacking:
        raise UserError(
            f"The database has nothing of {listed(lacking)} for the figure '{chart.name}', which needs {chart.needs}; "
            f"choose from {_some(there.rows)}."
        )
    if len(there.tasks) > chart.tasks:
        most = "one data set" if chart.tasks == 1 else f"at most {chart.tasks} data sets"
        raise UserError(f"The figure '{chart.name}' shows {most}; name it by --task, from {_some(there.tasks)}.")
    if len(there.rows) > chart.most:
        raise UserError(
            f"The figure '{chart.name}' shows at most {chart.most} methods, and these are {len(there.rows)}; name some "
            f"by --methods, from {_some(there.rows)}."
        )


def _some(given: Sequence[str]) -> str:
    """Names on one line, the first ones of many."""
    shown = [label(name) for name in dict.fromkeys(given)]
    return ", ".join(shown[:SHOWN]) + f" and {len(shown) - SHOWN} more" * (len(shown) > SHOWN)
