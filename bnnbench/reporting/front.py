"""The first page, `index.md`: the answer in a sentence, one leaderboard, and links to everything else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bnnbench.reporting.document import FIDELITY, IMPLEMENTATIONS, LEADERBOARDS, READING, TUNING, Page, link
from bnnbench.reporting.escape import escape_markdown
from bnnbench.reporting.leaderboards import COLUMNS, answer
from bnnbench.reporting.page.boards import board
from bnnbench.reporting.page.scopes import Scope
from bnnbench.reporting.pages import SPLIT_RULES, file_of
from bnnbench.reporting.provenance import brief, cells
from bnnbench.reporting.reading import IN_SHORT, OLDER, ORIGIN
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.grid import markdown
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import OLD, words

NO_FIGURES = "Figures are left out of these pages; `bnnbench report` without `--figures none` draws them.\n"
ELSEWHERE = "Look a number up, sort, filter and compare methods in the page {}.\n"
GROUPS = "Each page has all scores of its data sets, what stands behind them, figures, costs and failures.\n"
FIRST = 3  # methods of a leaderboard that is shown in part
ACROSS = {
    FIDELITY: "Distances of all methods from what long runs of HMC sample.",
    IMPLEMENTATIONS: "Scores, speed and checks, ours beside other libraries.",
    TUNING: "How the score grows with the number of trials, and what was chosen.",
}


def front(
    selection: Selection,
    found: Sequence[tuple[Scope, list[Table]]],
    pages: Mapping[str, Page],
    *,
    has_html: bool,
    has_figures: bool,
) -> str:
    """The whole page.

    Args:
        found: the leaderboards, the first of which is shown in full.
        pages: all others by their files.
    """
    boards, reading = pages[LEADERBOARDS], pages[READING]
    (scope, tables), *others = found
    parts = ["# bnnbench report\n", *_warning(selection, reading)]
    parts += [f"**{escape_markdown(answer(selection, scope))}**\n"]
    parts += [ELSEWHERE.format(link("index.html", "index.html"))] * has_html + [NO_FIGURES] * (not has_figures)
    parts += ["## How to read this\n", f"{IN_SHORT}* {link('The long version, and every word', READING)}.\n"]
    parts += [
        f"## Leaderboard: {escape_markdown(f'{scope}, budget {scope.budget}')}\n",
        *_leaderboard(selection, scope, tables, boards),
    ]
    parts += ["## Task groups\n", GROUPS, _groups(selection)]
    parts += [f"## Other leaderboards: the first {FIRST}\n", _firsts(selection, others, boards)] * any(
        own for _, own in others
    )
    parts += ["## Further\n", "".join(_further(pages))]
    parts += [
        f"## {ORIGIN}\n",
        brief(selection) + f"* {reading.link(ORIGIN, 'Everything, with commands and revisions')}\n",
    ]
    return "\n".join(parts)


def _warning(selection: Selection, reading: Page) -> list[str]:
    versions = selection.superseded.versions
    counts = [f"{len(own)} {kind}{'s' * (len(own) > 1)}" for kind, own in versions.items() if own]
    if not counts:
        return []
    text = f"**Superseded results.** Of {' and '.join(counts)}, marked {OLD}, newer versions are installed where this"
    return [f"{text} report was written, which give other numbers: {reading.link(OLDER, 'which')}.\n"]


def _leaderboard(selection: Selection, scope: Scope, tables: list[Table], boards: Page) -> list[str]:
    """The table, without the caption, which the page of all leaderboards has."""
    if not tables:
        return []
    metric, found = next(iter(board(selection, scope)["metrics"].items()))
    first = selection.marked(scope.rows[found["first"]])
    told = escape_markdown(f"Ranked by {words(metric)}; won / tied / lost: data sets, against {first}.")
    more = boards.link(scope.heading, "What the columns are, and ranks by other metrics")
    return [tables[0].grid.markdown(), f"{told} {more}.\n"]


def _groups(selection: Selection) -> str:
    """A row a page: what it contains."""
    rows = [_group(section) for section in selection.sections]
    return markdown(["page", "data sets", "splits", "budget", "cells"], rows, left=5)


def _group(section: Section) -> list[str]:
    splits = re.split(r" \(|[:;,] ", SPLIT_RULES.get(section.rule, section.rule))[0]
    texts = [", ".join(section.tasks), splits, section.budget, cells([section])]
    return [link(f"{section.group}, {section.rule}", file_of(section)), *map(escape_markdown, texts)]


def _firsts(selection: Selection, found: Sequence[tuple[Scope, list[Table]]], boards: Page) -> str:
    """The head of every other leaderboard, with a link to the whole."""
    rows: list[list[str]] = []
    for scope, table in ((scope, table) for scope, tables in found for table in tables[:1]):
        metric = words(next(iter(board(selection, scope)["metrics"])))
        name = f"{boards.link(scope.heading, f'{scope}, {scope.budget}')}, {escape_markdown(metric)}"
        rows += [[name if i == 0 else "", *line] for i, line in enumerate(table.grid.lines()[:FIRST])]
    return markdown(["ranked over, by", "method", *COLUMNS], rows, left=2)


def _further(pages: Mapping[str, Page]) -> list[str]:
    """Links to what is of no one group."""
    lines = [f"* {link('All leaderboards', LEADERBOARDS)}, with mean ranks by every metric\n"]
    lines += [f"* {link(pages[file].title, file)} {text}\n" for file, text in ACROSS.items() if file in pages]
    return [*lines, "* `tables/`: every table as CSV and LaTeX, where they are written\n"]
